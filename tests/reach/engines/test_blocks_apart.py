"""Blocks that depend on nothing but what they are given: any order, done twice, after any interruption."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_heads import KINDS, head, scanned, settings_of, table_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from reach.engines.base import Engine, InProcess, Shared
from reach.engines.shared import packed, read_shared, unpacked, write_shared
from reach.scanning import own_row, stages
from reach.scanning.blocks import Delta
from reach.scanning.journal import Journal
from reach.scanning.plan import build_stages
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE
from solvers.checks.own_products import OwnProducts
from solvers.domains import Ball
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem


class _Copied(Shared[Any]):
    """What a worker of another process would have: a copy, made once."""

    def __init__(self, value: Any) -> None:
        self._value = unpacked(*packed(value))

    def get(self) -> Any:
        return self._value


class Shuffled(Engine):
    """Tasks in a random order, some of them twice, each with arguments and results that have been pickled."""

    name = "shuffled"
    slots = 4

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        for _ in range(self._random.choice((1, 1, 2))):
            result = fn(self._copy, *pickle.loads(pickle.dumps(args[1:])), **kwargs)
        future.set_result(pickle.loads(pickle.dumps(result)))
        return future

    def share(self, value: Any) -> Shared[Any]:
        self._copy = _Copied(value)
        return self._copy

    def as_done(self, tasks: Iterable[Any], start: Callable[[Any], Future[Any]]) -> Iterator[tuple[Any, Any]]:
        waiting = list(tasks)
        self._random.shuffle(waiting)
        for task in waiting:
            yield task, start(task).result()


@settings(max_examples=6, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10**6))
def test_the_order_of_blocks_and_where_they_are_done_changes_no_byte(kind: str, seed: int) -> None:
    assert scanned(kind, seed, engine=Shuffled(seed)) == scanned(kind, seed)


@pytest.fixture
def products_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a head, its rows share their products, in tiles of 16."""
    monkeypatch.setattr(own_row, "_SHARED_WORK", 0.0)
    monkeypatch.setattr(own_row, "OwnProducts", partial(OwnProducts, tile=16))


@pytest.mark.usefixtures("products_shared")
@pytest.mark.parametrize("kind", KINDS)
def test_products_that_rows_share_are_computed_elsewhere_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scanned(kind, 4)
    monkeypatch.setattr(OwnProducts, "multiply", None)  # which is for this process
    assert scanned(kind, 4, engine=Shuffled(4)) == whole


@pytest.mark.usefixtures("products_shared")
@pytest.mark.parametrize("engine", [None, Shuffled(1)])
def test_shared_products_show_how_far_they_are(engine: Engine | None) -> None:
    """Counts only rise; those of 21 products and 6 blocks elsewhere, and of no more rows than there are."""
    seen: list[tuple[str, int, int]] = []
    problem = head("cone", 1)
    scan(problem, settings_of("cone"), engine=engine, progress=lambda *told: seen.append(told))
    first = [done for name, done, _ in seen if name == "own-row"]
    assert first == sorted(first)
    assert (first[0], first[-1]) == (0, problem.v - 1)  # two rows are equal
    assert len(set(first)) > (12 if engine else 5)


@pytest.mark.parametrize(("kind", "shared"), [*((kind, False) for kind in KINDS), ("cone", True), ("ball", True)])
def test_a_scan_stopped_anywhere_goes_on_to_the_same_bytes(
    kind: str, shared: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Cut off after any number of blocks, also in shuffled order; at last without an interruption."""
    if shared:
        request.getfixturevalue("products_shared")
    whole, problem = scanned(kind, 3), head(kind, 3)
    rng = random.Random(3)

    class Stopped(Exception):
        pass

    class Stopping(Journal):
        left = 0

        def append(self, delta: Delta) -> None:
            super().append(delta)
            self.left -= 1
            if self.left < 0:
                raise Stopped

    for attempt in range(200):
        journal = Stopping(tmp_path)
        journal.left = rng.randrange(1, 9)
        engine = Shuffled(attempt) if attempt % 2 else None
        try:
            result = scan(problem, settings_of(kind), journal=journal, resume=True, engine=engine)
        except Stopped:
            continue
        assert attempt >= 2
        assert table_bytes(problem, result) == whole
        return
    pytest.fail("it never came to an end")


def test_a_damaged_block_in_the_middle_is_done_again_to_the_same_bytes(tmp_path: Path) -> None:
    whole, problem = scanned("ball", 5), head("ball", 5)
    scan(problem, settings_of("ball"), journal=Journal(tmp_path))
    blocks = sorted(tmp_path.glob("*.safetensors"))
    for block in blocks[1::3]:
        block.write_bytes(block.read_bytes()[:-3])
    result = scan(problem, settings_of("ball"), journal=Journal(tmp_path), resume=True)
    assert len(list(tmp_path.glob("*.damaged"))) == len(blocks[1::3]) > 3
    assert table_bytes(problem, result) == whole


def test_every_row_is_taken_in_once_by_a_stage(tmp_path: Path) -> None:
    """Nothing is lost or doubled, in whichever order blocks are written."""
    problem = head("ball", 1)
    scan(problem, settings_of("ball"), journal=Journal(tmp_path), engine=Shuffled(1))
    deltas = Journal(tmp_path).read(problem.v - 1)
    for number in {delta.record.stage for delta in deltas}:
        rows = np.concatenate([delta.part.rows for delta in deltas if delta.record.stage == number])
        assert len(rows) == len(np.unique(rows))


@pytest.mark.parametrize(
    ("shape", "tokens", "rows"),
    [
        ((2**16, 128), 4096, 128), ((2**16, 128), 1024, 32), ((2**16, 128), 16, 16),  # a 32nd; 2⁵ rows make 2²⁸
        ((2**14, 64), 4096, 256), ((2**14, 64), 16384, 512), ((2**14, 64), 128, 128),  # it takes 2⁸ rows to make 2²⁸
        ((100, 8), 4096, 4096),
    ],
)  # fmt: skip
def test_the_search_in_a_narrow_head_has_small_blocks_whatever_the_cores(
    shape: tuple[int, int], tokens: int, rows: int
) -> None:
    """A 32nd, so that several workers have something to do, but of 2²⁸ multiplications at least."""
    problem = ArgmaxProblem(torch.randn(shape, generator=torch.Generator().manual_seed(0)), Ball(4.0))
    wide = ArgmaxProblem(torch.eye(300), Ball(4.0))
    for jobs in (1, 16):
        settings = ScanSettings(block_tokens=tokens, jobs=jobs)
        (stage,) = [stage for stage in build_stages(problem, settings) if stage.name == "active-set"]
        assert int(tokens * stage.block_share) == rows
        assert [one.block_share for one in build_stages(wide, settings) if one.name == "active-set"] == [1.0]


def test_an_offer_counts_where_its_row_is_still_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that lose at their own point, and win at one that was meant for another."""
    problem = head("cone", 2)
    stage = stages.BackendStage("centred-row", settings_of("cone"))
    monkeypatch.setattr("reach.scanning.scan.build_stages", lambda *_: [stage])
    alone = scan(problem, settings_of("cone"))
    monkeypatch.setattr("reach.scanning.judge.Judge._credit", lambda *_: None)
    without = scan(problem, settings_of("cone"))
    credited = (alone.state.verdict == SPEAKABLE) & (without.state.verdict != SPEAKABLE)
    assert credited.any()
    others = (alone.state.verdict == SPEAKABLE) & ~credited
    assert np.array_equal(alone.state.lower[others], without.state.lower[others])  # a row's own block counts first


def test_what_is_shared_comes_back_as_it_was(tmp_path: Path) -> None:
    problem = head("box", 4)
    problem.working_rows()
    write_shared(tmp_path / "file", {"problem": problem, "none": None})
    again = read_shared(tmp_path / "file")["problem"]
    assert again.fingerprint == problem.fingerprint
    assert again.working_rows().numpy().tobytes() == problem.working_rows().numpy().tobytes()
    with pytest.MonkeyPatch.context() as patch:
        pickled = packed(problem)
        patch.setattr(
            "reach.engines.shared._versions", lambda: dict.fromkeys(("token-reachability", "torch", "numpy"), "0.0")
        )
        with pytest.raises(BadInput, match="install the same version on all machines"):
            unpacked(*pickled)


def test_no_room_for_what_is_shared(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        write_shared(tmp_path / "no folder" / "file", head("cone", 0))


def test_in_process_is_an_executor() -> None:
    with InProcess() as engine:
        assert list(engine.map(str, [1, 2])) == ["1", "2"]
        assert isinstance(engine.submit(int, "x").exception(), ValueError)
