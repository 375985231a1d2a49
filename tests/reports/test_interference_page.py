"""What the page of a measurement says first, and what it does not pretend to know."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from msgspec import structs
from real_runs import copied, measured, measured_shortly, measured_widely

from reach.interference.packing import expected_coherence, levenshtein_bound
from reach.interference.record import Band, Indicator, Interference, Roc, Speakability
from reach.interference.summary import crowding, summary_lines
from reports.interference_page import InterferencePage, interference_page, write_interference_page


def page_of(record: Interference, folder: Path) -> InterferencePage:
    folder.mkdir()
    record.write(folder)
    return interference_page(folder)


def area(auc: float, low: float, high: float) -> Roc:
    return Roc(auc, low, high, 89, 3911)


def indicator(key: str, unspeakable: Roc) -> Indicator:
    return Indicator(key, key, None, unspeakable, None)


def told(record: Interference, folder: Path, *indicators: Indicator) -> str:
    found = Speakability(reason=None, counts=record.speakability.counts, indicators=indicators)
    return page_of(structs.replace(record, speakability=found), folder).speakability[0]


def test_the_lead_is_how_many_share_a_dimension_and_the_floor_chance_and_the_model():
    record = Interference.read(measured())
    (case,) = [case for case in record.cases if case.rows == "A" and not case.centred]
    lead = interference_page(measured()).lead
    assert lead.startswith(
        f"{record.v} token directions share {record.d} dimensions: {record.v / record.d:.3g} per dimension. "
    )
    floor, chance = levenshtein_bound(case.n, case.d), expected_coherence(case.n, case.d)
    assert f"at least {floor:.3f} in every arrangement (Levenshtein bound)" in lead
    assert (
        f"{chance:.3f} expected of random directions, and {case.statistics['coherence']:.3f} in this model." in lead
    )
    # The terminal says the same.
    assert summary_lines(record)[1].strip() == lead == crowding(record)


def test_rows_that_could_be_orthogonal_have_no_floor():
    record = structs.replace(Interference.read(measured_shortly()))
    few = tuple(structs.replace(case, n=case.d) for case in record.cases)
    assert "0 if all are orthogonal, for which there is room" in crowding(structs.replace(record, cases=few))


def test_what_random_projection_guarantees_is_no_limit(tmp_path: Path):
    for made in (measured_shortly(), measured_widely()):
        run = copied(made, tmp_path / made.name)
        text = write_interference_page(run).read_text(encoding="utf-8")
        assert "unavoidable" not in text
        assert not re.search(r"tokens fit|dimensions needed", text)
        assert "This relation is a sufficient condition" in text
        # It is folded away, below the bounds.
        assert text.index("Levenshtein bound on coherence") < text.index("Johnson–Lindenstrauss relation")
    record = Interference.read(measured_widely())
    rows = dict(interference_page(measured_widely()).packing)
    # 200 dimensions hold 200 orthogonal rows: a guarantee for fewer is none.
    for row in record.theory.packing.at_epsilon:
        words = rows[f"sufficient for ε = {row.epsilon:g}"]
        assert ("are sure to fit into 200" in words) == (row.tokens_that_fit > 200)
    assert rows["interference ε(V, d)"] == f"{record.theory.packing.epsilon:.4f}"


def test_indicators_within_each_others_reach_tell_equally(tmp_path: Path):
    record = Interference.read(measured())
    one = indicator("strongest_cos", area(0.99244, 0.9894, 0.9946))
    other = indicator("offset", area(1 - 0.99239, 1 - 0.9945, 1 - 0.9890))
    far = indicator("norm", area(0.70, 0.68, 0.72))
    said = told(record, tmp_path / "tie", one, other, far)
    assert said.startswith("2 indicators tell the 89 unspeakable tokens equally well")
    assert "strongest |cos|, A as it is (high values); offset c" in said
    assert "(low values)" in said
    assert "norm" not in said
    # One that stands alone is named alone, and one that tells nothing is not praised.
    assert told(record, tmp_path / "one", one, far).startswith(
        "The 89 unspeakable tokens are told best by strongest |cos|, A as it is (high values): area 0.992"
    )
    coin = indicator("norm", area(0.53, 0.47, 0.59))
    assert told(record, tmp_path / "none", coin).startswith("No indicator certainly tells")


def test_a_sentence_for_each_matrix_and_the_rest_folded_away(tmp_path: Path):
    page = interference_page(measured())
    record = Interference.read(measured())
    for case, view in zip(record.cases, (*page.main, *page.others), strict=True):
        assert view.headline.count(".") - len(re.findall(r"\d\.\d", view.headline)) == 1
        for key in ("mean", "mean_strongest"):
            assert f"{case.statistics[key]:.3f}" in view.headline
            assert f"{case.chance[key]:.3f}" in view.headline
    text = write_interference_page(copied(measured(), tmp_path / "run")).read_text(encoding="utf-8")
    section = text[text.index('id="chance"') : text.index('id="theory"')]
    folded = "".join(re.findall(r"<details>.*?</details>", section, re.DOTALL))
    assert section.count('class="sentences"') == folded.count('class="sentences"') == len(record.cases)


def test_draws_are_not_read_for_more_than_they_say(tmp_path: Path):
    record = Interference.read(measured())

    def with_band(band: Band) -> InterferencePage:
        cases = tuple(
            structs.replace(
                case,
                controls={
                    kind: structs.replace(control, statistics=dict.fromkeys(control.statistics, band))
                    for kind, control in case.controls.items()
                },
            )
            for case in record.cases
        )
        return page_of(structs.replace(record, cases=cases), tmp_path / f"{np.random.default_rng().integers(2**60)}")

    far = with_band(Band(mean=0.1, sd=1e-6, low=0.1, high=0.1, z=644909.0))
    assert far.main[0].rows[0].cells[0][1] == "z > 100"
    assert with_band(Band(0.1, 1e-6, 0.1, 0.1, -644909.0)).main[0].rows[0].cells[0][1] == "z < −100"
    # A single draw has no spread: whether the model differs from chance is not known.
    single = with_band(Band(mean=0.1, sd=None, low=0.1, high=0.1, z=None))
    assert single.main[0].rows[0].cells[0][1] == "one draw"
    assert "without a spread of draws to judge it by" in single.main[0].sentences[0]
    assert "than chance leaves open" not in single.main[0].sentences[0]
