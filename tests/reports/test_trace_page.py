"""The page of a trace without a browser: its numbers are those of the record and the table."""

from __future__ import annotations

import json
import re
from functools import cache
from html import unescape
from typing import Any

import pyarrow.parquet as pq
import pytest
import trace_family
from hypothesis import given
from hypothesis import strategies as st

from reach.trace.record import TraceResult
from reports.charts.axes import linear_axis
from reports.trace_columns import pack_trace, shades, shown_rows
from reports.trace_figures import _labels, history, shade, strip
from reports.trace_page import write_trace_page

ENDS = ([0.1, 0.2], [0.05])


@cache
def page() -> str:
    return write_trace_page(trace_family.traced()).read_text(encoding="utf-8")


@cache
def record() -> dict[str, Any]:
    return json.loads((trace_family.traced() / "trace.json").read_text())


def table(label: str) -> list[list[str]]:
    """The cells of a table of the page, row by row."""
    body = page().split(f'aria-label="{label}"', 1)[1].split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in body.split("</tr>")]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in rows if row]


def test_every_checkpoint_is_counted_on_the_page():
    for one in record()["series"]:
        rows = table(f"Checkpoints of {one['name']}")
        assert [row[0] for row in rows] == [f"{step['step']:,}" for step in one["steps"]]
        for row, step in zip(rows, one["steps"], strict=True):
            wanted = [step["classes"][key] for key in ("unspeakable", "hard-to-speak", "tied", "undecided")]
            assert row[1:5] == [f"{count:,}" for count in wanted]
        assert [row[5:7] for row in rows[1:]] == [
            [str(part["became"]), str(part["stopped"])] for part in one["intervals"]
        ]


def test_findings_stand_at_the_top_and_need_no_script():
    found = unescape(re.sub(r"<[^>]+>", "", page().split('id="steps"', 1)[0]))
    for words in ("Is it the token or the seed?", "shuffled tokens", "95 %", "the initialised model (step 0)"):
        assert words in found
    assert "bounded from one side only" in found


def test_pairs_and_factors_are_those_of_the_record():
    rows = {row[0]: row for row in table("Pairs of series")}
    assert len(rows) == len(record()["pairs"])
    for pair in record()["pairs"]:
        row = rows[f"{pair['one']} – {pair['other']}"]
        assert row[4].startswith(f"{pair['rho']['rho']['value']:.2f}".replace("-", "−"))
        sets = pair["unspeakable"]
        assert row[7] == f"{sets['both']} of {sets['one']} and {sets['other']}"
    (factor,) = record()["factors"]
    levels = table(f"Optimiser, at step {factor['step']}; differences against adamw")
    assert [row[0] for row in levels] == [one["level"] for one in factor["levels"]]


def test_named_tokens_have_a_strip_without_a_script():
    rows = pq.read_table(trace_family.traced() / "trace.parquet").to_pylist()
    section = page().split('id="named"', 1)[1].split('id="seeds"', 1)[0]
    told = re.findall(r'href="#token=(\d+)".*?<svg class="strip"[^>]*aria-label="([^"]*)"', section, re.DOTALL)
    assert told
    for row, words in told:
        assert unescape(words) == history(rows[int(row)]["class"], rows[int(row)]["steps"])


def test_no_folder_of_this_machine_is_on_the_page():
    assert str(trace_family.traced().parent) not in page()


# --- strips and labels ----------------------------------------------------------------------------------------------


def test_a_strip_by_hand():
    found = strip(["unspeakable", "own-direction", "undecided"], [-0.06, 0.15, None], [0, 5, 2000], ENDS)
    assert dict(found.paths) == {
        "heat-down-1": "M0 0h14v14h-14z", "lane-never": "M0 15h14v5h-14z", "heat-up-1": "M14 0h14v14h-14z",
        "heat-none": "M28 0h14v14h-14z", "lane-open": "M28 15h14v5h-14z",
    }  # fmt: skip
    assert found.words == "unspeakable at 0, speakable at 5, undecided at 2,000"


@pytest.mark.parametrize(
    ("margin", "style"),
    [(None, "heat-none"), (0.0, "heat-up-0"), (0.1, "heat-up-0"), (0.11, "heat-up-1"), (9.0, "heat-up-2"),
     (-0.01, "heat-down-0"), (-0.05, "heat-down-0"), (-7.0, "heat-down-1")],
)  # fmt: skip
def test_a_shade_says_the_sign_and_the_size(margin, style):
    assert shade(margin, ENDS) == style


def test_runs_of_verdicts_are_told_together():
    classes = ["own-direction", "hard-to-speak", "tied", "unspeakable", "unspeakable"]
    assert history(classes, [0, 1, 2, 3, 40]) == "speakable from 0 to 1, tied at 2, unspeakable from 3 to 40"


def test_shades_hold_as_many_cells_each():
    result = TraceResult.read(trace_family.traced())
    ends = shades(result)
    cells = [margin for row in result.table.column("margin").to_pylist() for margin in row if margin is not None]
    count = [sum(shade(margin, ends) == f"heat-up-{at}" for margin in cells) for at in range(6)]
    assert max(count) < 1.2 * min(count)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=30))
def test_labels_keep_apart(places):
    axis = linear_axis("", [0.0, 1.0])
    found = _labels([("a", x, y) for x, y in places], axis, axis)
    assert len(found) <= 8
    for at, one in enumerate(found):
        for other in found[:at]:
            assert abs(one.x - other.x) > 0.29 or abs(one.y - other.y) > 0.13


# --- size -----------------------------------------------------------------------------------------------------------


def test_a_page_of_too_many_cells_keeps_the_rows_that_stand_out():
    result = TraceResult.read(trace_family.traced())
    table = result.table.to_pylist()
    each = trace_family.CHECKPOINTS
    assert shown_rows(result).tolist() == list(range(len(table)))
    special = [at for at, row in enumerate(table) if set(row["verdict"]) != {"speakable"}]
    assert special
    kept = shown_rows(result, each * (len(special) + 100)).tolist()
    assert len(kept) == len(special) + 100
    assert set(special) <= set(kept)
    rest = [at for at in kept if at not in special]
    assert max(rest) - min(rest) > 0.8 * len(table)  # spread, not the first ones
    assert kept == sorted(set(kept))


def test_a_page_of_many_cells_stays_bounded():
    """108 runs of 4,000 tokens: the family's own rows over and over, each margin moved a little."""
    import numpy as np
    import pyarrow as pa
    from msgspec import structs

    result = TraceResult.read(trace_family.traced())
    steps = list(range(12))
    few = result.record.series[0]
    series = [
        structs.replace(
            few, name=f"s{at}", tokens=4000, steps=[structs.replace(few.steps[0], step=step) for step in steps]
        )
        for at in range(9)
    ]
    rng = np.random.default_rng(0)
    rows = 9 * 4000
    base = result.table.slice(0, 1).to_pylist()[0]
    margin = rng.standard_normal((rows, 12)).cumsum(axis=1)
    columns: dict[str, Any] = {
        name: [base[name] if name.endswith(("_p", "_q", "_z")) else None] * rows for name in result.table.column_names
    }
    columns |= {
        "series": [f"s{at % 9}" for at in range(rows)],
        "token_id": [at // 9 for at in range(rows)],
        "token": [f"Ġtoken{at // 9}" for at in range(rows)],
        "text": [f" token{at // 9}" for at in range(rows)],
        "steps": [steps] * rows,
        "verdict": [["speakable"] * 12] * rows,
        "class": [["own-direction"] * 12] * rows,
        "margin": margin.tolist(),
        "row_norm": np.abs(margin).tolist(),
        "changes": [0] * rows,
        "turns": [0] * rows,
    }
    many = pa.table([pa.array(columns[field.name], field.type) for field in result.table.schema], result.table.schema)
    text = pack_trace(TraceResult(structs.replace(result.record, series=series), many), {"name": "many"})
    assert len(text) < 4_000_000
