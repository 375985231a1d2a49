from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from real_runs import compared
from report_builders import control_row, hard_row, token_row, unspeakable_row, write_run

from reach.runs.folder import RunFolder
from reports.control import read_control
from reports.scan_page import scan_page
from solvers.errors import BadInput


def test_a_run_without_a_control_has_none(tmp_path: Path):
    assert read_control(RunFolder.open(write_run(tmp_path, [token_row()]))) is None


def test_the_first_control_is_split_into_the_groups_of_the_histograms(tmp_path: Path):
    controls = [
        control_row(margin_lower=2.0),
        control_row(own_direction=False, margin_lower=0.5),
        control_row(verdict="unspeakable", own_direction=False, margin_lower=None, margin_upper=-0.25),
        control_row(control="covariance", margin_lower=9.0),
    ]
    found = read_control(RunFolder.open(write_run(tmp_path, [token_row()], controls=controls)))
    assert found is not None
    assert {key: values.tolist() for key, values in found.groups.items()} == {
        "unspeakable": [-0.25],
        "hard": [0.5],
        "speakable": [2.0],
    }


def test_the_control_is_drawn_in_its_own_counts(tmp_path: Path):
    # Given two unspeakable tokens, a hard one, and a control with four unspeakable rows and one that is own-direction
    never = {"verdict": "unspeakable", "own_direction": False, "margin_lower": None}
    controls = [control_row(**never, margin_upper=-0.2 - at / 100) for at in range(3)]
    controls += [control_row(**never, margin_upper=-50.0), control_row()]
    rows = [hard_row(), unspeakable_row(margin_upper=-0.1), unspeakable_row(margin_upper=-0.3)]
    page = scan_page(RunFolder.open(write_run(tmp_path, rows, controls=controls)))
    drawn = next(one for one in page.histograms if one.key == "unspeakable")
    assert sum(drawn.counts) == 2
    assert sum(drawn.control) == 4
    # The axis reaches what only the control has: it stands in the last bin, not in one with nearer margins.
    assert drawn.edges[-1] >= 50
    assert [count for count in drawn.control if count][-1] == 1
    assert page.control == (
        "Dotted: a random head with rows of the same size, in tokens like the bars. Of its 5 rows, 4 (80 %) are "
        "unspeakable, 0 (0 %) hard-to-speak and 1 (20 %) own-direction; of this model's 3 tokens, 2 (66.7 %) are "
        "unspeakable, 1 (33.3 %) hard-to-speak and 0 (0 %) own-direction."
    )


def test_a_real_comparison_leaves_its_first_control():
    found = read_control(RunFolder.open(compared()))
    assert found is not None
    assert found.name == "a random head with rows of the same size"
    assert sum(map(len, found.groups.values())) > 60
    assert not any(np.isnan(values).any() for values in found.groups.values())


def test_a_damaged_control_is_named(tmp_path: Path):
    run = write_run(tmp_path, [token_row()])
    (run / "controls.parquet").write_text("no Parquet")
    with pytest.raises(BadInput, match=r"controls\.parquet"):
        read_control(RunFolder.open(run))
