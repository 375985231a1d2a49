"""Files that others may have written: one line of complaint, never another error, and no more memory than they are
worth."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from reach.bounded import MOST_JSON, read_json
from reach.runs.parquet_footer import read_footer
from reach.runs.reading import read_record, read_table, read_tensors, read_typed
from reach.runs.schema import VERDICTS
from solvers.errors import BadInput

AGAIN = "make it again"
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def complaint(read: Callable[[], Any]) -> str:
    """The one line that a reader ends in."""
    with pytest.raises(BadInput) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def read_or_complain(read: Callable[[], Any]) -> Any:
    """What a reader gives, or None where it complains; any other error is a failure, and so is 100 MB."""
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    try:
        return read()
    except BadInput as error:
        assert "\n" not in str(error)
        return None
    finally:
        assert tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before < 1e8
        tracemalloc.stop()


def table_of(v: int = 20) -> pa.Table:
    columns = {
        field.name: [f"a{i}" for i in range(v)] if field.type == pa.string() else np.arange(v) for field in VERDICTS
    }
    return pa.table(columns | {"own_direction": [True] * v}).cast(VERDICTS)


# --- kinds of files -------------------------------------------------------------------------------------------------


def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for read in (read_json, read_table, read_tensors):
        assert "is no regular file" in complaint(lambda read=read: read(pipe, again=AGAIN))
        assert "is no regular file" in complaint(lambda read=read: read(Path("/dev/zero"), again=AGAIN))
        assert "is a folder" in complaint(lambda read=read: read(tmp_path, again=AGAIN))


@pytest.mark.parametrize("name", ["x" * 300, "nul\0", "missing"])
def test_names_that_lead_to_no_file(tmp_path: Path, name: str) -> None:
    for read in (read_json, read_table, read_tensors):
        complaint(lambda read=read: read(tmp_path / name, again=AGAIN))


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    with file.open("wb") as stream:
        stream.truncate(MOST_JSON + 1)
    assert "too large" in complaint(lambda: read_json(file, again=AGAIN))


# --- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["[" * 10**5, '{"a":' * 10**5, '{"n": 1' + "0" * 400 + "}", '{"n": 1e999}', '{"n": NaN}', "", "\xff", "{", "nul"],
)
def test_json_that_no_record_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(text.encode("latin-1"))
    assert f"{file}: not readable as JSON" in complaint(lambda: read_json(file, again=AGAIN))


@pytest.mark.parametrize("content", [[], 1, None, {}, {"schema": "1"}, {"schema": True}, {"schema": [[1]]}])
def test_a_record_of_no_known_schema(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps(content))
    assert "but this version reads 1" in complaint(lambda: read_record(file, 1, again=AGAIN))


class Inner(msgspec.Struct, frozen=True):
    name: str
    seconds: float | None = None


class Outer(msgspec.Struct, frozen=True):
    schema: int
    rows: list[Inner]
    sizes: dict[str, int] = {}


def test_a_typed_record_names_the_field_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text('{"schema": 1, "rows": [{"name": "x", "seconds": 2}, {"name": 7}], "more": 1}')
    assert "Expected `str`, got `int` - at `$.rows[1].name`" in complaint(
        lambda: read_typed(file, Outer, 1, again=AGAIN)
    )
    file.write_text('{"schema": 1, "rows": [{"name": "x", "seconds": 2}], "more": 1}')
    assert read_typed(file, Outer, 1, again=AGAIN) == Outer(1, [Inner("x", 2.0)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@QUICK
@given(rows=JSON, sizes=JSON, schema=st.just(1) | JSON, cut=st.integers(0, 400), byte=st.integers(0, 255))
def test_mutated_records(tmp_path: Path, rows: Any, sizes: Any, schema: Any, cut: int, byte: int) -> None:
    content = json.dumps({"schema": schema, "rows": rows, "sizes": sizes}).encode()
    file = tmp_path / "record.json"
    for changed in (content, content[:cut], content[:cut] + bytes([byte]) + content[cut + 1 :]):
        file.write_bytes(changed)
        found = read_or_complain(lambda: read_typed(file, Outer, 1, again=AGAIN))
        assert found is None or isinstance(found, Outer)


# --- tables ---------------------------------------------------------------------------------------------------------


def test_a_short_file_that_stands_for_a_long_table(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"verdict": pa.array(np.zeros(10**7, dtype=np.int8))}), file)
    assert file.stat().st_size < 10**5
    assert "claims 10000000 rows" in complaint(lambda: read_table(file, again=AGAIN))
    pq.write_table(table_of(), file)
    assert "claims 20 rows, and there can be at most 19" in complaint(
        lambda: read_table(file, again=AGAIN, most_rows=19)
    )


def test_one_long_text_in_every_row(tmp_path: Path) -> None:
    file = tmp_path / "bomb.parquet"
    texts = pa.DictionaryArray.from_arrays(np.zeros(20_000, dtype=np.int32), ["x" * 10**6])
    pq.write_table(pa.table({"text": texts}), file)
    assert file.stat().st_size < 10**5
    assert read_or_complain(lambda: read_table(file, again=AGAIN)) is None


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_a_codec_that_can_make_a_short_page_long(tmp_path: Path, codec: str) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(table_of(), file, compression=codec)
    assert "write it with Snappy" in complaint(lambda: read_table(file, again=AGAIN))


def test_columns_of_other_kinds(tmp_path: Path) -> None:
    file, table = tmp_path / "table.parquet", table_of()
    v = len(table)
    for column in (
        [[1]] * v, [b"\xff"] * v, [{"a": 1}] * v, list(range(v)), pa.array([b"\xff"] * v).view(pa.string()),
    ):  # fmt: skip
        pq.write_table(table.set_column(3, "verdict", [column] if isinstance(column, list) else column), file)
        complaint(lambda: read_table(file, again=AGAIN, schema=VERDICTS))
    pq.write_table(table.append_column("verdict", table["verdict"]), file)
    assert "more than once" in complaint(lambda: read_table(file, again=AGAIN, schema=VERDICTS))


def test_kinds_that_mean_the_same(tmp_path: Path) -> None:
    file, table = tmp_path / "table.parquet", table_of()
    large = pa.schema([(f.name, pa.large_string() if f.type == pa.string() else f.type) for f in VERDICTS])
    pq.write_table(table.cast(large), file)
    assert read_table(file, again=AGAIN, schema=VERDICTS) == table
    pq.write_table(table.set_column(3, "verdict", table["verdict"].dictionary_encode()), file)
    assert read_table(file, again=AGAIN, schema=VERDICTS) == table


def test_lists_are_read_where_no_schema_forbids_them(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    table = pa.table({"ids": pa.array([[1, 2], [], None], pa.list_(pa.int32())), "text": ["a", None, "b"]})
    pq.write_table(table, file)
    assert read_table(file, again=AGAIN) == table


@QUICK
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 6), keep=st.floats(0, 1))
def test_mutated_tables(tmp_path: Path, seed: int, changes: int, keep: float) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(table_of(), file)
    content, draw = bytearray(file.read_bytes()), random.Random(seed)
    # In the footer as often as in all the rest: at some damaged ones the library ends the whole process.
    first = draw.choice([0, len(content) - 8 - int.from_bytes(content[-8:-4], "little")])
    for _ in range(changes):
        content[draw.randrange(first, len(content))] = draw.randrange(256)
    for changed in (bytes(content), bytes(content)[: int(keep * len(content))]):
        file.write_bytes(changed)
        found = read_or_complain(lambda: read_table(file, again=AGAIN, schema=VERDICTS))
        assert found is None or found.schema == VERDICTS


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
def test_a_footer_read_by_itself_says_what_the_library_reads_in_it(tmp_path: Path, codec: str) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(table_of(50).append_column("ids", [[[1, 2]] * 50]), file, row_group_size=20, compression=codec)
    about, found = pq.read_metadata(file), read_footer(file, 2**20)
    assert (found.rows, found.columns, found.values) == (about.num_rows, about.num_columns, 100)
    assert found.codecs == {{"none": 0, "snappy": 1, "zstd": 6}[codec]}
    content = file.read_bytes()
    for end in range(0, len(content), 37):
        file.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"footer|does not end"):
            read_footer(file, 2**20)
    file.write_bytes(content[:-8] + (2**31).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match="claims"):
        read_footer(file, 2**20)


# --- tensors --------------------------------------------------------------------------------------------------------


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "points.safetensors"
    file.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    assert "its header claims" in complaint(lambda: read_tensors(file, again=AGAIN))


def test_numbers_that_numpy_does_not_have(tmp_path: Path) -> None:
    file = tmp_path / "points.safetensors"
    header = b'{"point.float32":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert "not readable" in complaint(lambda: read_tensors(file, again=AGAIN))


@QUICK
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 6), keep=st.floats(0, 1))
def test_mutated_tensors(tmp_path: Path, seed: int, changes: int, keep: float) -> None:
    file = tmp_path / "points.safetensors"
    save_file({"token_id.float32": np.arange(3), "point.float32": np.ones((3, 4), dtype=np.float32)}, file)
    content, draw = bytearray(file.read_bytes()), random.Random(seed)
    for _ in range(changes):
        content[draw.randrange(len(content))] = draw.randrange(256)
    for changed in (bytes(content), bytes(content)[: int(keep * len(content))]):
        file.write_bytes(changed)
        found = read_or_complain(lambda: read_tensors(file, again=AGAIN))
        assert found is None or isinstance(found, dict)
