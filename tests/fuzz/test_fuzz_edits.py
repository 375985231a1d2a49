"""Run folders changed at random: whatever `reach verify` then still accepts is true, by an exact solver.

An edit may be harmless, or even leave another proof of the same verdict. What counts is that no false verdict passes,
that no lower bound passes which the true margin does not reach, and that damage ends in one line.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from exact_solver import Everywhere
from heads import exactly, seeds
from reach_command import change_manifest, columns_of, hulls_of, manifest_of, reach, save_head
from safetensors.numpy import load_file, save_file

from reach.heads.load import load_head
from reach.runs.manifest import Manifest
from reach.runs.schema import HULL_WEIGHTS, VERDICTS
from reach.verdicts import RunTables, Verdicts
from solvers.checks.hull import hull_upper_bound

BASES = 4
Rng = np.random.Generator


class Base:
    """A scanned head, its problem, and the truth about it."""

    def __init__(self, folder: Path, number: int) -> None:
        rng = np.random.default_rng(number)
        d, v = int(rng.integers(2, 5)), int(rng.integers(8, 13))
        rows = rng.integers(-3, 4, (v, d)).astype(float)
        rows[v - 1], rows[v - 2] = rows[0], rows[1:4].mean(axis=0)
        more: dict[str, Any] = {}
        if number % 2:
            more["b"] = rng.integers(-2, 3, v) + 2.0**-10 * rng.integers(-1, 2, v)
        self.domain: str | None = ("free", "ball:2", "box:-1,2", "norm")[number % 4]
        if self.domain == "norm":
            more |= {"gamma": rng.integers(1, 4, d), "beta": rng.integers(-1, 2, d)}
        head = save_head(folder / "head.npz", rows, **more)
        self.run = folder / "run"
        outcome = reach("scan", "--head", head, "--domain", self.domain, "--out", self.run, "--quiet", "--no-report")
        assert outcome.code == 0, outcome.err
        assert reach("verify", self.run, "--quiet").code == 0
        self.head = str(head)
        self.problem = load_head(self.head, domain=self.domain).problem()
        self.exact = exactly(self.problem)
        self.true = [self.exact.verdict(t) for t in range(v)]
        assert columns_of(self.run)["verdict"] == self.true


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> list[Base]:
    return [Base(tmp_path_factory.mktemp("base"), number) for number in range(BASES)]


# --- edits ---------------------------------------------------------------------------------------------------------


def write_columns(run: Path, columns: dict[str, list[Any]]) -> None:
    """The verdicts table, with totals that agree, so that only the proofs can give an edit away."""
    table = pa.table(columns, schema=VERDICTS)
    pq.write_table(table, run / "verdicts.parquet")
    totals = msgspec.to_builtins(Verdicts(RunTables(table), Manifest()).totals)
    asked = {**manifest_of(run)["asked"], "count": sum(verdict is not None for verdict in columns["verdict"])}
    change_manifest(run, totals=totals, asked=asked)


def write_hulls(run: Path, hulls: dict[int, list[tuple[int, float]]]) -> None:
    rows = [{"token_id": t, "row_id": j, "weight": w} for t, pairs in hulls.items() for j, w in pairs]
    pq.write_table(pa.Table.from_pylist(rows, schema=HULL_WEIGHTS), run / "hull_weights.parquet")


def pairs_of(run: Path) -> dict[int, list[tuple[int, float]]]:
    return {token: list(weights.items()) for token, weights in hulls_of(run).items()}


def store_witness(run: Path, token: int, point: np.ndarray) -> None:
    (run / "witnesses").mkdir(exist_ok=True)
    name = str(point.dtype)
    arrays = {f"token_id.{name}": np.array([token]), f"point.{name}": np.ascontiguousarray(point[None])}
    save_file(arrays, run / "witnesses" / "zz.safetensors")


def change_one_entry(base: Base, run: Path, rng: Rng) -> None:
    columns = columns_of(run)
    name = str(rng.choice([field.name for field in VERDICTS if field.name not in ("token_id", "token", "text")]))
    token, other = rng.integers(len(columns["token_id"]), size=2)
    choices: list[Any] = [columns[name][other], None]
    kind = VERDICTS.field(name).type
    if kind == pa.float64():
        number = columns[name][token] or 0.0
        choices += [0.0, -0.0, number + 1e-7, number * 1.001, -number, math.nan, math.inf, -math.inf, 1e9]
    elif kind == pa.bool_():
        choices += [True, False]
    elif kind == pa.int32():
        choices += [-1, 0, 10**6]
    else:
        choices += ["speakable", "tied", "unspeakable", "undecided", "exact", "rigorous", "own-row", "stored", ""]
    columns[name][token] = choices[rng.integers(len(choices))]
    write_columns(run, columns)


def swap_two_tokens(base: Base, run: Path, rng: Rng) -> None:
    columns = columns_of(run)
    one, other = rng.integers(len(columns["token_id"]), size=2)
    for name in columns:
        if name not in ("token_id", "token", "text"):
            column = columns[name]
            column[one], column[other] = column[other], column[one]
    hulls = pairs_of(run)
    mine, theirs = hulls.pop(int(one), None), hulls.pop(int(other), None)
    hulls |= {int(one): theirs} if theirs else {}
    hulls |= {int(other): mine} if mine else {}
    write_hulls(run, hulls)
    write_columns(run, columns)


def change_weights(base: Base, run: Path, rng: Rng) -> None:
    hulls = pairs_of(run)
    if not hulls:
        return change_one_entry(base, run, rng)
    token = int(rng.choice(list(hulls)))
    pairs, v = hulls[token], base.problem.v
    i = int(rng.integers(len(pairs)))
    row, weight = pairs[i]
    match int(rng.integers(6)):
        case 0:
            pairs[i] = (int(rng.integers(-1, v + 1)), weight)
        case 1:
            shift = float(rng.choice([1e-3, 1e-6, 1e-8, 1e-12, 2.0**-52]))
            other = int(rng.integers(len(pairs)))
            pairs[i] = (row, weight + shift)
            pairs[other] = (pairs[other][0], pairs[other][1] - shift)
        case 2:
            pairs.append(pairs[i])
        case 3:
            del pairs[i]
        case 4:
            hulls[token] = [(int(j), 1.0) for j in rng.integers(v, size=1)]
        case 5:
            hulls[int(rng.integers(v))] = pairs
    write_hulls(run, hulls)
    return None


def claim_unspeakable(base: Base, run: Path, rng: Rng) -> None:
    """A forged proof: the weights at which the token just begins to win, and the margin that they seem to give."""
    token = int(rng.integers(base.problem.v))
    _, critical = base.exact.critical(token)
    others = np.delete(np.arange(base.problem.v), token)
    if critical and rng.random() < 0.7:
        pairs = [(int(j), float(weight)) for j, weight in critical.items()]
    else:
        some = rng.permutation(others)[: rng.integers(1, 4)]
        pairs = [(int(j), float(w)) for j, w in zip(some, rng.dirichlet(np.ones(len(some))), strict=True)]
    rows, weights = np.array([j for j, _ in pairs]), np.array([w for _, w in pairs])
    bound = hull_upper_bound(base.problem, token, rows, weights, rigorous=False)
    columns, hulls = columns_of(run), pairs_of(run)
    entries = {"verdict": "unspeakable", "evidence": str(rng.choice(["exact", "rigorous", "float64"]))}
    entries |= {"margin_upper": [min(bound, 0.0), bound, -1e-12, 0.0][rng.integers(4)], "margin_lower": None}
    entries |= {"own_direction": False, "witness": None, "argmax_id": None, "runner_up_id": int(rows[0])}
    for name, value in entries.items():
        columns[name][token] = value
    hulls[token] = pairs
    write_hulls(run, hulls)
    write_columns(run, columns)


def claim_speakable(base: Base, run: Path, rng: Rng) -> None:
    """A forged witness: the point where the token is nearest to winning, pushed by units in the last place."""
    token = int(rng.integers(base.problem.v))
    z, _ = base.exact.critical(token)
    d = base.problem.d
    point = rng.standard_normal(d) if z is None else np.array([float(x) for x in z])
    point = point * (1 + 2.0**-52 * rng.integers(-4, 5, d)) * float(rng.choice([1, 1, 1 - 2.0**-24, 1 + 1e-9, 2]))
    point = point.astype(rng.choice([np.float32, np.float64]))
    columns, hulls = columns_of(run), pairs_of(run)
    tied = len(base.exact.equal_to(token)) > 1
    lower = 0.0 if tied else float(rng.choice([0.0, 1e-15, 1e-9, 1e-3]))
    entries = {"verdict": "tied" if tied and rng.random() < 0.5 else "speakable", "witness": "stored"}
    entries |= {"evidence": str(rng.choice(["exact", "rigorous"])), "own_direction": bool(rng.random() < 0.2)}
    entries |= {"margin_lower": lower, "margin_upper": 0.0 if tied else [lower, 1e3, None][rng.integers(3)]}
    entries |= {"argmax_id": min(base.exact.equal_to(token)) if tied else None, "reason": None}
    for name, value in entries.items():
        columns[name][token] = value
    hulls.pop(token, None)
    write_hulls(run, hulls)
    store_witness(run, min(base.exact.equal_to(token)), point)
    write_columns(run, columns)


def change_witnesses(base: Base, run: Path, rng: Rng) -> None:
    files = sorted((run / "witnesses").glob("*.safetensors"))
    if not files:
        return claim_speakable(base, run, rng)
    arrays = load_file(files[rng.integers(len(files))])
    bits = [name for name in ("float32", "float64") if len(arrays.get(f"token_id.{name}", ()))]
    if not bits:
        return claim_speakable(base, run, rng)
    points, tokens = arrays[f"point.{bits[0]}"], arrays[f"token_id.{bits[0]}"]
    i, k = int(rng.integers(len(points))), int(rng.integers(len(points)))
    match int(rng.integers(4)):
        case 0:
            points[i] = points[i] * points.dtype.type(rng.choice([-1, 0, 0.5, 1 + 2.0**-20, 3, np.nan]))
        case 1:
            points[i] += points.dtype.type(rng.choice([1e-6, 1e-3, 1.0])) * rng.standard_normal(points.shape[1])
        case 2:
            points[[i, k]] = points[[k, i]]
        case 3:
            tokens[i] = rng.integers(-1, base.problem.v + 1)
    save_file(arrays, files[-1])
    return None


def change_bytes(base: Base, run: Path, rng: Rng) -> None:
    files = [file for file in sorted(run.rglob("*")) if file.is_file() and file.suffix != ".html"]
    file = files[rng.integers(len(files))]
    content = bytearray(file.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        if content:
            content[rng.integers(len(content))] = rng.integers(256)
    file.write_bytes(bytes(content))


def change_a_manifest_entry(base: Base, run: Path, rng: Rng) -> None:
    manifest = manifest_of(run)
    name = str(rng.choice(sorted(manifest)))
    value = manifest[name]
    choices: list[Any] = [None, 0, "", [], {}, True]
    if isinstance(value, int | float) and not isinstance(value, bool):
        choices += [value + 1, -value, float("nan")]
    if isinstance(value, dict) and value:
        key = str(rng.choice(sorted(value)))
        choices += [{**value, key: choice} for choice in (None, 0, "", "free", [])]
        choices += [{k: v for k, v in value.items() if k != key}]
    change_manifest(run, **{name: choices[rng.integers(len(choices))]})


def widen_the_domain(base: Base, run: Path, rng: Rng) -> None:
    """The proofs of one domain, passed off as those of another."""
    words, squared = [("ball:3", 9.0), ("ball:1", 1.0), ("free", None), ("box:-3,3", None)][rng.integers(4)]
    changes = {"domain": words, "loading": {**manifest_of(run)["loading"], "domain": words}}
    change_manifest(run, **changes, squared_radius=squared)


EDITS: list[Callable[[Base, Path, Rng], None]] = [
    change_one_entry,
    swap_two_tokens,
    change_weights,
    claim_unspeakable,
    claim_speakable,
    change_witnesses,
    change_bytes,
    change_a_manifest_entry,
    widen_the_domain,
]


# --- the truth -----------------------------------------------------------------------------------------------------


def check_accepted(base: Base, run: Path) -> None:
    """Every verdict and lower bound of a run that verify has accepted."""
    columns = columns_of(run)
    words = manifest_of(run)["loading"].get("domain") or base.domain
    exact, true = base.exact, base.true
    if words != base.domain:
        exact = exactly(load_head(base.head, domain=words).problem())
        true = [exact.verdict(t) for t in range(exact.v)]
    over = exact.where_margins_are()
    bounded = not isinstance(exact.region, Everywhere) or not any(exact.offsets)
    for token, verdict in enumerate(columns["verdict"]):
        assert verdict in {true[token], "undecided", None}, f"token {token} is {true[token]}, yet {verdict} passed"
        lower = columns["margin_lower"][token]
        if verdict == "speakable" and bounded:
            # Bounds of two passes differ by rounding, in float32 at worst.
            room = 1e-5 * (1 + abs(lower))
            assert over.reaches(token, Fraction(lower - room)), f"a margin of {lower} passed for token {token}"
        if verdict == "tied":
            assert columns["argmax_id"][token] == min(exact.equal_to(token))


@pytest.mark.parametrize("numbers", seeds(9, of=12))
def test_what_verify_accepts_is_true(bases: list[Base], numbers: range, tmp_path: Path) -> None:
    for number in numbers:
        rng = np.random.default_rng(number)
        base, edit = bases[number % BASES], EDITS[number // BASES % len(EDITS)]
        run = Path(shutil.copytree(base.run, tmp_path / f"run{number}"))
        edit(base, run, rng)
        told = f"edit {number}: {edit.__name__} on base {number % BASES}"
        outcome = reach("verify", run, "--quiet")
        assert outcome.code in (0, 1, 2), f"{told}: {outcome}"
        if outcome.code == 2:
            assert outcome.complaint, told
        if outcome.code == 0:
            try:
                check_accepted(base, run)
            except AssertionError as error:
                raise AssertionError(f"{told}: {error}") from error
        else:
            assert outcome.out or outcome.err, told
        shutil.rmtree(run)


def test_the_edits_are_not_all_harmless(bases: list[Base], tmp_path: Path) -> None:
    """Of each kind of edit some are refused."""
    for edit in EDITS:
        for number in range(12):
            run = Path(shutil.copytree(bases[number % BASES].run, tmp_path / f"{edit.__name__}{number}"))
            edit(bases[number % BASES], run, np.random.default_rng(number))
            if reach("verify", run, "--quiet").code != 0:
                break
        else:
            raise AssertionError(f"{edit.__name__} was never refused")
