from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_builders import HOSTILE, manifest, record, token_row, undecided_row, unspeakable_row, write_run

from reach.runs.folder import RunFolder
from reach.runs.manifest import Manifest
from reach.runs.schema import VERDICTS
from reports.listing import listings
from reports.method import method_view
from reports.pack import NO_STRING, narrow, pack_strings
from solvers.errors import BadInput


def read(folder: Path):
    return RunFolder.open(folder).verdicts()


def test_hull_weights_are_sorted_heaviest_first(tmp_path: Path):
    rows = [token_row(), token_row(), unspeakable_row(), unspeakable_row()]
    hull = read(write_run(tmp_path, rows, [(3, 0, 0.2), (2, 1, 1.0), (3, 1, 0.8)])).hull
    assert hull.token.tolist() == [2, 3, 3]
    assert hull.row.tolist() == [1, 1, 0]
    assert hull.weight.tolist() == [1.0, 0.8, 0.2]


def test_bytes_that_are_no_utf8_are_refused_in_one_line(tmp_path: Path):
    run = write_run(tmp_path, [token_row()])
    file = run / "verdicts.parquet"
    raw = pa.array([b"\xff"], pa.binary())
    column = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.schema.get_field_index("token"), "token", column), file)
    with pytest.raises(BadInput, match="not readable as Parquet"):
        read(run)


def test_strings_travel_as_code_units():
    lengths, units = pack_strings(["a😀", None, "", "\ud83d"])
    assert lengths.tolist() == [3, NO_STRING, 0, 1]
    assert units.tolist() == [0x61, 0xD83D, 0xDE00, 0xD83D]


def test_floats_are_halved_only_where_nothing_is_lost():
    assert narrow(np.array([0.5, np.nan])).dtype == np.float32
    assert narrow(np.array([0.1])).dtype == np.float64


def test_lists_put_the_deepest_first_and_are_cut(tmp_path: Path):
    # Given 200 unspeakable tokens, each deeper than the one before
    rows = [unspeakable_row(token=f"t{at}", margin_upper=-float(at + 1)) for at in range(200)]
    # When they are listed
    (group,) = listings(read(write_run(tmp_path, rows)))
    # Then the deepest is first, and the list says how many are left out
    assert (group.tokens[0].id, group.tokens[0].text) == (199, "t199")
    assert len(group.tokens) + group.more == 200
    assert group.more > 0


def test_undecided_tokens_that_could_lead_the_most_come_first(tmp_path: Path):
    # Given three undecided tokens, of which one has no bound at all
    rows = [undecided_row(margin_upper=upper) for upper in (1e-9, None, 0.5)]
    # When they are listed
    (group,) = listings(read(write_run(tmp_path, rows)))
    # Then what is not bounded is first, and nobody is promised a proof
    assert [token.id for token in group.tokens] == [1, 2, 0]
    assert "proof" not in group.words


def test_a_token_without_an_entry_is_listed_as_such(tmp_path: Path):
    (group,) = listings(read(write_run(tmp_path, [unspeakable_row(token=None, text=None)])))
    assert not group.tokens[0].known


def test_hostile_tokens_are_read_as_they_are(tmp_path: Path):
    assert read(write_run(tmp_path, [token_row(token=one) for one in HOSTILE])).pieces == list(HOSTILE)


def test_the_manifest_of_a_real_scan_leaves_nothing_unsaid():
    method = method_view(record(), "a run")
    groups = (method.head, method.tensors, method.run, method.settings, method.versions)
    assert all(groups)
    assert not [name for facts in groups for name, value in facts if "not recorded" in value]
    assert dict(method.head)["Vocabulary × width"] == "70 × 8"
    assert method.command.startswith("reach scan ")


def test_a_manifest_without_anything_says_not_recorded():
    method = method_view(Manifest(schema=1), "a run")
    assert {value for _, value in method.head} <= {"not recorded", "not recorded × not recorded"}
    assert {value for name, value in method.run if not name.startswith("Schema")} == {"not recorded"}
    assert (method.command, method.verify) == ("not recorded", "reach verify 'a run'")


def test_the_command_can_be_pasted():
    assert method_view(record(command=["reach", "scan", "a b"]), "r").command == "reach scan 'a b'"


def test_no_gpu_is_not_the_same_as_not_recorded():
    hardware = manifest()["hardware"] | {"gpu": None}
    assert dict(method_view(record(hardware=hardware), "r").run)["GPU"] == "none"


@pytest.mark.parametrize(
    ("changed", "hull", "values", "message"),
    [
        (None, (), {}, "no rows"),
        ({}, (), {"v": 2}, "the manifest says 2"),
        ({"verdict": "maybe"}, (), {}, "unknown verdict 'maybe'"),
        ({"evidence": "hearsay"}, (), {}, "unknown evidence 'hearsay'"),
        ({}, [(0, 7, 1.0)], {}, "row_id is not one of the 1 tokens"),
        ({}, [(0, 0, float("nan"))], {}, "weight is not a finite number"),
        ({"token_id": 5}, (), {}, "token_id does not count"),
    ],
)
def test_damaged_tables_are_refused_in_one_line(tmp_path: Path, changed, hull, values, message):
    write_run(tmp_path, [] if changed is None else [unspeakable_row(**changed)], hull, **values)
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_columns_of_other_types_are_read_where_nothing_is_lost(tmp_path: Path):
    table = pa.Table.from_pylist([{"token_id": 0} | token_row()], schema=VERDICTS)
    at = table.schema.get_field_index("verdict")
    table = table.set_column(at, "verdict", table.column("verdict").dictionary_encode())
    assert read(write_run(tmp_path, table)).verdict.tolist() == [0]
