from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from real_runs import scanned
from report_builders import hard_row, head, record, skipped_row, token_row, unspeakable_row, write_run

from reach.runs.folder import RunFolder
from reach.runs.manifest import Manifest
from reports.answer import Counts, answer, count_tokens, disagreements
from reports.domain import DomainView, domain_view


@pytest.fixture(scope="module")
def ball() -> DomainView:
    """The ball that is the LayerNorm's own, as a real manifest tells of it."""
    return domain_view(record())


def counts(**values: int) -> Counts:
    verdicts = {name: values.get(name, 0) for name in ("speakable", "tied", "unspeakable", "undecided")}
    asked = sum(verdicts.values())
    evidence = {"float64": 0, "rigorous": asked - verdicts["undecided"], "exact": 0}
    hard = values.get("hard", 0)
    return Counts(values.get("total", asked), asked, verdicts, evidence, verdicts["speakable"] - hard, hard)


def test_counts_come_from_the_table(tmp_path: Path):
    # Given three speakable tokens (one of them hard), a proved one, and one that was not asked for
    rows = [token_row(), token_row(), hard_row(), unspeakable_row(evidence="exact")]
    run = RunFolder.open(write_run(tmp_path, [*rows, skipped_row()], [(3, 0, 1.0)]))
    # When they are counted
    found = count_tokens(run.verdicts())
    # Then every group has its number, and the last token is in none
    assert (found.total, found.asked) == (5, 4)
    assert found.verdicts == {"speakable": 3, "tied": 0, "unspeakable": 1, "undecided": 0}
    assert found.evidence == {"float64": 0, "rigorous": 3, "exact": 1}
    assert (found.own_direction, found.hard_to_speak) == (2, 1)


def test_the_answer_says_how_many_are_unspeakable_first(ball: DomainView):
    said = answer(counts(speakable=16_000, unspeakable=42, hard=800), "m", ball)
    assert said.lead == "42 of 16,042 tokens are unspeakable."
    assert (
        "16,000 tokens can be: 15,200 along their own row of weights (own-direction), 800 only at other points of "
        "the domain, as far as was proved (hard-to-speak)." in said.rest
    )
    tile = next(one for one in said.tiles if one.label == "hard-to-speak")
    assert tile.note == "not along their own row"
    assert said.rest.endswith("None is undecided.")
    assert said.notes == ()


def test_one_unspeakable_token_is_singular(ball: DomainView):
    assert answer(counts(speakable=1, unspeakable=1), "m", ball).lead == "1 of 2 tokens is unspeakable."


def test_none_unspeakable_is_claimed_only_when_nothing_is_open(ball: DomainView):
    assert answer(counts(speakable=3), "m", ball).lead == "Not one of 3 tokens is unspeakable."
    assert answer(counts(speakable=3, undecided=1), "m", ball).lead == "Not one of 4 tokens was proved unspeakable."


def test_what_speakable_tokens_can_be_is_said_where_no_sentence_before_does(ball: DomainView):
    assert answer(counts(speakable=3), "m", ball).rest == "3 tokens can be m's single top choice. None is undecided."
    assert "single top choice. 3 tokens can be." in answer(counts(speakable=3, unspeakable=1), "m", ball).rest


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({"float64": 3}, "Every one of the 3 proofs was checked in float64."),
        (
            {"exact": 3},
            "Every one of the 3 proofs was checked in rational arithmetic wherever rounding could matter.",
        ),
        (
            {"exact": 1, "rigorous": 2},
            "Each of the 3 proofs was checked: 1 in rational arithmetic wherever rounding could matter; 2 with the "
            "rounding error bounded.",
        ),
    ],
)
def test_evidence_reads_as_one_sentence(evidence: dict[str, int], words: str, ball: DomainView):
    found = {name: evidence.get(name, 0) for name in ("float64", "rigorous", "exact")}
    assert answer(replace(counts(speakable=3), evidence=found), "m", ball).evidence == words


def test_undecided_is_explained_when_there_is_any(ball: DomainView):
    assert "no statement about the token" in answer(counts(undecided=1), "m", ball).notes[0]


def test_a_subset_says_that_nothing_is_known_about_the_rest(ball: DomainView):
    said = answer(counts(speakable=3, total=10), "m", ball)
    assert said.lead == "Not one of 3 tokens asked for is unspeakable."
    assert "asked about 3 of the 10 tokens" in said.notes[0]
    assert said.tiles[-1].value == "7"


def test_nothing_asked_for(ball: DomainView):
    assert answer(counts(total=4), "m", ball).lead == "None of the 4 tokens was asked for."


def test_the_domain_is_put_in_words(ball: DomainView):
    said = answer(counts(speakable=3), "m", ball).domain
    assert said.startswith(
        "Every verdict ranges over the open ball of radius √8 ≈ 2.82843. That is everything that the final LayerNorm"
    )
    assert domain_view(record(domain="free")).words == "all final hidden states"
    assert domain_view(record(domain="box:-1,1")).words == "the box with coordinates between −1 and 1"
    assert domain_view(Manifest()).words == "the domain “not recorded”"


def test_a_domain_that_is_not_the_norms_own_says_so():
    for domain in ("ball:3", "free", "box:-1,1"):
        why = domain_view(record(domain=domain)).why
        assert why == "It was chosen for this scan: the final LayerNorm itself fills the open ball of radius 2.82843."
    without = record(domain="free", head=head(norm=None))
    assert domain_view(without).why == "No final norm limits the hidden state."


def test_never_has_a_condition_unless_the_domain_is_all_there_is(ball: DomainView):
    some = counts(speakable=1, unspeakable=1)
    assert answer(some, "m", ball).rest.startswith("Whatever comes before its head, m can never")
    smaller = domain_view(record(domain="ball:2"))
    assert answer(some, "m", smaller).rest.startswith("Within the domain, m can never")


def test_totals_that_disagree_with_the_table_are_named():
    totals = RunFolder.open(scanned()).record.totals
    found = count_tokens(RunFolder.open(scanned()).verdicts())
    assert disagreements(found, totals) == []
    assert totals is not None
    one_more = totals.verdicts["speakable"] + 1
    other = msgspec.structs.replace(totals, verdicts=totals.verdicts | {"speakable": one_more})
    assert disagreements(found, other) == [
        f"The manifest's total verdicts.speakable is {one_more}, but the table holds {one_more - 1}; "
        "this page counts the table."
    ]


@pytest.mark.parametrize(
    ("norm", "tensors", "end"),
    [
        (
            "layernorm",
            {"weight": "W", "gamma": "g", "beta": "b"},
            "LayerNorm can put out, before its scale and shift.",
        ),
        ("layernorm", {"weight": "W", "gamma": "g"}, "LayerNorm can put out, before its scale."),
        ("layernorm", {"weight": "W"}, "LayerNorm can put out."),
        ("rmsnorm", {"weight": "W", "gamma": "g"}, "RMSNorm can put out, before its scale."),
        ("rmsnorm", {}, "RMSNorm can put out, before its scale."),
        ("layernorm", {}, "LayerNorm can put out, before its scale and shift."),
    ],
)
def test_a_norm_is_said_to_do_what_its_tensors_do(norm: str, tensors: dict[str, str], end: str):
    said = domain_view(record(head=head(norm=norm, tensors=tensors)))
    assert said.why.endswith(end)
