"""A backend that another package brings is found by its entry point, and graded like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from reach_command import reach

from solvers import registry
from solvers.errors import BadInput, MissingExtra

PLUGIN = Path(__file__).parents[1] / "solvers" / "plugin"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package on the path, with its metadata, as an installer would leave it."""
    monkeypatch.syspath_prepend(str(PLUGIN))


def test_without_the_package_there_is_no_such_backend() -> None:
    assert not [entry for entry in registry.entries() if isinstance(entry, registry.PluginEntry)]
    with pytest.raises(BadInput, match="no backend 'away-from-others'"):
        registry.backend("away-from-others")


@pytest.mark.usefixtures("installed")
def test_backends_of_other_packages_are_listed_or_say_why_not() -> None:
    found = {entry.where: entry.missing() for entry in registry.entries() if isinstance(entry, registry.PluginEntry)}
    away = "tiny_backend:AwayFromOthers"
    names = [entry.name for entry in registry.entries() if isinstance(entry, registry.PluginEntry)]
    assert names == ["away-from-others", "clarabel", "no-backend", "no-module"]
    assert registry.backend("away-from-others").name == "away-from-others"
    assert registry.backend("clarabel").__module__ == "solvers.backends.clarabel"
    taken = next(e for e in registry.entries() if e.where == away and e.name == "clarabel")
    assert taken.missing() == "clarabel: the package tiny-backend brings a backend of a name that is taken"
    assert "is no backend of this name" in str(found["tiny_backend:NO_BACKEND"])
    broken = str(found["tiny_backend.nowhere:Thing"])
    assert broken.startswith("no-module of the package tiny-backend cannot be loaded (ModuleNotFoundError: ")
    with pytest.raises(MissingExtra, match="no-module of the package tiny-backend"):
        registry.backend("no-module")
    with pytest.raises(BadInput, match="did you mean away-from-others"):
        registry.backend("away-from-other")


@pytest.mark.usefixtures("installed")
def test_the_comparison_grades_it_like_any_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.standard_normal((30, 4)), 0.2 * rng.standard_normal((10, 4))]).astype(np.float32)
    np.savez(tmp_path / "head.npz", W=rows)
    listed = reach("solvers", "--json")
    assert listed.code == 0, listed.err
    mine = [one for one in json.loads(listed.out) if one["name"] == "away-from-others"]
    assert mine[0]["version"] == "tiny-backend 1.0"
    asked = ("--head", tmp_path / "head.npz", "--domain", "free", "--backends", "away-from-others,centred-row")
    ended = reach(
        "compare-solvers", *asked, "--sample", "12", "--no-strength", "--json", "--quiet", "--out", tmp_path / "out"
    )
    assert ended.code == 0, ended.err
    grades = {one["backend"]: one for one in json.loads(ended.out)["problems"]["model"]["grades"]}
    # On Free both place their points along the row less the mean of all rows.
    assert grades["away-from-others"]["version"] == "tiny-backend 1.0"
    assert grades["away-from-others"]["verified"] == grades["centred-row"]["verified"] > 0
    assert grades["away-from-others"]["claims"] == 0
