"""Margins from both sides, the edge and the samplers on the page of a real scan, held against its files."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import real_runs
from report_builders import head, tied_row, token_row, undecided_row, unspeakable_row, write_run

from reach.runs.folder import RunFolder
from reach.runs.schema import SILENCERS
from reach.samplers import THRESHOLDS
from reports import plain
from reports.brackets import brackets
from reports.edge import Edge, edge_view
from reports.markdown import markdown
from reports.min_p import SamplerView, sampler_view
from reports.scan_page import ScanPage, scan_page
from reports.scan_report import write_scan_report
from solvers.errors import BadInput

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]


def table(run: Path, name: str = "verdicts") -> list[dict[str, Any]]:
    return pq.read_table(run / f"{name}.parquet").to_pylist()


def page_of(run: Path) -> ScanPage:
    return scan_page(RunFolder.open(run))


def samplers_of(run: Path) -> SamplerView:
    return sampler_view(RunFolder.open(run).verdicts(), None)


def edge_of(run: Path) -> Edge:
    tokens = RunFolder.open(run).verdicts()
    return edge_view(tokens, brackets(tokens))


def out_of_reach(rows: list[dict[str, Any]], p: float) -> int:
    """Of margins' upper bounds, by the definition: below ln p, or for greedy decoding not above 0."""
    bounds = [row["margin_upper"] for row in rows]
    return sum(bound <= 0 if p == 1 else bound < math.log(p) for bound in bounds)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


# --- the edge ---


def test_the_lists_at_the_edge_hold_what_the_table_of_the_run_holds():
    run = real_runs.scanned_with_margins()
    rows, edge = table(run), page_of(run).edge
    for side, verdict, end in zip(
        edge.sides, ("speakable", "unspeakable"), ("margin_lower", "margin_upper"), strict=True
    ):
        close = [
            row for row in rows
            if row["verdict"] == verdict
            and row["margin_upper"] - row["margin_lower"] <= 0.01 * abs(row["margin_upper"])
        ]  # fmt: skip
        expected = sorted(close, key=lambda row: abs(row[end]))[:20]
        assert len(expected) > 10
        assert [near.token.id for near in side.tokens] == [row["token_id"] for row in expected]
        for near, row in zip(side.tokens, expected, strict=True):
            low, high = map(number, near.bracket.split(" to "))
            # Rounded outwards, to four digits.
            assert low <= row["margin_lower"] <= row["margin_upper"] <= high
            assert math.isclose(low, row["margin_lower"], rel_tol=1e-3)
            assert math.isclose(high, row["margin_upper"], rel_tol=1e-3)
            assert number(near.margin) == (low if verdict == "speakable" else high)


def test_a_token_that_cannot_be_ranked_is_said_to_be_left_out():
    # Given a scan in which one row that is a mix of two others, but for rounding, has a bracket of 2e-8
    never = edge_of(real_runs.scanned_with_margins()).sides[1]
    wide = [row for row in table(real_runs.scanned_with_margins()) if row["verdict"] == "unspeakable"]
    assert len(wide) == len(never.tokens) + 1
    assert never.note == "1 more token may belong here: the bounds on its margin are too far apart to tell."


def test_without_margins_a_side_says_what_brings_them():
    edge = edge_of(real_runs.scanned())
    never = edge.sides[-1]
    assert never.tokens == ()
    assert re.fullmatch(
        r"Not ranked: of 12 tokens that might be among them the margin is not known closely enough\. "
        r"A scan with --margins 0\.01 brings it\.",
        never.note,
    )


@pytest.mark.parametrize(
    ("zeros", "said"),
    [
        (0, ""),
        (1, "1 unspeakable token lies on the edge itself: its margin is exactly 0."),
        (2, "2 unspeakable tokens lie on the edge itself: their margins are exactly 0."),
    ],
)
def test_exact_zeros_are_counted_and_not_listed(tmp_path: Path, zeros: int, said: str):
    rows = [token_row(margin_lower=1.0, margin_upper=1.01)]
    rows += [unspeakable_row(margin_lower=0.0, margin_upper=0.0)] * zeros
    edge = edge_of(write_run(tmp_path, rows))
    assert edge.on_it == said
    assert [near.token.id for side in edge.sides for near in side.tokens] == [0]


def test_the_nearest_are_twenty_and_none_that_might_be_nearer_goes_unsaid(tmp_path: Path):
    # Given thirty close brackets, one wide one that may reach below all of them, one that is farther for sure
    rows = [token_row(margin_lower=1.0 + at, margin_upper=1.001 + at) for at in range(30)]
    rows += [token_row(margin_lower=0.5, margin_upper=90.0), token_row(margin_lower=25.0, margin_upper=90.0)]
    (side,) = edge_of(write_run(tmp_path, rows)).sides
    assert [near.token.id for near in side.tokens] == list(range(20))
    assert side.note.startswith("1 more token may belong here")


# --- samplers ---


def test_the_curve_is_counted_right_from_the_files_of_the_run():
    run = real_runs.scanned_with_margins()
    view, rows = samplers_of(run), table(run)
    expected = {p: out_of_reach(rows, p) for p in THRESHOLDS}
    assert 0 < expected[0.8] < expected[0.9] < expected[1.0]
    last = next(p for p in THRESHOLDS if expected[p] == 0)
    said = {row.p: row.out for row in view.rows}
    assert said.pop(f"{last:g} and below") == "0"
    assert said == {"greedy" if p == 1 else f"{p:g}": str(expected[p]) for p in THRESHOLDS if p > last}
    assert not view.open
    assert view.curve is not None
    assert list(view.curve.out) == [out_of_reach(rows, p) for p in view.curve.p]
    assert [view.curve.p[at] for at in view.curve.listed] == [p for p in THRESHOLDS if p >= last]
    assert view.words == (
        f"Greedy decoding keeps out {expected[1.0]} tokens (2 tied ones among them, never alone on top); min-p 0.9 "
        f"keeps out {expected[0.9]}; from min-p {last:g} down every token is within reach somewhere.",
    )


def test_the_page_and_the_summary_hold_the_curve_without_a_script(tmp_path: Path):
    run = real_runs.scanned_with_margins()
    rows = samplers_of(run).rows
    text = write_scan_report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    body = re.search(r'<table class="curve".*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert body is not None
    assert re.findall(r'<th scope="row">(.*?)</th><td class="num">(.*?)</td>', body[1]) == [
        (row.p, row.out) for row in rows
    ]
    said = markdown(RunFolder.open(run))
    assert "### What samplers can return" in said
    assert all(f"| {row.p} | {row.out} |\n" in said for row in rows)


def test_what_brackets_leave_open_is_said(tmp_path: Path):
    rows = [token_row(), *(unspeakable_row(margin_lower=-0.3 - at, margin_upper=-0.1 - at) for at in range(5))]
    view = samplers_of(write_run(tmp_path, rows))
    assert view.open
    # ln 0.8 = −0.22: inside the first bracket
    assert [(row.p, row.out, row.open) for row in view.rows][4] == ("0.8", "4", "1")
    assert view.words[0].endswith("The bounds on margins leave at most 1 token open at one threshold.")
    assert "| 0.8 | 4 | 1 |" in markdown(RunFolder.open(tmp_path))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"head": head(softcap=30.0)}, "This model caps its logits."),
        ({"head": {k: v for k, v in head().items() if k != "logit_scale"}}, "does not record what its head does"),
        ({}, "not known closely enough to say what min-p keeps. A scan with --margins 0.01 brings them."),
        ({"domain": "free"}, "on an unbounded domain with offsets they may have no bound."),
    ],
)
def test_where_nothing_can_be_said_one_sentence_says_why(tmp_path: Path, values: dict, said: str):
    rows = [token_row(), unspeakable_row(margin_lower=None, margin_upper=-1e-3)]
    view = samplers_of(write_run(tmp_path, rows, **values))
    (sentence,) = view.words
    assert said in sentence
    assert (view.rows, view.drawing) == ((), None)


def test_without_offsets_min_p_keeps_every_token(tmp_path: Path):
    rows = [token_row(), tied_row(), unspeakable_row(margin_lower=None, margin_upper=0.0)]
    run = write_run(tmp_path, rows, zero_offset=True)
    view = samplers_of(run)
    assert view.words == (
        "Min-p keeps each of the 3 tokens at some point of the domain, whatever its threshold. Without offsets all "
        "logits are equal where z is 0.",
    )
    assert view.drawing is None
    assert edge_of(run).on_it.startswith("1 unspeakable token lies on the edge")


def test_the_random_control_stands_beside_the_curve(tmp_path: Path):
    # Given the margins of one run and the control that a comparison left in another of the same model
    run = real_runs.copied(real_runs.scanned_with_margins(), tmp_path / "run")
    shutil.copy(real_runs.compared() / "controls.parquet", run)
    rows = [row for row in table(run, "controls") if row["control"] == "gaussian" and row["verdict"]]
    view = page_of(run).samplers
    assert view.control == f"Control: a random head with rows of the same size, {len(rows)} rows, drawn as counted."
    greedy = view.rows[0].control
    assert greedy == str(sum(row["verdict"] != "speakable" for row in rows))
    assert view.curve is not None
    assert view.curve.control[0] == int(greedy)
    assert "control: out of reach" in markdown(RunFolder.open(run))


def test_ceilings_are_counted_and_silenced_tokens_are_named():
    run = real_runs.scanned_with_margins()
    low = sum(row["log_probability_upper"] <= math.log(0.1) for row in table(run, "ceilings"))
    further = samplers_of(run).further
    assert further == (
        f"Ceilings of 70 tokens are known: {low} are nowhere more probable than 10 %.",
        "No token is kept from the top by a single other one alone.",
    )
    silenced = real_runs.scanned_with_silencers()
    assert [(row["token_id"], row["count"]) for row in table(silenced, "silencers")][-1] == (39, 39)
    assert samplers_of(silenced).further == (
        "2 tokens are kept from the top by single others, each of them alone. Open one to see which.",
    )
    assert "2 tokens are kept from the top by single others" in markdown(RunFolder.open(silenced))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"token_id": 2}, "not one of the tokens"),
        ({"strongest": [None]}, "not one of the tokens"),
        ({"strongest": [0, 0]}, "do not fit each other"),
        ({"bound": [None]}, "do not fit each other"),
    ],
)
def test_damaged_silencers_are_named(tmp_path: Path, values: dict, said: str):
    run = write_run(tmp_path, [token_row(), unspeakable_row()])
    row = {"token_id": 1, "count": 1, "strongest": [0], "bound": [-1.0]} | values
    pq.write_table(pa.Table.from_pylist([row], schema=SILENCERS), run / "silencers.parquet")
    with pytest.raises(BadInput, match=rf"silencers\.parquet: .*{said}"):
        page_of(run)
    assert not (run / "report.html").exists()


# --- words ---


def test_what_is_open_sends_nobody_to_an_option_that_was_given(tmp_path: Path):
    rows = [token_row(margin_lower=1e-3, margin_upper=9.0, winning_logit=100.0, nearly_never=None)]
    asked = page_of(write_run(tmp_path / "1", rows, settings={"margin_gap": 0.01})).answer.notes
    assert asked == (
        "Of 1 speakable token the bounds on the margin leave open whether it is below a step of bfloat16 or float32. "
        "It is not counted as nearly never.",
    )
    (without,) = page_of(write_run(tmp_path / "2", rows)).answer.notes
    assert without.endswith("nearly never; --margins brings the bounds closer.")
    assert not any("leave open" in note for note in page_of(real_runs.scanned_with_margins()).answer.notes)


def test_how_closely_margins_are_known_is_said():
    assert page_of(real_runs.scanned()).margins.endswith("--margins makes them closer.")
    rows = table(real_runs.scanned_with_margins())
    known = sum(row["margin_upper"] - row["margin_lower"] <= 0.01 * abs(row["margin_upper"]) for row in rows)
    assert page_of(real_runs.scanned_with_margins()).margins == (
        f"This scan bounded the margin of {known} tokens of 70 from both sides, to 1 % of its size."
    )


@pytest.mark.parametrize("value", [0.5, 1.23456, 9.99951, 0.00012344, 1.23456e-7, 54321.9, 1e-300])
@pytest.mark.parametrize("sign", [1, -1])
def test_bounds_in_words_are_never_more_than_is_known(value: float, sign: int):
    low, high = (number(plain.bound(sign * value, way)) for way in (-1, 1))
    assert low <= sign * value <= high
    assert high - low <= 1.001e-3 * value


# --- in the browser ---


def shown(page: Page) -> dict[int, tuple[str, str]]:
    """Of the rows in sight: the margin, and what is said of it on pointing at it."""
    lines = page.locator("#grid-body .line")
    ids = [int(one) for one in lines.locator(".c-id").all_inner_texts()]
    cells = lines.locator(".c-margin")
    titles = cells.locator("span").evaluate_all("(found) => found.map((one) => one.title)")
    return dict(zip(ids, zip(cells.all_inner_texts(), titles, strict=True), strict=True))


def drawn(page: Page) -> Page:
    page.locator("#samplers").scroll_into_view_if_needed()
    page.locator("html[data-plots='drawn']").wait_for(state="attached")
    return page


@pytest.mark.browser
@pytest.mark.parametrize("made", [real_runs.scanned_with_margins, real_runs.scanned])
def test_each_token_has_one_signed_margin_and_its_bracket(
    visit: Visit, tmp_path: Path, made: Callable[[], Path]
) -> None:
    page = visit(write_scan_report(made(), tmp_path / "page.html"), viewport={"width": 1400, "height": 3000})
    rows, found = table(made()), {}
    page.click(".c-margin button")
    page.focus("#grid")
    for key in ("Home", "PageDown", "PageDown", "PageDown", "End"):
        page.keyboard.press(key)
        found |= shown(page)
    assert found.keys() == {row["token_id"] for row in rows}
    for row in rows:
        text, title = found[row["token_id"]]
        low, high = row["margin_lower"], row["margin_upper"]
        never = row["verdict"] == "unspeakable"
        close = low is not None and high is not None and high - low <= 0.05 * max(abs(low), abs(high))
        sign = "" if close else "≤ " if never else "≥ "
        assert text.startswith(sign) and text[len(sign)] not in "≥≤", (text, row)
        value = number(text.removeprefix(sign))
        assert math.isclose(value, high if never else low, rel_tol=1.1e-3), (text, row)
        assert value >= high if never else value <= low
        ends = [number(one) for one in re.findall(r"−?\d[\d.]*(?:e[+−]\d+)?", title)]
        known = [one for one in (low, high) if one is not None]
        assert len(ends) == (1 if low == high else len(known))
        assert np.allclose(ends, known[: len(ends)], rtol=1.1e-3, atol=0)
    order = [row["margin_upper" if row["verdict"] == "unspeakable" else "margin_lower"] for row in rows]
    page.keyboard.press("Home")
    first = list(shown(page))
    assert [order[token] for token in first] == sorted(order)[: len(first)]


@pytest.mark.browser
def test_tokens_at_the_edge_open_and_say_how_deep_they_lie(visit: Visit, tmp_path: Path) -> None:
    run = real_runs.scanned_with_margins()
    page = visit(write_scan_report(run, tmp_path / "page.html"))
    side = edge_of(run).sides[1]
    near, row = side.tokens[0], table(run)[side.tokens[0].token.id]
    page.click(f"#edge-unspeakable a[href='#token={near.token.id}']")
    words = page.inner_text("#panel")
    low, high = near.bracket.split(" to ")
    assert f"Its margin lies between {low} and {high} logits" in words
    said = re.search(r"The largest min-p .* lies between ([\d.]+) and ([\d.]+)\.", words)
    assert said is not None
    least, most = (math.exp(row[end]) for end in ("margin_lower", "margin_upper"))
    assert float(said[1]) <= least <= most <= float(said[2])
    assert math.isclose(float(said[1]), least, rel_tol=1e-4)
    assert math.isclose(float(said[2]), most, rel_tol=1e-4)
    ceiling = table(run, "ceilings")[near.token.id]
    found = re.search(r"Most probable\s+([\d.]+) % to ([\d.]+) % at the best point", words)
    assert found is not None
    low_p, high_p = (100 * math.exp(ceiling[f"log_probability_{end}"]) for end in ("lower", "upper"))
    assert float(found[1]) <= low_p <= high_p <= float(found[2])
    assert math.isclose(float(found[2]), high_p, rel_tol=2e-3)
    page.keyboard.press("Escape")
    # The same number in the list and in the table.
    page.fill("#search", f"#{near.token.id}")
    assert shown(page)[near.token.id][0] == near.margin


@pytest.mark.browser
def test_the_curve_is_drawn_as_counted(visit: Visit, tmp_path: Path) -> None:
    run = real_runs.copied(real_runs.scanned_with_margins(), tmp_path / "run")
    shutil.copy(real_runs.compared() / "controls.parquet", run)
    curve = page_of(run).samplers.curve
    assert curve is not None
    page = visit(write_scan_report(run))
    place = page.locator("#plot-samplers")
    left, right, _, floor = map(float, str(place.get_attribute("data-frame")).split())
    # Given the heights of the axis' lowest and highest label
    labels = place.locator("text[text-anchor='end']")
    ticks = [
        (float(one.get_attribute("y") or 0) - 4, int(str(one.text_content()).replace(",", "")))
        for one in labels.all()
    ]
    ticks = [tick for tick in ticks if tick[0] <= floor]
    (low_y, low), (high_y, high) = ticks[0], ticks[-1]
    assert low == 0 < high
    # Then every point of the lines stands as high as its count
    for name, counts in (("this model", curve.out), ("random control", curve.control)):
        path = str(place.locator(f"path[data-name='{name}']").get_attribute("d"))
        points = [tuple(map(float, one.split())) for one in re.split("[ML]", path)[1:]]
        assert len(points) == len(counts)
        for (x, y), count in zip(points, counts, strict=True):
            assert left <= x <= right
            assert y == pytest.approx(low_y + (high_y - low_y) * count / high, abs=0.02)
    shown = place.locator("text:not([text-anchor='end']):not(.title)").all_text_contents()
    assert shown[0] == "greedy"
    assert page.inner_text("#curve tbody tr:last-child th").removesuffix(" and below") in str(place.text_content())


@pytest.mark.browser
def test_on_a_phone_nothing_of_it_leaves_the_page(visit: Visit, tmp_path: Path) -> None:
    run = real_runs.scanned_with_margins()
    size = {"width": 390, "height": 844}
    page = drawn(visit(write_scan_report(run, tmp_path / "page.html"), viewport=size, has_touch=True))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.evaluate(
        """() => [...document.querySelectorAll('.edge li > *, .curve th, .curve td')]
          .filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline')
          .map((one) => one.textContent)"""
    )
    assert wide == []
    boxes = [
        one.bounding_box()
        for one in page.locator("#plot-samplers .ticks text:not([text-anchor='end']):not(.title)").all()
    ]
    ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
    assert all(right < left for (_, right), (left, _) in pairwise(ends))
    assert len(ends) > 1


@pytest.mark.browser
def test_the_panel_names_single_silencers(visit: Visit, tmp_path: Path) -> None:
    run = real_runs.scanned_with_silencers()
    rows = {row["token_id"]: row for row in table(run, "silencers")}
    page = visit(write_scan_report(run, tmp_path / "page.html"), "#token=39")
    page.wait_for_selector("#panel:not([hidden])")
    words = page.inner_text("#panel")
    assert "39 single tokens keep it from the top, everywhere and each alone. The strongest:" in words
    named = page.locator("#panel p:has-text('single tokens keep') a")
    links = named.evaluate_all("(all) => all.map((one) => one.hash)")
    assert links == [f"#token={row}" for row in rows[39]["strongest"]]
    # A head without a tokenizer: ids stand for names.
    assert named.all_inner_texts() == [f"#{row}" for row in rows[39]["strongest"]]


@pytest.mark.browser
def test_undecided_tokens_are_no_nearer_than_known(visit: Visit, tmp_path: Path) -> None:
    rows = [token_row(margin_lower=1.0, margin_upper=1.01), undecided_row(margin_lower=None, margin_upper=0.5)]
    page = visit(write_scan_report(write_run(tmp_path, rows)))
    assert shown(page)[1] == ("≤ 0.5000", "at most 0.5000 logits")
