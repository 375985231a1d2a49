"""Files that others may have written: each is measured before it is read, and a bad one is one line.

A file must be a regular one and no larger than its kind ever is. A table's rows, columns and kinds are known from its
footer before a value is read, and its values are counted as they come, since a short file can stand for a long table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from reach.bounded import MOST_FILE, MOST_JSON, check_file, is_there, read_json
from reach.runs.parquet_footer import read_footer
from solvers.errors import BadInput

T = TypeVar("T")

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A share in a record: at least 0, at most 1."""
MOST_ROWS = 2**24
"""Rows of a table; no vocabulary comes near."""
_MOST_TABLE = 2**31
_ROWS_PER_BYTE, _ROWS_OF_ANY = 64, 2**16
_MOST_COLUMNS = 1024
_MOST_HEADER = 2**23
_BATCH = 2**14
_CODECS = frozenset({0, 1})
"""None and Snappy, which cannot make a short page long; pyarrow and pandas write Snappy unless told otherwise."""


# --- records --------------------------------------------------------------------------------------------------------


def read_record(
    file: Path, schema: int, *, make: str | None = None, again: str, most: int = MOST_JSON
) -> dict[str, Any]:
    """Read a record of a known schema in plain types.

    Args:
        file: the JSON file.
        schema: the schema that this version reads.
        make: the command that makes such a file.
        again: what to do where it cannot be used, such as "measure again".
        most: bytes beyond which it is refused.

    Raises:
        BadInput: there is none, or it is damaged or of another schema.
    """
    if make is not None and not is_there(file):
        raise BadInput(f"{file}: missing; make it with '{make}'")
    record = read_json(file, again=again, most=most)
    found = record.get("schema") if isinstance(record, dict) else None
    if type(found) is not int or found != schema:
        shown = found if isinstance(found, int | float | str | None) else type(found).__name__
        raise BadInput(f"{file}: schema {shown!r:.40}, but this version reads {schema}; {again} with it")
    result: dict[str, Any] = record
    return result


def read_typed(
    file: Path, kind: type[T], schema: int, *, make: str | None = None, again: str, most: int = MOST_JSON
) -> T:
    """Read a record of a known schema into its class, a `msgspec.Struct`; fields that it does not know are left out.

    Raises:
        BadInput: see `read_record`; or a field is missing or of another kind, and which.
    """
    return as_typed(read_record(file, schema, make=make, again=again, most=most), kind, file, again=again)


def as_typed(content: Any, kind: type[T], file: Path | str, *, again: str) -> T:
    """Plain types into a class of records; `file` is the name to complain under.

    Raises:
        BadInput: a field is missing or of another kind, and which.
    """
    try:
        return msgspec.convert(content, kind)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        raise BadInput(f"{file}: an entry is missing or of another kind ({error}); {again}") from None


# --- tables ---------------------------------------------------------------------------------------------------------


def read_table(
    file: Path,
    *,
    again: str,
    schema: pa.Schema | None = None,
    later: tuple[str, ...] = (),
    most_rows: int = MOST_ROWS,
) -> pa.Table:
    """Read a table; with a schema, its columns in their order and of their kinds, and no others.

    Args:
        file: the Parquet file.
        again: what to do where it cannot be used.
        schema: the columns that it must have; none takes them as they are: numbers, texts, and lists of these.
        later: columns that are null throughout where a table lacks them.
        most_rows: rows beyond which it is refused before it is read.

    Raises:
        BadInput: there is none, it is damaged, a column is missing or of another kind, or it is longer or wider than
            such a table can be.
    """
    size = check_file(file, again=again)
    with _reading(file, "Parquet", again), pa.memory_map(str(file)) as source:
        _check_footer(file, min(most_rows, _ROWS_OF_ANY + _ROWS_PER_BYTE * size), again)
        content = pq.ParquetFile(
            source, thrift_string_size_limit=_MOST_HEADER, thrift_container_size_limit=2**20, pre_buffer=False
        )
        fields = _fields(file, content, schema, later, again)
        texts = [field.name for field in fields if _is_text(field.type)]
        content = pq.ParquetFile(
            source, read_dictionary=texts, thrift_string_size_limit=_MOST_HEADER, thrift_container_size_limit=2**20,
            pre_buffer=False,
        )  # fmt: skip
        table = _rows(file, content, fields, again)
    if schema is None:
        return table
    for name in later:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, schema.field(name).type))
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(f"{file}: a column is of another kind ({_line(error)}); {again}") from None


def check_table(file: Path, *, again: str, most_rows: int = MOST_ROWS) -> int:
    """Look a table over by its footer alone, and say how many rows it claims. What its pages hold is not read.

    Raises:
        BadInput: there is none, its footer is damaged, or it is longer or wider than such a table can be.
    """
    size = check_file(file, again=again)
    with _reading(file, "Parquet", again):
        return _check_footer(file, min(most_rows, _ROWS_OF_ANY + _ROWS_PER_BYTE * size), again)


def _check_footer(file: Path, most: int, again: str) -> int:
    """Refuse by the footer alone what would take too long to read; the rows that it claims."""
    found = read_footer(file, _MOST_HEADER)
    if found.rows > most or found.values > MOST_ROWS * 4:
        raise BadInput(
            f"{file}: claims {max(found.rows, found.values)} rows, and there can be at most {most}; {again}"
        )
    if found.columns > _MOST_COLUMNS:
        raise BadInput(f"{file}: has {found.columns} columns, at most {_MOST_COLUMNS} are read; {again}")
    if not found.codecs <= _CODECS:
        raise BadInput(
            f"{file}: its pages are compressed in a way that is not read; write it with Snappy, or {again}"
        )
    return found.rows


def _fields(
    file: Path, content: pq.ParquetFile, schema: pa.Schema | None, later: tuple[str, ...], again: str
) -> list[pa.Field]:
    """The columns that are to be read, as the file has them."""
    there = content.schema_arrow
    names = there.names if schema is None else [field.name for field in schema if field.name in there.names]
    for name in names if schema is None else schema.names:
        if name not in names and name not in later:
            raise BadInput(f"{file}: column {name} is missing; {again}")
        if there.names.count(name) > 1:
            raise BadInput(f"{file}: column {name} is there more than once; {again}")
    fields = [there.field(name) for name in names]
    for field in fields:
        family = _family(field.type)
        wanted = family if schema is None else _family(schema.field(field.name).type)
        if family is None or (family != wanted and not pa.types.is_null(field.type)):
            raise BadInput(f"{file}: a column is of another kind ({field.name} is {field.type}); {again}")
    return fields


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _family(kind: pa.DataType) -> str | None:
    """Kinds between which a cast keeps the meaning; none for what no table here holds."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _family(kind.value_type)
        return None if inner is None or inner.startswith("list") else f"list of {inner}"
    tests: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
        ("text", _is_text), ("truth", pa.types.is_boolean), ("number", pa.types.is_integer),
        ("number", pa.types.is_floating), ("nothing", pa.types.is_null),
    )  # fmt: skip
    return next((name for name, test in tests if test(kind)), None)


def _rows(file: Path, content: pq.ParquetFile, fields: list[pa.Field], again: str) -> pa.Table:
    """All rows, a batch at a time: texts stay in dictionaries until it is known how long they are in full."""
    names, parts, taken = [field.name for field in fields], [], 0
    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in fields])
    for batch in content.iter_batches(batch_size=_BATCH, columns=names):
        table = pa.Table.from_batches([batch])
        taken += sum(_size(column) for column in table.columns)
        if taken > _MOST_TABLE:
            raise BadInput(f"{file}: holds more than {_MOST_TABLE} bytes; {again}")
        table.validate(full=True)
        parts.append(table.select(names).cast(plain))
    whole = pa.concat_tables(parts) if parts else plain.empty_table()
    if whole.num_rows != content.metadata.num_rows:
        raise pa.ArrowInvalid(f"{whole.num_rows} rows instead of {content.metadata.num_rows}")
    return whole


def _plain(kind: pa.DataType) -> pa.DataType:
    """The kind without a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _size(column: pa.ChunkedArray) -> int:
    """Bytes that a column takes once its texts stand in full."""
    if not (pa.types.is_dictionary(column.type) and _is_text(column.type.value_type)):
        return int(column.nbytes)
    lengths = (pc.sum(pc.binary_length(part.dictionary).take(part.indices)).as_py() for part in column.chunks)
    return 4 * len(column) + sum(length or 0 for length in lengths)


# --- tensors --------------------------------------------------------------------------------------------------------


@contextmanager
def tensors_of(file: Path, *, again: str, most: int = MOST_FILE) -> Iterator[Any]:
    """A safetensors file, opened for numpy (`keys`, `get_tensor`, `metadata`).

    What goes wrong within the block is a damaged file as well: a tensor that is missing or of a kind that numpy does
    not have.

    Raises:
        BadInput: see `check_file`; or it is damaged.
    """
    size = check_file(file, again=again, most=most)
    with _reading(file, None, again):
        with file.open("rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
        if header > min(size, _MOST_HEADER):
            raise BadInput(f"{file}: not readable (its header claims {header} bytes); {again}")
        with safe_open(file, "np") as content:
            yield content


def read_tensors(file: Path, *, again: str, most: int = MOST_FILE) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file.

    Raises:
        BadInput: see `tensors_of`.
    """
    with tensors_of(file, again=again, most=most) as content:
        return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118


@contextmanager
def _reading(file: Path, form: str | None, again: str) -> Iterator[None]:
    """Whatever a library finds wrong within this block is a damaged file."""
    try:
        yield
    except BadInput:
        raise
    except FileNotFoundError:
        raise BadInput(f"{file}: missing; {again}") from None
    except (
        pa.ArrowException, SafetensorError, OSError, KeyError, TypeError, ValueError, OverflowError, AttributeError,
        MemoryError,
    ) as error:  # fmt: skip
        how = "" if form is None else f" as {form}"
        raise BadInput(f"{file}: not readable{how} ({_line(error)}); {again}") from None


def _line(error: BaseException) -> str:
    """The first words of an error on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
