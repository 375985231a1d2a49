"""Detection limits on planted heads: what is reported is what the checkers accepted, level by level."""

from reach.compare import detection
from reach.compare.detection import LEVELS, Shape, measure_detection
from reach.compare.settings import CompareSettings
from solvers.registry import entries


def test_closed_form_fades_where_the_interior_point_still_finds_everything(monkeypatch, tmp_path):
    monkeypatch.setattr(detection, "SHAPES", (Shape(64, 400, 2, False),))
    names = ("own-row", "batched-barrier")
    chosen = [entry for entry in entries() if entry.name in names]
    found = measure_detection(chosen, CompareSettings(backends=names, jobs=2), tmp_path, lambda *_: None)

    # The complete method is asked once, the incomplete one under every budget.
    assert [(r["backend"], r["iterations"]) for r in found] == [
        ("own-row", 30),
        ("own-row", None),
        ("batched-barrier", None),
    ]
    own, barrier = found[1], found[2]
    for result in found:
        assert result["tried"] == result["plants"] == 2 * 2 * len(LEVELS)
        assert [cell["level"] for cell in result["speakable"]["recall"]] == sorted(LEVELS, reverse=True)
        assert all(cell["low"] <= cell["rate"] <= cell["high"] for cell in result["speakable"]["recall"])
    # A row that stands out by a ten-thousandth of its norm no longer wins at itself (its rivals are 1/16 away).
    assert own["speakable"]["limit"] > 1e-4
    assert own["unspeakable"]["limit"] is None  # a direction proves nothing against a row
    assert barrier["speakable"]["limit"] <= 1e-6
    assert barrier["unspeakable"]["limit"] <= 1e-4
