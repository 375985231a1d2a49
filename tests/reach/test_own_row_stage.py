"""The stage of the own rows: when each product serves two rows, and that no verdict hangs on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reach.scanning import own_row
from reach.scanning.journal import Journal
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import OPEN, SPEAKABLE, STORED_WITNESS, UNSPEAKABLE
from solvers import precision
from solvers.checks.own_products import OwnProducts, Tile
from solvers.checks.own_rows import OwnRows
from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem

V, D, TILE = 150, 6, 16
STRIPS = 10


def head(domain: Domain, *, offsets: bool = True) -> ArgmaxProblem:
    """Rows that win at themselves, some that lose there, some inside the hull, two equal ones, a zero row."""
    generator = torch.Generator().manual_seed(8)
    rows = torch.randn((V, D), generator=generator)
    rows[10:20] *= 0.05
    rows[30] = rows[31:33].mean(dim=0)
    rows[40] = rows[41]
    rows[50] = 0.0
    bias = torch.randn(V, generator=generator) * 0.5
    bias[40] = bias[41]
    bias[60] = -40.0
    return ArgmaxProblem(rows, domain, bias=bias if offsets else None)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a head, its rows share their products."""
    monkeypatch.setattr(own_row, "_SHARED_WORK", 0.0)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[Tile]]:
    """The tiles of shared products that were computed, pass by pass."""
    seen: list[list[Tile]] = []
    make, multiply = OwnProducts.__init__, OwnProducts.multiply

    def small(self: OwnProducts, problem: ArgmaxProblem, scale: torch.Tensor) -> None:
        seen.append([])
        make(self, problem, scale, tile=TILE)

    def noting(self: OwnProducts, tiles: list[Tile], jobs: int = 1) -> None:
        seen[-1].extend(tiles)
        multiply(self, tiles, jobs)

    monkeypatch.setattr(OwnProducts, "__init__", small)
    monkeypatch.setattr(OwnProducts, "multiply", noting)
    return seen


def same(one: ScanResult, other: ScanResult) -> None:
    assert np.array_equal(one.state.verdict, other.state.verdict)
    assert np.array_equal(one.state.own_direction, other.state.own_direction)
    assert np.array_equal(one.state.stage, other.state.stage)
    assert np.array_equal(one.state.witness_kind, other.state.witness_kind)
    assert np.allclose(one.state.lower, other.state.lower, rtol=1e-3, atol=1e-4)
    assert np.allclose(one.state.upper, other.state.upper, rtol=1e-6)


@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("domain", [Ball(float(D)), Free(), Box([-1.0] * D, [2.0] * D)], ids=["ball", "free", "box"])
def test_shared_products_find_what_separate_ones_find(
    domain: Domain, offsets: bool, passes: list[list[Tile]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ScanSettings(block_tokens=40)
    plain = scan(head(domain, offsets=offsets), settings)
    assert passes == []  # a small head is not worth it
    monkeypatch.setattr(own_row, "_SHARED_WORK", 0.0)
    shared = scan(head(domain, offsets=offsets), settings)
    assert len(passes) == 1
    same(shared, plain)
    assert (shared.state.verdict == SPEAKABLE).sum() > 60
    assert (shared.state.verdict == UNSPEAKABLE).sum() > 3
    assert not (shared.state.verdict == OPEN).any()


@pytest.mark.usefixtures("always")
def test_all_rows_cost_little_more_than_half_of_the_product(
    passes: list[list[Tile]], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = head(Ball(float(D)))
    real, made = torch.mm, []

    def counting(left: torch.Tensor, right: torch.Tensor, *, out: torch.Tensor | None = None) -> torch.Tensor:
        if left.dtype == torch.float32:
            made.append(left.shape[0] * right.shape[1])
        return real(left, right, out=out)

    monkeypatch.setattr(torch, "mm", counting)
    monkeypatch.setattr(precision, "keeps_all_bits", lambda _: True)  # which makes products of its own
    monkeypatch.setattr("reach.scanning.scan.build_stages", lambda *_: [own_row.OwnRowStage(settings)])
    settings = ScanSettings(block_tokens=64)
    assert (scan(problem, settings).state.tried == 0).all()
    assert sorted(passes[0]) == [(row, column) for row in range(STRIPS) for column in range(row, STRIPS)]
    # Two equal rows are one. What is more than half are rows that win where others lose: they are checked there.
    assert sum(made) < 0.7 * (V - 1) ** 2


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("blocks", [1, 2])
def test_after_an_interruption_the_rest_shares_its_products(
    blocks: int, tmp_path: Path, passes: list[list[Tile]]
) -> None:
    problem, settings = head(Ball(float(D))), ScanSettings(block_tokens=40)
    whole = scan(problem, settings)
    passes.clear()

    class Stopped(Exception):
        pass

    journal = Journal(tmp_path)
    real = own_row.OwnRowStage.run

    def run(self: own_row.OwnRowStage, rows: np.ndarray, number: int, judge: object, progress: object) -> None:
        if rows[0] >= 40 * blocks:
            raise Stopped
        real(self, rows, number, judge, progress)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_row.OwnRowStage, "run", run)
        with pytest.raises(Stopped):
            scan(problem, settings, journal=journal)
    resumed = scan(problem, settings, journal=Journal(tmp_path), resume=True)
    # Nothing of rows that are finished, but in tiles with some that are not.
    assert [min(max(tile) for tile in tiles) for tiles in passes] == [0, 40 * blocks // TILE]
    same(resumed, whole)
    assert np.array_equal(resumed.state.lower, whole.state.lower)
    assert np.array_equal(resumed.state.runner_up, whole.state.runner_up)


@pytest.mark.usefixtures("always")
def test_a_few_tokens_are_checked_by_themselves(passes: list[list[Tile]]) -> None:
    problem = head(Ball(float(D)))
    tokens = np.array([0, 3, 4, 149])
    few, whole = scan(problem, ScanSettings(), tokens=tokens), scan(problem, ScanSettings())
    assert len(passes) == 1
    rows = few.merged.row_of[tokens]
    assert np.array_equal(few.state.verdict[rows], whole.state.verdict[rows])
    assert np.allclose(few.state.lower[rows], whole.state.lower[rows], atol=1e-4)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("asked", [range(70, V), range(0, V, 2)])
def test_from_half_of_the_tokens_on_products_are_shared(asked: range, passes: list[list[Tile]]) -> None:
    problem, settings = head(Ball(float(D))), ScanSettings(block_tokens=40)
    whole = scan(problem, settings)
    some = scan(problem, settings, tokens=np.array(asked))
    assert len(passes) == 2
    rows = some.merged.row_of[np.array(asked)]
    assert np.array_equal(some.state.verdict[rows], whole.state.verdict[rows])
    # What a row's own product proves; elsewhere it may win at the point of one that is not asked for.
    rows = rows[(some.state.stage[rows] == 0) & (some.state.witness_kind[rows] == whole.state.witness_kind[rows])]
    rows = rows[some.state.witness_kind[rows] != STORED_WITNESS]
    assert np.array_equal(some.state.lower[rows], whole.state.lower[rows])
    assert len(rows) > 15
    assert min(max(tile) for tile in passes[1]) == asked[0] // TILE
    assert len(passes[1]) == len(set(passes[1]))


@pytest.mark.usefixtures("always")
def test_rows_too_large_for_shared_products_are_checked_one_by_one(passes: list[list[Tile]]) -> None:
    problem = head(Free(), offsets=False)
    large = ArgmaxProblem(problem.weight * 2.0**62, Free())
    assert not OwnRows.possible(large)
    found = scan(large, ScanSettings())
    assert passes == []
    same_verdicts = scan(problem, ScanSettings()).state.verdict
    assert np.array_equal(found.state.verdict, same_verdicts)


def test_several_cores_change_nothing(passes: list[list[Tile]]) -> None:
    problem = head(Ball(float(D)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_row, "_SHARED_WORK", 0.0)
        one, two = scan(problem, ScanSettings(jobs=1)), scan(problem, ScanSettings(jobs=3))
    assert len(passes) == 2
    same(one, two)
    assert np.array_equal(one.state.lower, two.state.lower)
    assert np.array_equal(one.state.runner_up, two.state.runner_up)
