"""The tables of docs/scaling.md: hours and cost of scans of one model, of a thousand, and of the Hub's text models.

Rates come from this machine (`--rate` skips that) and from scans that were measured; other machines are simulated
from their data sheets and price lists. Every line of every table says which of these it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from bench import blocked_product

from reach.runs.folder import RunFolder
from reach.runs.manifest import Manifest
from solvers.errors import BadInput

MEASURED, EXTRAPOLATED, SIMULATED, ASSUMED = "measured", "measured rates", "simulated", "assumed"
HOUR = 3600.0
_PRICED = "{}, price as listed"


@dataclass(frozen=True)
class Head:
    """A head to be scanned: tokens, dimensions, bytes of a number as stored, and the share that needs a proof of its
    own that it lies inside the hull of the others."""

    v: int
    d: int
    width: int = 2
    inside: float = 0.002

    @property
    def product(self) -> float:
        """Operations of one V×V×d product."""
        return 2.0 * self.v * self.v * self.d

    @property
    def size(self) -> float:
        """Bytes of the matrix."""
        return float(self.v * self.d * self.width)


@dataclass(frozen=True)
class Work:
    """What scans were measured to take, in units that carry over.

    Attributes:
        products: V×V×d products that the passes over all rows take, checks included.
        proof_seconds: core-seconds of one proof inside the hull, at `proof_d` dimensions.
        proof_power: they grow by this power of d.
        start_seconds: of a scan that has nothing to do.
    """

    products: float = 3.3
    proof_seconds: float = 2.2
    proof_d: int = 4096
    proof_power: float = 2.0
    start_seconds: float = 2.7

    def proof(self, d: int) -> float:
        """Core-seconds of a proof at d dimensions."""
        return self.proof_seconds * (d / self.proof_d) ** self.proof_power


@dataclass(frozen=True)
class Machine:
    """A machine by the hour.

    Attributes:
        name: for the tables.
        flops: float32 operations per second that products reach.
        cores: that proofs run on.
        price: dollars an hour.
        disk, net: bytes per second that files are read and fetched with.
        status: `MEASURED` rates or `SIMULATED`.
    """

    name: str
    flops: float
    cores: float
    price: float
    disk: float = 1e9
    net: float = 125e6
    status: str = SIMULATED


@dataclass(frozen=True)
class Terms:
    """Seconds of one scan, term by term; they are taken one after the other."""

    products: float
    proofs: float
    read: float
    download: float
    start: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, float]:
        """By name."""
        return {
            "products": self.products, "proofs inside the hull": self.proofs, "reading the head": self.read,
            "download of the head": self.download, "start": self.start,
        }  # fmt: skip

    @property
    def dominant(self) -> str:
        """The name of the largest."""
        return max(self.parts, key=lambda name: self.parts[name])


def terms(head: Head, work: Work, machine: Machine) -> Terms:
    """Seconds of a scan of one head."""
    return Terms(
        products=work.products * head.product / machine.flops,
        proofs=head.inside * head.v * work.proof(head.d) / machine.cores,
        read=head.size / machine.disk,
        download=head.size / machine.net,
        start=work.start_seconds,
    )


def fleet_hours(mix: Sequence[tuple[float, Head]], models: float, work: Work, machine: Machine) -> float:
    """Machine-hours of so many models, whose heads are mixed in these shares (of any sum)."""
    whole = sum(share for share, _ in mix)
    return models * sum(share * terms(head, work, machine).total for share, head in mix) / whole / HOUR


def power_between(low: tuple[float, float], high: tuple[float, float]) -> float:
    """The exponent p of y ∝ xᵖ through two points (x, y)."""
    return math.log(high[1] / low[1]) / math.log(high[0] / low[0])


def _work(case: tuple[Head, float, float]) -> tuple[float, float, Head]:
    head, seconds, cores = case
    return seconds, cores, head


def products_of(seconds: float, cores: float, head: Head, rate: float) -> float:
    """Core-seconds as V×V×d products of a core with this rate."""
    return seconds * cores * rate / head.product


# --- what was measured ---------------------------------------------------------------------------------------------

PROOFS = ((768.0, 0.04 * 2), (4096.0, 1.1 * 2))
"""Core-seconds of a proof inside the hull by d, `bench.py inside` with nothing else running on two cores."""
PRODUCTS = (
    ("nearly all rows own-direction, 30,000 × 384", 0.61),
    ("trained-like rows, 30,000 × 384", 2.3),
    ("word-level model with offsets, 16,377 × 64", 5.9),
)
"""Verdicts with their proofs alone, in products of the same run."""
WIDE = Head(32_768, 4096), 452.0 - 339.0, 2.0
"""A scan of all tokens in bfloat16 on two cores with nothing else running: seconds but for proofs inside the hull."""
HARD = Head(50_257, 768), 227.0, 1.0
"""The whole command on a trained-like head in float32, in which hardly a row is own-direction: processor time."""
MARGIN_PRODUCTS, VERIFY_SECONDS = 5.3, 102.0
"""Margins to 1 % beyond the verdicts; and `reach verify` of the wide scan, on two cores."""


def core_rate(v: int, d: int, repeats: int) -> float:
    """Operations per second of one core in the blocked product with the argmax of every row, by processor time.

    Processor time, since others may use the machine; the fastest of the repeats counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = torch.randn(v, d, generator=torch.Generator().manual_seed(0))
    try:
        seconds = min(_processor_seconds(lambda: blocked_product(rows)) for _ in range(repeats))
    finally:
        torch.set_num_threads(threads)
    return Head(v, d).product / seconds


def _processor_seconds(act: Callable[[], object]) -> float:
    started = time.process_time()
    act()
    return time.process_time() - started


_INSIDE = ("analytic-centre", "exact-proof", "highs", "hull")


def stage_seconds(manifest: Manifest) -> dict[str, float]:
    """The funnel of a scan by kind of stage, in seconds; `rest` is all that no stage counts."""
    found = dict.fromkeys(("own rows and closed forms", "searches", "proofs inside the hull", "margins"), 0.0)
    for row in manifest.funnel:
        found[_kind(row.stage)] += row.seconds or 0.0
    return {**found, "rest": max(0.0, (manifest.seconds or 0.0) - sum(found.values()))}


def _kind(stage: str) -> str:
    if stage.startswith(("margins", "resolution")):
        return "margins"
    if stage in _INSIDE:
        return "proofs inside the hull"
    return "own rows and closed forms" if "row" in stage else "searches"


# --- tables --------------------------------------------------------------------------------------------------------

Table = tuple[str, list[str], list[list[str]]]


def run_table(runs: Sequence[Manifest], rate: float) -> Table:
    """Scans that are at hand: where their time went, and how many products that is."""
    rows = []
    for manifest in runs:
        if manifest.v is None or manifest.d is None or not manifest.seconds:
            continue
        jobs = manifest.settings.get("jobs")
        cores = float(jobs) if isinstance(jobs, int | float) and jobs > 0 else 1.0
        head, parts = Head(manifest.v, manifest.d), stage_seconds(manifest)
        rows.append([
            f"{manifest.v:,} × {manifest.d:,}", f"{manifest.seconds:.0f}", f"{cores:.0f}",
            *(f"{100 * seconds / manifest.seconds:.0f} %" for seconds in parts.values()),
            _two(products_of(manifest.seconds, cores, head, rate)), MEASURED,
        ])  # fmt: skip
    kinds = list(stage_seconds(Manifest()))
    return "Scans at hand", ["V × d", "seconds", "cores", *kinds, "products in all", "source"], rows


def input_table(work: Work, head: Head, rate: float, measured: bool, models: float, rest: Sequence[Machine]) -> Table:
    """Everything that the other tables are made of."""
    wide, hard = products_of(*_work(WIDE), rate), products_of(*_work(HARD), rate)
    rows = [
        ["a core's float32 products", f"{rate / 1e9:.0f} GFLOP/s", MEASURED if measured else "given with --rate"],
        *([f"products of the verdicts alone: {name}", f"{value:g}", MEASURED] for name, value in PRODUCTS),
        [f"… the whole command, wide, {WIDE[0].v:,} × {WIDE[0].d:,} in bfloat16", f"{wide:.1f}", MEASURED],
        [f"… the whole command, hard-to-speak rows, {HARD[0].v:,} × {HARD[0].d:,}", f"{hard:.1f}", MEASURED],
        ["products taken here", f"{work.products:g}", ASSUMED],
        *([f"a proof inside the hull, d = {d:,.0f}", f"{seconds:g} core-s", MEASURED] for d, seconds in PROOFS),
        ["it grows with d by the power", f"{work.proof_power:.2f}", EXTRAPOLATED],
        ["tokens that need one", f"{100 * head.inside:g} %", ASSUMED],
        ["start of a scan", f"{work.start_seconds:g} s", MEASURED],
        *([f"{one.name}: products, cores, dollars an hour", f"{one.flops / 1e12:.2f} TFLOP/s, {one.cores:g}, "
           f"{one.price:g}", one.status] for one in rest),
        ["reading, download", f"{rest[0].disk / 1e9:g} GB/s, {8 * rest[0].net / 1e9:g} Gbit/s", ASSUMED],
        ["text models on the Hub", f"{models:,.0f}", ASSUMED],
    ]  # fmt: skip
    return "Inputs", ["what", "value", "source"], rows


def term_table(head: Head, work: Work, machines: Sequence[Machine]) -> Table:
    """Where the time of one scan goes."""
    found = [terms(head, work, machine) for machine in machines]
    rows = [
        [name, *(f"{one.parts[name]:,.1f} s ({100 * one.parts[name] / one.total:.0f} %)" for one in found)]
        for name in found[0].parts
    ]
    rows.append(["all", *(f"**{_time(one.total)}**" for one in found)])
    rows.append(["dominates", *(one.dominant for one in found)])
    rows.append(["source", *(machine.status for machine in machines)])
    return f"One scan of {head.v:,} × {head.d:,}", ["term", *(machine.name for machine in machines)], rows


def fleet_table(
    head: Head, mix: Sequence[tuple[float, Head]], models: float, work: Work, machines: Sequence[Machine]
) -> Table:
    """Machine-hours and dollars of fleets."""
    rows = []
    for machine in machines:
        hours = [fleet_hours([(1.0, head)], 1, work, machine), fleet_hours([(1.0, head)], 1000, work, machine)]
        hours.append(fleet_hours(mix, models, work, machine))
        rows.append(
            [
                machine.name,
                *(f"{_hours(one)}, {_dollars(one * machine.price)}" for one in hours),
                _PRICED.format(machine.status),
            ]
        )
    shape = f"{head.v:,} × {head.d:,}"
    heads = ["machine", f"one {shape}", "1,000 of them", f"the Hub's {models:,.0f} text models", "source"]
    return "Machine-hours and dollars", heads, rows


def sensitivity_table(
    head: Head, mix: Sequence[tuple[float, Head]], models: float, work: Work, machines: Sequence[Machine]
) -> Table:
    """Dollars for the Hub where one input is another."""

    def inside(share: float) -> list[tuple[float, Head]]:
        return [(weight, replace(one, inside=share)) for weight, one in mix]

    rate = machines[0].flops / machines[0].cores
    low, high = products_of(*_work(WIDE), rate), products_of(*_work(HARD), rate)
    verify = products_of(VERIFY_SECONDS, WIDE[2], WIDE[0], rate)
    cases: list[tuple[str, Sequence[tuple[float, Head]], float, Work, float]] = [
        ("as above", mix, models, work, 1.0),
        (f"products {low:.1f}: as the wide head", mix, models, replace(work, products=low), 1.0),
        (f"products {high:.1f}: as the hard-to-speak head", mix, models, replace(work, products=high), 1.0),
        ("with margins to 1 %", mix, models, replace(work, products=work.products + MARGIN_PRODUCTS), 1.0),
        ("with reach verify", mix, models, replace(work, products=work.products + verify), 1.0),
        (f"tokens inside the hull: {10 * 100 * head.inside:g} %", inside(10 * head.inside), models, work, 1.0),
        (f"tokens inside the hull: {100 * head.inside / 10:g} %", inside(head.inside / 10), models, work, 1.0),
        ("every second head is that of another model", mix, models / 2, work, 1.0),
        ("prices a third (spot)", mix, models, work, 1 / 3),
        (f"every head {head.v:,} × {head.d:,}", [(1.0, head)], models, work, 1.0),
    ]
    rows = [
        [name, *(_dollars(fleet_hours(some, count, how, one) * one.price * price) for one in machines)]
        for name, some, count, how, price in cases
    ]
    rows.append(["source", *(_PRICED.format(machine.status) for machine in machines)])
    return "The Hub where one input is another", ["input", *(machine.name for machine in machines)], rows


def written(table: Table) -> str:
    """A table in Markdown."""
    title, heads, rows = table
    lines = ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)]
    return "\n".join([f"### {title}", "", *lines, ""])


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def _hours(hours: float) -> str:
    return _time(hours * HOUR) if hours < 48 else f"{_digits(hours)} h"


def _dollars(amount: float) -> str:
    return f"${amount:.2f}" if amount < 10 else f"${_digits(amount)}"


def _two(value: float) -> str:
    return f"{value:.1f}" if value < 100 else _digits(value)


def _digits(value: float) -> str:
    """Two digits are all that such figures have."""
    power = max(0, math.floor(math.log10(value)) - 1) if value > 0 else 0
    return f"{round(value / 10**power) * 10**power:,}"


def read_mix(text: str, inside: float) -> list[tuple[float, Head]]:
    """Shares of heads, such as `20:32000x4096,5:50257x768`.

    Raises:
        BadInput: it is written otherwise.
    """
    try:
        found = []
        for part in text.split(","):
            share, _, shape = part.partition(":")
            v, _, d = shape.partition("x")
            found.append((float(share), Head(int(v), int(d), inside=inside)))
    except ValueError:
        found = []
    if (
        not found
        or any(not 0 <= share < math.inf or head.v < 1 or head.d < 1 for share, head in found)
        or not sum(s for s, _ in found)
    ):
        raise BadInput(f"--mix {text}: write SHARE:VxD,… such as 20:32000x4096,5:50257x768")
    return found


MIX = (
    "20:32000x4096,20:128256x4096,5:128256x8192,20:151936x3584,15:151936x1536,5:262144x2560,5:32000x2048,10:50257x768"
)
"""Heads of the families that most text models on the Hub are made from. How often each is, is a guess."""


def main(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders whose funnels are shown as well.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="V of the head that is priced.")] = 128_256,
    columns: Annotated[int, typer.Option(min=1, help="Its d.")] = 4096,
    products: Annotated[float, typer.Option(min=0, help="Products of a scan.")] = Work.products,
    inside: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Share of tokens that need a proof inside the hull.")
    ] = Head.inside,
    rate: Annotated[float, typer.Option(min=0, help="A core's operations per second; 0 measures it.")] = 0.0,
    core_price: Annotated[
        float,
        typer.Option(
            min=0, help="Dollars per core-hour: EC2 c5.24xlarge, $4.08 for 48 cores, N. Virginia, on demand."
        ),
    ] = 4.08 / 48,
    cloud_cores: Annotated[int, typer.Option(min=1, help="Cores of the cloud machine.")] = 48,
    scaling: Annotated[
        float, typer.Option(min=0.0001, max=1, help="Share of its cores' rates that all of them reach together.")
    ] = 0.8,
    gpu_name: Annotated[str, typer.Option(help="Name of the GPU.")] = "H100 SXM",
    gpu_tflops: Annotated[
        float, typer.Option(min=0.001, help="Its float32 operations per second, 10¹², by its data sheet.")
    ] = 67.0,
    gpu_share: Annotated[float, typer.Option(min=0.0001, max=1, help="Share of that which products reach.")] = 0.5,
    gpu_cores: Annotated[
        float, typer.Option(min=0.1, help="Cores beside it, for the proofs: 96 of a machine with 8.")
    ] = 12.0,
    gpu_price: Annotated[
        float,
        typer.Option(
            min=0, help="Dollars an hour: EC2 capacity blocks, p5.48xlarge, a GPU of 8, before January 2025."
        ),
    ] = 4.916,
    disk: Annotated[float, typer.Option(min=1, help="Bytes per second that files are read with.")] = 1e9,
    net: Annotated[float, typer.Option(min=1, help="Bytes per second that files are fetched with.")] = 125e6,
    hub_models: Annotated[float, typer.Option(min=0, help="Text models on the Hub.")] = 300_000,
    mix: Annotated[str, typer.Option(help="Their heads: SHARE:VxD,…")] = MIX,
) -> None:
    """Print the tables of docs/scaling.md."""
    try:
        heads, at_hand = read_mix(mix, inside), [RunFolder.open(folder).record for folder in runs or []]
    except BadInput as error:
        typer.echo(f"scaling: {error}", err=True)
        raise typer.Exit(2) from None
    measured = rate == 0
    rate = core_rate(16_384, 1024, 3) if measured else rate
    head = Head(rows, columns, inside=inside)
    work = Work(products=products, proof_power=power_between(*PROOFS))
    here = Machine("2 cores as measured", 2 * rate, 2, 2 * core_price, status=EXTRAPOLATED)
    cloud = Machine(
        f"{cloud_cores} cores", cloud_cores * rate * scaling, cloud_cores * scaling, cloud_cores * core_price
    )
    gpu = Machine(f"one {gpu_name}", gpu_tflops * 1e12 * gpu_share, gpu_cores, gpu_price)
    machines = [replace(machine, disk=disk, net=net) for machine in (here, cloud, gpu)]
    tables = [
        input_table(work, head, rate, measured, hub_models, machines),
        term_table(head, work, machines),
        fleet_table(head, heads, hub_models, work, machines),
        sensitivity_table(head, heads, hub_models, work, machines),
    ]
    if at_hand:
        tables.append(run_table(at_hand, rate))
    for table in tables:
        typer.echo(written(table))


if __name__ == "__main__":
    typer.run(main)
