"""Every number on the page of a scan, counted again from its files; and a page of other files is found out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import real_runs
from page_text import Block, Bound, Ledger, memory
from recount import (
    Cells,
    Row,
    Scan,
    change_record,
    change_table,
    ends,
    numbers,
    page_of,
    percent,
    rows_of,
    seconds,
    setting,
    shares,
)

from reach.categories.catalogue import CATALOGUE


def check_scan(page: Path, run: Path) -> None:
    scan, said = Scan(run), Ledger(page)
    record, counts = scan.record, scan.counts
    speakable = len(scan.of("speakable"))
    # What a reader sees first
    top = "answer-title"
    for block in said.blocks(top, "li"):
        name = next((name for name in counts if re.search(rf"^[\d,]+ {name} ", block.words)), None)
        if name is not None:
            finer = [sum(row["nearly_never"] == "float32" for row in scan.asked)] if name == "nearly never" else []
            said.agree(block, [counts[name], *finer])
    for warning in record["warnings"]:
        said.says(top, re.escape(warning[-60:]), *numbers(warning.rpartition("/")[2]))
    tied = [counts["tied"]] if counts["tied"] else []
    said.says(
        top, "tokens are unspeakable", counts["unspeakable"], len(scan.asked), speakable, counts["own-direction"],
        counts["hard-to-speak"], *tied,
    )  # fmt: skip
    said.says(top, "Every verdict ranges over", 8, math.sqrt(8), len(scan.asked))
    check_causes(said, scan, run)
    for verdict in ("unspeakable", "tied"):
        rows = sorted(scan.of(verdict), key=lambda row: row["margin_upper"] if verdict == "unspeakable" else 0)
        for block, token in zip(said.blocks(f"list-{verdict}", "li"), scan.ids(rows), strict=True):
            said.agree(block, [token])
    check_categories(said, scan, run)
    check_margins(said, scan)
    check_samplers(said, scan, run)
    said.prose("margins", "0 shows all")
    said.prose("map", "0 shows")
    # Stages
    stages = []
    for one in record["funnel"]:
        cells = [[one["rows_in"]], [one["settled"]], shares(one["settled"], one["rows_in"]), seconds(one["seconds"])]
        stages.append([None, *cells])
    said.rows("stages", 0, stages)
    said.says("stages", "All stages together left", counts["undecided"], *seconds(record["seconds"]))
    check_method(said, record)
    assert said.rest == []


def check_causes(said: Ledger, scan: Scan, run: Path) -> None:
    never = scan.of("unspeakable")
    block = next(one for one in said.blocks("answer-title", "p", "cause") if "unspeakable" in one.words)
    found = re.search(r"short rows \(norm up to ([\d.]+)\) \(none of", block.words)
    assert found
    longest = float(found[1])
    short = [row for row in scan.asked if row["row_norm"] < longest + 0.005]
    assert all(row in never for row in short)
    others = len(scan.asked) - len(never)
    # The bound itself lies somewhere between two norms: what it divides is what counts.
    said.agree(block, [len(never), len(short), len(never), longest, others, len(never) - len(short)])
    tied = scan.ids(scan.of("tied"))
    equal = {row["token_id"]: len(row["others"]) + 1 for row in rows_of(run, "categories.parquet") if row["others"]}
    said.says("answer-title", "^2 tied", len(tied), *(part for token in tied for part in (token, equal[token])))


def check_categories(said: Ledger, scan: Scan, run: Path) -> None:
    never = set(scan.ids(scan.of("unspeakable")))
    tokens: dict[str, list[int]] = {}
    for row in rows_of(run, "categories.parquet"):
        tokens.setdefault(row["category"], []).append(row["token_id"])
    kinds = [one for one in CATALOGUE if one.key in tokens]
    mine = [tokens[one.key] for one in kinds]
    cells: list[Cells] = [[None, [len(some)], [len(never & set(some))], None] for some in mine]
    said.rows("categories", 0, cells)
    # Indicators: hits among the most suspect, counted in the table of suspects
    found = scan.record["categories"]["indicators"]
    ranks: dict[tuple[str, str], dict[int, int]] = {}
    for row in rows_of(run, "suspects.parquet"):
        ranks.setdefault((row["indicator"], row["matrix"]), {})[row["token_id"]] = row["rank"]

    def hits(one: Row, k: int) -> list[float]:
        cut = next(cut for cut in one["cuts"] if cut["k"] == k)
        among = {token for token, rank in ranks[one["title"], one["matrix"]].items() if rank <= k}
        assert cut["hits"] == len(among & never)
        span = cut["precision"]
        return [len(among & never), percent(len(among & never), k), 100 * span["low"], 100 * span["high"]]

    def span(one: Row) -> list[float]:
        return [one["value"], one["low"], one["high"]]

    top, share = len(never), 1
    said.rows(
        "categories", 1,
        [
            [
                None, None, hits(one, top), hits(one, share), span(one["average_precision"]), span(one["auc"]),
                span(one["rho"]), [one["fresh_auc"]],
            ]
            for one in found["rows"]
        ],
    )  # fmt: skip
    head = said.parts["categories"].tables[1][0]
    said.agree(head[2], [top])
    said.agree(head[3], [share])
    best = max(found["rows"], key=lambda one: (hits(one, top)[0], one["average_precision"]["value"]))
    cut = next(cut for cut in best["cuts"] if cut["k"] == top)
    said.says(
        "categories", "The indicator that finds most", hits(best, top)[0], top, top, *hits(best, top)[1:],
        cut["chance_low"], cut["chance_high"],
    )  # fmt: skip
    said.says("categories", "known to be unused", found["unused"])
    said.prose("categories", "^Tokens are ranked by each number")


def check_margins(said: Ledger, scan: Scan) -> None:
    gap = scan.record["settings"]["margin_gap"]
    said.says("margins", "^How close the calls are", scan.within(gap), len(scan.asked), 100 * gap)
    groups = {
        "unspeakable": [-row["margin_upper"] for row in scan.of("unspeakable")],
        "hard": [row["margin_lower"] for row in scan.hard],
        "speakable": [row["margin_lower"] for row in scan.own],
    }
    bars = [one for one in said.blocks("margins", "title") if "logits:" in one.words]
    for key, sizes in groups.items():
        mine, bars = bars_of(bars, len(sizes))
        for block in mine:
            check_bar(said, block, sizes, key == "unspeakable")
        signed = sorted(-size for size in sizes) if key == "unspeakable" else sorted(sizes)
        said.says("margins", "half of them below", len(sizes), signed[0], signed[-1], float(np.median(signed)))
    assert bars == []
    sizes = groups["unspeakable"]
    lowest = 10.0 ** math.floor(math.log10(max(*sizes, 0) * 1e-6))
    said.says("margins", "The bin next to zero", sum(size < lowest for size in sizes))
    # Nearest to the edge: those whose margins are known closely enough, the smallest first
    for side, rows in (("speakable", scan.of("speakable")), ("unspeakable", scan.of("unspeakable"))):
        near = [row for row in rows if row["margin_upper"] - row["margin_lower"] <= 0.05 * max(map(abs, ends(row)))]
        near.sort(key=lambda row: abs(row["margin_lower" if side == "speakable" else "margin_upper"]))
        for row in near[:20]:
            shown = row["margin_lower" if side == "speakable" else "margin_upper"]
            said.says("margins", rf"^{scan.rows.index(row)} ", scan.rows.index(row), Bound(shown), *ends(row))
        if len(near) < min(20, len(rows)):
            said.says("margins", "may belong here", len(rows) - len(near))


def bars_of(bars: list[Block], tokens: int) -> tuple[list[Block], list[Block]]:
    """The next bars that together hold so many tokens, and those after them."""
    held = 0
    for at, block in enumerate(bars):
        held += int(block.numbers[2].value)
        if held == tokens:
            return bars[: at + 1], bars[at + 1 :]
    raise AssertionError(f"no bars that hold {tokens} tokens")


def check_bar(said: Ledger, block: Block, sizes: Iterable[float], negative: bool) -> None:
    """A bar's count, as far as its rounded ends tell; the ends are those of no file."""
    low, high = sorted(abs(one.value) for one in block.numbers[:2])
    (count,) = (one.value for one in block.numbers[2:])
    least = sum(low * 1.005 < size < high * 0.995 for size in sizes)
    nearest_zero = min(sizes) < low and not any(min(sizes) < size < low for size in sizes) and count > least
    most = sum((0 if nearest_zero else low * 0.995) <= size <= high * 1.005 for size in sizes)
    assert least <= count <= most, block.words
    assert all(one.value <= 0 if negative else one.value >= 0 for one in block.numbers[:2])
    said.agree(block, [one.value for one in block.numbers])


def check_samplers(said: Ledger, scan: Scan, run: Path) -> None:
    said.prose("samplers", "^Min-p keeps what is at least p times")
    greedy = len(scan.of("unspeakable")) + len(scan.of("tied"))
    table = said.parts["samplers"].tables[0]
    thresholds = [one.numbers[0].value for one, _ in table[2:]]
    out = {p: scan.out_of_reach(p) for p in thresholds}
    said.rows("samplers", 0, [[None, [greedy]], *([[p], [out[p]]] for p in thresholds)])
    some = [p for p in thresholds if out[p]]
    middle = some[len(some) // 2]
    free = next(p for p in thresholds if not out[p])
    said.says("samplers", "^Greedy decoding", greedy, len(scan.of("tied")), middle, out[middle], free)
    logs = [row["log_probability_upper"] for row in rows_of(run, "ceilings.parquet")]
    block = next(one for one in said.blocks("samplers", "p") if one.words.startswith("Ceilings of"))
    at_most = [one.value for one in block.numbers[2::2]]
    below = [part for p in at_most for part in (sum(log <= math.log(p / 100) for log in logs), p)]
    said.agree(block, [len(logs), *below])


def check_method(said: Ledger, record: Row) -> None:
    hardware, head = record["hardware"], record["head"]
    said.facts("method", {
        "Fingerprint of A and c": record["fingerprint"],
        "Vocabulary × width": [record["v"], record["d"]],
        "eps of the norm": [head["eps"]],
        "Domain": record["domain"],
        "Started": record["started"],
        "Took": seconds(record["seconds"]),
        "Peak memory": memory(record["peak_memory_bytes"]),
        "Cores": [hardware["cores"]],
        "Memory": [hardware["memory_bytes"] / 2**30],
        "Processor": hardware["cpu"],
        "Schema of the run": [record["schema"]],
        **{name: setting(value) for name, value in record["settings"].items()},
        **record["versions"],
    })  # fmt: skip
    command, verify = said.blocks("method", "pre")
    said.agree(command, [part for word in record["command"] for part in numbers(word) if "/" not in word])
    said.agree(verify, [])
    said.prose("method", "to 5 %, or as closely as was asked for", "weights that add up to 1", "65536|65,536")


def test_the_page_of_a_scan():
    run = real_runs.scanned_with_margins()
    check_scan(page_of(run, "report.html"), run)


CHANGES: dict[str, Callable[[Path], None]] = {
    "a stage's tokens": change_record("manifest.json", "funnel", 1, "settled", by=1),
    "an indicator's area": change_record(
        "manifest.json", "categories", "indicators", "rows", 2, "auc", "value", by=0.01
    ),
    "the memory of a scan": change_record("manifest.json", "peak_memory_bytes", by=1 << 30),
    "a token's margin": change_table("verdicts.parquet", "margin_upper", 38, 0.02),
    "a token's ceiling": change_table("ceilings.parquet", "log_probability_upper", 6, 3.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_page_of_other_numbers_is_found_out(tmp_path: Path, name: str):
    run = real_runs.copied(real_runs.scanned_with_margins(), tmp_path / "run")
    CHANGES[name](run)
    with pytest.raises(AssertionError):
        check_scan(page_of(run, "report.html"), real_runs.scanned_with_margins())
