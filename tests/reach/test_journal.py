"""Blocks of the journal: what is written comes back, and one that was changed in any place does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from reach.scanning.blocks import BlockRecord, Delta
from reach.scanning.journal import Journal
from reach.scanning.part import Part
from reach.scanning.state import EVIDENCE, SPEAKABLE, STORED_WITNESS, UNSPEAKABLE, Hull, ScanState
from solvers.checks.evidence import Evidence

ARRAYS = (
    "row", "verdict", "evidence", "own_direction", "lower", "upper", "stage", "tried", "runner_up", "witness_kind",
    "witness32", "witness32.row", "witness64", "witness64.row", "hull.token", "hull.row", "hull.weight",
    "candidate.token", "candidate.row", "candidate.weight",
)  # fmt: skip


def some_state() -> ScanState:
    """Rows of every kind: won at stored points of both precisions, unspeakable, open with weights and a reason."""
    state = ScanState(6)
    for row, bits in ((0, np.float32), (1, np.float64)):
        state.settle(row, SPEAKABLE, Evidence.RIGOROUS, 0)
        state.lower[row], state.upper[row], state.runner_up[row] = 0.5, 2.0, 3
        state.witness_kind[row] = STORED_WITNESS
        state.witnesses[row] = np.array([1.0, -2.0, 0.25], dtype=bits)
    state.own_direction[1] = True
    state.settle(2, UNSPEAKABLE, Evidence.EXACT, 1)
    state.hulls[2] = Hull(np.array([0, 1]), np.array([0.25, 0.75]))
    state.candidates[3] = Hull(np.array([1, 4]), np.array([0.5, 0.5]))
    state.reasons[3] = "limit hit"
    state.tried[:4] = 1
    return state


def write(folder: Path, **options: str) -> tuple[ScanState, list[BlockRecord]]:
    """Two blocks: rows 0 to 3, then rows 4 and 5."""
    state = some_state()
    records = [BlockRecord(1, 4, 3, 0.5), BlockRecord(1, 2, 0, 0.25)]
    journal = Journal(folder, **options)
    journal.append(Delta(Part.of(state, range(4)), records[0]))
    state.tried[4:] = 1
    journal.append(Delta(Part.of(state, (4, 5)), records[1]))
    return state, records


def replay(folder: Path, **options: str) -> tuple[ScanState, list[BlockRecord], list[str]]:
    state, notes = ScanState(6), list[str]()
    return state, entered(Journal(folder, **options, note=notes.append), state), notes


def entered(journal: Journal, state: ScanState) -> list[BlockRecord]:
    """Restore a state from the blocks of a journal."""
    found = journal.read(state.v)
    for delta in found:
        delta.part.enter(state)
    return [delta.record for delta in found]


def same(one: ScanState, two: ScanState, rows: slice) -> None:
    for name in ("verdict", "evidence", "own_direction", "lower", "upper", "stage", "tried", "runner_up"):
        assert np.array_equal(getattr(one, name)[rows], getattr(two, name)[rows]), name


def rewrite(file: Path, change: object) -> None:
    with safe_open(file, "np") as content:
        arrays, about = {name: content.get_tensor(name) for name in content.keys()}, dict(content.metadata())  # noqa: SIM118
    change(arrays, about)  # type: ignore[operator]
    save_file(arrays, file, metadata=about)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    written, records = write(tmp_path)
    state, found, notes = replay(tmp_path)
    assert found == records
    assert notes == []
    same(state, written, slice(None))
    assert {row: point.tolist() for row, point in state.witnesses.items()} == {0: [1, -2, 0.25], 1: [1, -2, 0.25]}
    assert [point.dtype for _, point in sorted(state.witnesses.items())] == [np.float32, np.float64]
    assert state.hulls[2].weights.tolist() == [0.25, 0.75]
    assert state.candidates[3].rows.tolist() == [1, 4]
    assert state.reasons == {3: "limit hit"}
    assert EVIDENCE[state.evidence[2]] is Evidence.EXACT


@pytest.mark.parametrize("name", ARRAYS)
def test_one_entry_of_one_array_changed(tmp_path: Path, name: str) -> None:
    """The block is named and set aside; its rows are as if nothing were known, those of the other as they were."""
    written, records = write(tmp_path)

    def change(arrays: dict[str, np.ndarray], _: object) -> None:
        entry = arrays[name].reshape(-1)
        entry[0] = entry[0] + 1 if entry.dtype != np.uint8 else 1 - entry[0]

    block = tmp_path / "000000.safetensors"
    rewrite(block, change)
    state, found, notes = replay(tmp_path)
    assert found == records[1:]
    assert len(notes) == 1
    assert notes[0].startswith(f"{block}: a damaged block of the journal (its content does not have the checksum")
    same(state, ScanState(6), slice(0, 4))
    same(state, written, slice(4, 6))
    assert not (state.witnesses or state.hulls or state.candidates or state.reasons)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["000000.damaged", "000001.safetensors"]
    assert replay(tmp_path)[2] == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _, m: m.update(reasons=json.dumps({"3": "solved"})), id="a reason"),
        pytest.param(lambda _, m: m.update(record=json.dumps(BlockRecord(0, 4, 3, 0.5).__dict__)), id="the stage"),
        pytest.param(lambda _, m: m.pop("record"), id="no record"),
        pytest.param(lambda _, m: m.pop("sha256"), id="no checksum"),
        pytest.param(lambda _, m: m.update(sha256="0" * 64), id="another checksum"),
        pytest.param(lambda a, _: a.pop("hull.weight"), id="an array less"),
        pytest.param(lambda a, _: a.update(more=np.zeros(1)), id="an array more"),
        pytest.param(lambda a, _: a.update(lower=a["lower"].astype(np.float32)), id="another type"),
        pytest.param(lambda a, _: a.update(row=a["row"][:, None]), id="another shape"),
    ],
)
def test_anything_else_changed(tmp_path: Path, change: object) -> None:
    _, records = write(tmp_path)
    rewrite(tmp_path / "000000.safetensors", change)
    _, found, notes = replay(tmp_path)
    assert found == records[1:]
    assert len(notes) == 1


def test_a_bit_flipped_anywhere(tmp_path: Path) -> None:
    """Header, metadata or numbers: no single bit of the file can be lost without a word."""
    write(tmp_path)
    block = tmp_path / "000000.safetensors"
    content = block.read_bytes()
    for at in np.random.default_rng(0).choice(len(content), 60, replace=False).tolist():
        block.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        state, found, notes = replay(tmp_path)
        # Only blanks that fill up the header carry nothing.
        if found[:1] == [BlockRecord(1, 4, 3, 0.5)]:
            same(state, some_state(), slice(0, 4))
        else:
            assert len(notes) == 1
            (tmp_path / "000000.damaged").unlink()


def test_a_block_of_another_problem_or_in_another_place(tmp_path: Path) -> None:
    write(tmp_path / "a", of="one")
    assert len(replay(tmp_path / "a", of="two")[2]) == 2
    write(tmp_path / "b", of="one")
    (tmp_path / "b" / "000001.safetensors").rename(tmp_path / "b" / "000004.safetensors")
    _, found, notes = replay(tmp_path / "b", of="one")
    assert (len(found), len(notes)) == (1, 1)


def test_new_blocks_never_take_the_place_of_old_ones(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "000001.safetensors").write_bytes(b"")
    (tmp_path / "notes.safetensors").write_bytes(b"mine")
    state = ScanState(6)
    journal = Journal(tmp_path)
    assert len(entered(journal, state)) == 1
    journal.append(Delta(Part.of(state, (4, 5)), BlockRecord(1, 2, 0, 0.25)))
    names = ["000000.safetensors", "000001.damaged", "000002.safetensors", "notes.safetensors"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names


FORGED = {
    "an array missing": lambda arrays, _: arrays.pop("tried"),
    "of another length": lambda arrays, _: arrays.update(lower=arrays["lower"][:-1]),
    "no vector": lambda arrays, _: arrays.update(lower=np.zeros((4, 2))),
    "a verdict that there is not": lambda arrays, _: arrays.update(verdict=np.full(4, 77, np.int8)),
    "a witness of no kind": lambda arrays, _: arrays.update(witness_kind=np.full(4, 99, np.int8)),
    "weights without rows": lambda arrays, _: arrays.pop("hull.row"),
    "points without rows": lambda arrays, _: arrays.pop("witness32.row"),
    "reasons nested without end": lambda _, about: about.update(reasons="[" * 10**5),
    "reasons that are none": lambda _, about: about.update(reasons='{"3": 7}'),
    "a record without seconds": lambda _, about: about.update(record='{"stage": 1, "rows": 4, "settled": 3}'),
    "no record": lambda _, about: about.pop("record"),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED.keys())
def test_a_block_forged_with_a_checksum_of_its_own(tmp_path: Path, change: object) -> None:
    """It is set aside with a note like one that is damaged, never an error of Python's."""
    write(tmp_path)
    file = tmp_path / "000000.safetensors"

    def forged(arrays: dict, about: dict) -> None:
        about.pop("sha256")
        change(arrays, about)  # type: ignore[operator]
        about["sha256"] = Journal(tmp_path)._checksum(file, arrays, about)

    rewrite(file, forged)
    state, records, notes = replay(tmp_path)
    assert len(notes) == len(records) == 1
    assert "its tokens are done again" in notes[0]
    assert (state.verdict == 0).all()
