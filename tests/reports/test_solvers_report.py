from __future__ import annotations

from pathlib import Path

import pytest
from report_builders import HOSTILE, token_row, write_run
from solver_builders import comparison, grade, write_comparison

from reports.solvers_page import solvers_page
from reports.solvers_report import write_solvers_report
from reports.write import write_reports
from solvers.errors import BadInput


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [token_row(token=f"t{at}") for at in range(4)])


def test_the_best_backend_comes_first_and_false_claims_are_in_the_lead(run: Path):
    page = solvers_page(write_comparison(run))
    assert [row.name for row in page.problems[0].rows] == ["strong", "weak"]
    assert page.lead == "2 backends were given up to 4 tokens each. 1 of them made false claims: weak."


def test_rates_keep_their_counts_and_intervals(run: Path):
    weak = solvers_page(write_comparison(run)).problems[0].rows[1]
    assert (weak.right.words, weak.right.interval, weak.right.share) == ("3 of 4", "55–95 %", 0.75)
    assert (weak.false_unspeakable, weak.seconds, weak.gap) == (1, "0.0123", "–")


def test_tokens_are_named_as_in_the_runs_own_table(run: Path):
    assert solvers_page(write_comparison(run)).problems[0].rows[1].wrong == ((1, "t1"),)


def test_without_the_table_the_comparisons_own_names_serve(tmp_path: Path):
    assert solvers_page(write_comparison(tmp_path)).problems[0].rows[1].wrong == ((1, "'t1' (#1)"),)


def test_estimates_stand_beside_the_truth(run: Path):
    (row,) = solvers_page(write_comparison(run)).hidden
    assert (row.found, row.estimate, row.interval, row.truth, row.holds) == (2, "3", "2 to unbounded", 3, True)


def test_parts_that_were_not_measured_say_so(run: Path):
    values = {name: value for name, value in comparison().items() if name in ("hidden", "detection", "domains")}
    write_comparison(run, **dict.fromkeys(values))
    text = write_solvers_report(run).read_text(encoding="utf-8")
    assert "Detection limits were not measured" in text
    assert "Hidden tokens were not estimated" in text


def test_a_backend_that_made_no_claim_has_no_rate(run: Path):
    problem = comparison()["problems"]["model"]
    problem["grades"] = [grade("quiet", claims=0, right=0, right_rate=None, failures={"crashed": 2})]
    row = solvers_page(write_comparison(run, problems={"model": problem})).problems[0].rows[0]
    assert (row.right.words, row.right.share, row.failures) == ("–", None, "2 crashed")


def test_a_missing_backend_is_among_the_limitations(run: Path):
    text = write_solvers_report(write_comparison(run)).read_text(encoding="utf-8")
    assert "absent was not compared: absent needs it: pip install it" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no comparison"),
        ("{", "not readable as JSON"),
        ("[]", "schema None"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1, "problems": {"model": {"grades": [{}]}}}', "not as this version writes it"),
        ('{"schema": 1, "problems": {}}', "not as this version writes it"),
    ],
)
def test_what_cannot_be_read_gets_one_line(run: Path, text: str | None, message: str):
    if text is not None:
        (run / "solvers.json").write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        write_solvers_report(run)
    assert "\n" not in str(caught.value)
    assert not (run / "solvers.html").exists()


def test_report_writes_both_pages_of_a_run_with_a_comparison(run: Path):
    assert write_reports([write_comparison(run)]) == [run / "report.html", run / "solvers.html"]


def test_hostile_strings_stay_text(tmp_path: Path):
    run = write_run(tmp_path, [token_row(token=one) for one in HOSTILE])
    evil = "</script><img src=x onerror=alert(1)>\ud800\u202e"
    problem = comparison()["problems"]["model"]
    problem["grades"][0] |= {"sentence": evil, "version": evil, "failures": {evil: 1}, "wrong_tokens": [0, 1]}
    text = write_solvers_report(
        write_comparison(run, model=evil, problems={"model": problem}, tokens={"0": evil, "1": evil})
    ).read_text(encoding="utf-8")
    assert "<img" not in text
    assert "\u202e" not in text
