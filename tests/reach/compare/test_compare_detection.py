"""Detection limits on planted heads: what is reported is what the checkers accepted, level by level."""

import liars
import pytest
import torch

from reach.compare import detection
from reach.compare.detection import LEVELS, Shape, measure_detection
from reach.compare.options import CompareSettings
from reach.compare.planted import planted_head
from reach.compare.rounds import records_of
from reach.scanning.settings import ScanSettings
from solvers import registry
from solvers.backend import Budget
from solvers.registry import Entry, entries


def test_closed_form_fades_where_the_interior_point_still_finds_everything(monkeypatch, tmp_path):
    monkeypatch.setattr(detection, "SHAPES", (Shape(64, 400, 2, False),))
    names = ("own-row", "batched-barrier")
    chosen = [entry for entry in entries() if entry.name in names]
    found = measure_detection(chosen, CompareSettings(backends=names, jobs=2), tmp_path, lambda *_: None)

    # The complete method is asked once, the incomplete one under every budget.
    assert [(r.backend, r.iterations) for r in found] == [
        ("own-row", 30),
        ("own-row", None),
        ("batched-barrier", None),
    ]
    own, barrier = found[1], found[2]
    for result in found:
        assert result.tried == result.plants == 2 * 2 * len(LEVELS)
        assert [cell.level for cell in result.speakable.recall] == sorted(LEVELS, reverse=True)
        assert all(cell.low <= cell.rate <= cell.high for cell in result.speakable.recall)
    # A row that stands out by a ten-thousandth of its norm no longer wins at itself (its rivals are 1/16 away).
    assert own.speakable.limit > 1e-4
    assert own.unspeakable.limit is None  # a direction proves nothing against a row
    assert barrier.speakable.limit <= 1e-6
    assert barrier.unspeakable.limit <= 1e-4


@pytest.mark.parametrize("offsets", [False, True])
def test_recall_falls_with_the_margin_and_nothing_false_is_verified(offsets: bool):
    head = planted_head(10, 260, (0.5, 1e-1, 1e-3, 1e-5, 1e-10), 4, seed=7, offsets=offsets)
    truth = ["speakable" if speakable else "unspeakable" for speakable in head.speakable]
    found = {}
    for name in ("own-row", "batched-barrier"):
        backend = registry.backend(name)()
        backend.prepare(head.problem)
        rows = torch.from_numpy(head.rows)
        verified = [
            one.verified for one in records_of(head.problem, rows, backend.solve(rows, Budget()), ScanSettings())
        ]
        assert all(said in (None, true) for said, true in zip(verified, truth, strict=True))
        found[name] = torch.tensor([said is not None for said in verified]).numpy()
    far = head.speakable & (head.levels >= 0.1)
    # A row that stands far out wins at its own direction; one that barely stands out of a facet does not.
    assert found["own-row"][far].all()
    assert not found["own-row"][head.levels <= 1e-5].any()
    # An interior point on two cores finds every margin down to 1e-5 of the row norm, and every depth.
    assert found["batched-barrier"][head.levels >= 1e-5].all()


def test_claims_are_counted_apart_from_proofs(monkeypatch, tmp_path):
    monkeypatch.setattr(detection, "SHAPES", (Shape(10, 260, 2, False),))
    boaster = Entry(liars.SaysSpeakable.name, "liars:SaysSpeakable")
    settings = CompareSettings(backends=(boaster.name,))
    for one in measure_detection([boaster], settings, tmp_path, lambda *_: None):
        assert one.misclaimed == one.plants // 2  # of which half are unspeakable
        assert one.unspeakable.limit is None
