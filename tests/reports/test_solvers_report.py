from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import to_builtins
from real_runs import compared, compared_shortly, copied
from report_builders import HOSTILE, token_row, write_run
from solver_builders import STRONG, WEAK, comparison, grade, older_problems, write_comparison

from reach.compare.domains import compare_domains
from reach.compare.record import Comparison
from reach.compare.summary import comparison_lines
from reach.strength.rates import wilson
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
    # Of the backends that were compared, and of no others
    known = [(row.backend, row.option, row.value) for row in options.settings_map() if row.backend in (STRONG, WEAK)]
    assert [row[:3] for row in found] == known
    assert {row[0] for row in found} == {STRONG, WEAK}
    # The formula is the one by which backends take their options.
    shown = {(backend, option): value for backend, option, value, *_ in found}
    assert shown[STRONG, "tolerance"] == "0.1·tolerance"
    assert options.values(STRONG, Budget(tolerance=1e-15))["tolerance"] == pytest.approx(1e-16)
    text = write_solvers_page(run).read_text(encoding="utf-8")
    assert "<td>0.1·tolerance</td>" in text
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
    page = solvers_page(write_comparison(run, problems=older_problems()))
    assert [row.name for row in page.problems[0].rows] == [STRONG, WEAK]
    best, weak = grade(STRONG), grade(WEAK)
    assert page.lead.startswith(
        f"2 backends were given up to 16 tokens each. Strongest is {STRONG}: it solved and verified "
        f"{best['verified']} of 16 tokens, "
        f"which shows at least {math.floor(100 * best['verified_rate']['low'])} % (95 % interval), at a median of "
        f"{best['seconds_median']:.3g} s per token, and no claim of it is false. "
        f"Next is {WEAK} ({weak['verified']} of 16, at least {math.floor(100 * weak['verified_rate']['low'])} %)."
    )
    assert page.lead.endswith(f" 1 of them made false claims: {WEAK}.")


def test_a_search_that_gives_up_has_claimed_nothing(run: Path):
    found, row = grade(WEAK), row_of(run, WEAK)
    missed = found["gave_up"]["proved_speakable"]
    assert found["gave_up"]["proved_unspeakable"]
    assert row.missed == len(missed) > 0
    assert (row.false_unspeakable, row.false_speakable, row.wrong) == (0, 0, ())
    assert row.claims == found["claims"] <= 16 - len(missed)
    assert solvers_page(run).lead.endswith("No claim was false.")
    assert f"{len(missed)} are proved speakable (missed: " in row.sentence
    # Older versions took it for a claim; their records still open, with what they counted.
    older = row_of(write_comparison(run, problems=older_problems()), WEAK)
    assert (older.false_unspeakable, older.missed) == (len(missed), 0)


def test_few_tokens_do_not_make_a_backend_strong(run: Path):
    def solved(name: str, verified: int, given: int, seconds: float) -> dict[str, Any]:
        found = wilson(verified, given)
        rate = {"rate": found.share, "low": found.low, "high": found.high, "of": given}
        return grade(WEAK, backend=name, verified=verified, given=given, verified_rate=rate, seconds_median=seconds)

    problem = comparison()["problems"]["model"]
    problem["grades"] = [
        solved("lucky", 2, 3, 0.1),
        solved("slow", 40, 40, 2.0),
        solved("fair", 11, 20, 0.1),
        solved("fast", 40, 40, 0.5),
    ]
    write_comparison(run, problems={"model": problem})
    page = solvers_page(run)
    assert [row.name for row in page.problems[0].rows] == ["fast", "slow", "fair", "lucky"]
    assert "Strongest is fast: it solved and verified 40 of 40 tokens, which shows at least 91 %" in page.lead
    assert "Next is slow (as many, more slowly)." in page.lead
    # The terminal has the same order and the same sentence.
    lines = comparison_lines(Comparison.read(run))
    names = [line.split()[0] for line in lines if line.startswith("  ") and line.split()[:1] != []]
    assert [name for name in names if name in ("fast", "slow", "fair", "lucky")] == ["fast", "slow", "fair", "lucky"]
    assert any("Strongest is fast" in line and line.strip() in page.lead for line in lines)
    # And both show the median.
    assert [row.seconds for row in page.problems[0].rows] == ["0.5", "2", "0.1", "0.1"]


def test_rates_keep_their_counts_and_intervals(run: Path):
    problem = comparison()["problems"]["model"]
    rate = {"rate": 0.75, "low": 0.55, "high": 0.95, "of": 4}
    changed = grade(WEAK, claims=4, right=3, right_rate=rate, seconds_median=0.0123)
    problem["grades"] = [grade(STRONG), changed]
    weak = row_of(write_comparison(run, problems={"model": problem}), WEAK)
    assert (weak.right.words, weak.right.interval, weak.right.share) == ("3 of 4", "55–95 %", 0.75)
    assert (weak.seconds, weak.gap) == ("0.0123", "–")
    assert weak.false_unspeakable == grade(WEAK)["false_unspeakable"]


def test_rates_are_those_of_the_record(run: Path):
    for name in (STRONG, WEAK):
        record, row = grade(name), row_of(run, name)
        assert row.right.words == f"{record['right']} of {record['claims']}"
        assert row.verified.words == f"{record['verified']} of {record['given']}"
        assert row.limit_hit == record["limit_hit"]


def test_tokens_are_named_as_in_the_runs_own_table(run: Path):
    wrong = grade(WEAK)["gave_up"]["proved_speakable"]
    write_comparison(run, problems=older_problems())
    texts = dict(row_of(run, WEAK).wrong)
    assert list(texts) == wrong
    # The names of the comparison itself are in quotes, with their ids.
    assert all(f"{text!r} (#{token})" == comparison()["tokens"][str(token)] for token, text in texts.items())


def test_without_the_table_the_comparisons_own_names_serve(tmp_path: Path):
    token = grade(WEAK)["gave_up"]["proved_speakable"][0]
    wrong = row_of(write_comparison(tmp_path, problems=older_problems()), WEAK).wrong
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


def test_abilities_are_those_of_the_compared_backends(run: Path):
    here = {row[0]: row for row in solvers_page(run).abilities}
    assert list(here) == [entry.name for entry in entries() if entry.name in (STRONG, WEAK)]
    assert here["batched-barrier"][4] == "yes"
    assert here["reflection"][4] == "no"
    assert "Ball" in here[STRONG][2]


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
