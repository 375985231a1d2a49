from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec import to_builtins
from real_runs import compared, compared_shortly, copied
from report_builders import HOSTILE, token_row, write_run
from solver_builders import STRONG, WEAK, comparison, grade, write_comparison

from reach.compare.domains import compare_domains
from reports.solvers_page import BackendRow, solvers_page, write_solvers_page
from reports.write import write_reports
from solvers import options
from solvers.backend import Budget
from solvers.domains import Ball
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem
from solvers.registry import entries


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A real comparison of a test's own."""
    return copied(compared(), tmp_path / "run")


def row_of(run: Path, backend: str) -> BackendRow:
    return next(row for row in solvers_page(run).problems[0].rows if row.name == backend)


def test_every_setting_says_what_it_was_set_to(run: Path):
    found = solvers_page(run).options
    known = [(row.backend, row.option, row.value) for row in options.settings_map()]
    assert [row[:3] for row in found] == known
    assert len(found) > 90
    # The formula is the one by which backends take their options.
    shown = {(backend, option): value for backend, option, value, *_ in found}
    assert shown["clarabel", "tol_gap_abs"] == "max(tolerance, 1e-12)"
    assert options.values("clarabel", Budget(tolerance=1e-15))["tol_gap_abs"] == 1e-12
    text = write_solvers_page(run).read_text(encoding="utf-8")
    assert "<td>max(tolerance, 1e-12)</td>" in text
    assert "not recorded" not in text


def test_a_settings_map_without_its_values_is_refused(run: Path):
    # Given a map that names one of its entries otherwise
    renamed = [
        {("expression" if name == "value" else name): one for name, one in row.items()}
        for row in comparison()["settings_map"]
    ]
    # When the page is made, then it does not pretend that the command recorded nothing
    with pytest.raises(BadInput, match="missing required field `value`"):
        solvers_page(write_comparison(run, settings_map=renamed))


def test_the_best_backend_comes_first_and_false_claims_are_in_the_lead(run: Path):
    page = solvers_page(run)
    assert [row.name for row in page.problems[0].rows] == [STRONG, WEAK]
    assert page.lead == f"2 backends were given up to 16 tokens each. 1 of them made false claims: {WEAK}."


def test_rates_keep_their_counts_and_intervals(run: Path):
    problem = comparison()["problems"]["model"]
    rate = {"rate": 0.75, "low": 0.55, "high": 0.95, "of": 4}
    changed = grade(WEAK, claims=4, right=3, right_rate=rate, seconds_shifted_geometric_mean=0.0123)
    problem["grades"] = [grade(STRONG), changed]
    weak = row_of(write_comparison(run, problems={"model": problem}), WEAK)
    assert (weak.right.words, weak.right.interval, weak.right.share) == ("3 of 4", "55–95 %", 0.75)
    assert (weak.seconds, weak.gap) == ("0.0123", "–")
    assert weak.false_unspeakable == grade(WEAK)["false_unspeakable"] > 0


def test_rates_are_those_of_the_record(run: Path):
    for name in (STRONG, WEAK):
        record, row = grade(name), row_of(run, name)
        assert row.right.words == f"{record['right']} of {record['claims']}"
        assert row.verified.words == f"{record['verified']} of {record['given']}"
        assert row.limit_hit == record["limit_hit"]


def test_tokens_are_named_as_in_the_runs_own_table(run: Path):
    wrong = grade(WEAK)["wrong_tokens"]
    texts = dict(row_of(run, WEAK).wrong)
    assert list(texts) == wrong
    # The names of the comparison itself are in quotes, with their ids.
    assert all(f"{text!r} (#{token})" == comparison()["tokens"][str(token)] for token, text in texts.items())


def test_without_the_table_the_comparisons_own_names_serve(tmp_path: Path):
    token = grade(WEAK)["wrong_tokens"][0]
    wrong = row_of(write_comparison(tmp_path), WEAK).wrong
    assert wrong[0] == (token, comparison()["tokens"][str(token)])


def test_estimates_stand_beside_the_truth(run: Path):
    hidden = comparison()["hidden"]
    estimate = hidden[0]["estimates"][0] | {"estimate": 2.6, "low": 2.0, "high": None, "holds_truth": True}
    hidden[0] |= {"found": 2, "truth": 3, "estimates": [estimate]}
    row, *others = solvers_page(write_comparison(run, hidden=hidden)).hidden
    assert (row.found, row.estimate, row.interval, row.truth, row.holds) == (2, "3", "2 to unbounded", 3, True)
    assert [one.found for one in others] == [one["found"] for one in hidden[1:]]


def test_domains_that_met_other_verdicts_keep_their_columns(run: Path):
    # Given a head that can say everything on the whole space, and one thing only close to the origin
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    problem = ArgmaxProblem(rows, Ball(squared_radius=0.25), bias=torch.tensor([2.0, 0.0, 0.0, 0.0]))
    counted = compare_domains(problem, 1)
    assert counted.verdicts["free"].keys() != counted.verdicts["ball:0.5"].keys()
    # When its verdicts are shown, then every count stands under its own name
    page = solvers_page(write_comparison(run, domains=to_builtins(counted)))
    shown = dict(page.domains)
    assert len({tuple(counts) for counts in shown.values()}) == 1
    assert (shown["all final hidden states"]["speakable"], shown["all final hidden states"]["unspeakable"]) == (4, 0)
    near = shown["the open ball of radius 0.5"]
    assert (near["speakable"], near["unspeakable"]) == (1, 3)


def test_parts_that_were_not_measured_say_so(tmp_path: Path):
    text = write_solvers_page(copied(compared_shortly(), tmp_path / "run")).read_text(encoding="utf-8")
    assert "Detection limits were not measured" in text
    assert "Hidden tokens were not estimated" in text
    assert "not recorded" not in text


def test_parts_that_hold_nothing_say_so(run: Path):
    write_comparison(run, hidden=None, detection=None, domains=None)
    text = write_solvers_page(run).read_text(encoding="utf-8")
    assert "Detection limits were not measured" in text
    assert "Hidden tokens were not estimated" in text


def test_a_backend_that_made_no_claim_has_no_rate(run: Path):
    problem = comparison()["problems"]["model"]
    quiet = grade(WEAK, backend="quiet", claims=0, right=0, right_rate=None, failures={"crashed": 2})
    problem["grades"] = [quiet]
    row = solvers_page(write_comparison(run, problems={"model": problem})).problems[0].rows[0]
    assert (row.right.words, row.right.share, row.failures) == ("–", None, "2 crashed")


def test_a_missing_backend_is_among_the_limitations(run: Path):
    absent = {"name": "absent", "missing": "absent needs it: pip install it"}
    write_comparison(run, backends=[*comparison()["backends"], absent])
    text = write_solvers_page(run).read_text(encoding="utf-8")
    assert "absent was not compared: absent needs it: pip install it" in text


def test_abilities_are_those_of_the_installed_backends(run: Path):
    here = {row[0]: row for row in solvers_page(run).abilities}
    assert list(here) == [entry.name for entry in entries() if entry.missing() is None]
    assert here["batched-barrier"][4] == "yes"
    assert here["reflection"][4] == "no"
    assert "Ball" in here["clarabel"][2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing; make it with 'reach compare-solvers MODEL --out"),
        ("{", "not readable as JSON"),
        ("[]", "schema None"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1, "problems": {"model": {"grades": [{}]}}}', "an entry is missing or of another kind"),
        ('{"schema": 1, "problems": {}}', "an entry is missing or of another kind"),
    ],
)
def test_what_cannot_be_read_gets_one_line(run: Path, text: str | None, message: str):
    for name in ("solvers.json", "solvers.html"):
        (run / name).unlink()
    if text is not None:
        (run / "solvers.json").write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        write_solvers_page(run)
    assert "\n" not in str(caught.value)
    assert not (run / "solvers.html").exists()


def test_report_writes_both_pages_of_a_run_with_a_comparison(run: Path):
    assert write_reports([run]) == [run / "report.html", run / "solvers.html"]


def test_hostile_strings_stay_text(tmp_path: Path):
    run = write_run(tmp_path, [token_row(token=one) for one in HOSTILE])
    evil = "</script><img src=x onerror=alert(1)>\ud800\u202e"
    problem = comparison()["problems"]["model"]
    problem["grades"][0] |= {"sentence": evil, "version": evil, "failures": {evil: 1}, "wrong_tokens": [0, 1]}
    hostile = [row | {"option": evil, "value": evil} for row in comparison()["settings_map"]]
    text = write_solvers_page(
        write_comparison(
            run, model=evil, problems={"model": problem}, tokens={"0": evil, "1": evil}, settings_map=hostile
        )
    ).read_text(encoding="utf-8")
    assert "<img" not in text
    assert "\u202e" not in text
