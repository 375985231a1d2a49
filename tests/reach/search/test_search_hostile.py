"""Records of a search that others may have written: a page or one line of complaint, never another error."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny_search import few_steps, live_of, tiny_llama

from reach.loading import Loading
from reach.search.ledger import Ledger, Witness
from reach.search.prompts import RoundTrip
from reach.search.record import Asked, SearchRecord, SearchResult, SearchTable
from reach.search.run import SearchOrder, search_to_folder
from reach.search.stored import STATE, read_state, write_state
from reach.search.summary import contradiction_line, summary_lines, summary_record
from reach.vocabulary import load_vocabulary
from reports.render import render_page
from reports.search_page import search_page
from solvers.errors import BadInput

MANY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
HOSTILE = (
    None, True, -1, 0, 1, 10**15, 10**19, 0.5, -0.5, 1e300, "", "free", "text", "head", "x" * 3000, "</b>\x1b[31m",
    "\ud800", {"\ud800": "\ud800"}, ["\ud800"], [], [None], [[]], {}, {"": None}, {"free": 1}, [[1, 2.0, 3]],
    ["free", "free"],
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real search with every part measured, and the state of one that was broken off."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    live = live_of(tiny_llama())
    order = SearchOrder("tiny", Loading("tiny"), warnings=("a warning",))
    asked = few_steps(budget=3.0, lengths=(1, 2), strength=0.7)
    with pytest.MonkeyPatch.context() as less:
        less.setattr("reach.search.phases.SAMPLED", 64)
        less.setattr("reach.search.strength.PLANTS", 64)
        search_to_folder(live, RoundTrip(None), load_vocabulary(None, live.v), None, folder, asked, order)
    state = Ledger(live.v, np.ones(live.v, dtype=bool))
    state.add(3, Witness("free", 2, 1.0, points=np.ones((2, 16), dtype=np.float32)))
    state.add(4, Witness("tokens", 1, 1.0, ids=np.array([5], dtype=np.int32)))
    weights = ((np.array([2, -1], dtype=np.int32), np.array([0.5, 0.5], dtype=np.float32)),)
    state.add(5, Witness("hull", 1, 1.0, weights=weights))
    state.mark("free", 1, "sgd")
    write_state(folder, state, Asked("tiny", "0" * 64, asked, None), ["single, tokens, length 1"])
    assert use(folder) is not None
    assert take_up(folder) is not None
    return folder


def use(run: Path) -> Any:
    """All that is done with a finished search; none where it complains."""

    def shown() -> Any:
        found = SearchResult.read(run)
        summary_lines(found.record)
        contradiction_line(found.record)
        json.dumps(summary_record(found.record), allow_nan=False)
        return render_page("search.html", scripts=(), plots=False, page=search_page(found)).encode("utf-8")

    return or_complain(shown)


def take_up(run: Path) -> Any:
    """A search goes on with the state that it finds; none where it complains."""
    rows = torch.zeros((40, 16))
    return or_complain(lambda: read_state(run, Ledger(40, np.ones(40, dtype=bool)), rows))


def or_complain(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except BadInput as error:
        assert "\n" not in str(error)
        return None


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every entry of a record; of a list, the first two and the last."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        if isinstance(value, list) and 2 <= key < len(value) - 1:
            continue
        yield (*path, key)
        yield from places(item, (*path, key))


def mutated(data: st.DataObject, record: Any) -> Any:
    """A copy in which an entry or two are missing, doubled, or something else."""
    record = copy.deepcopy(record)
    for _ in range(data.draw(st.integers(1, 2))):
        *above, last = data.draw(st.sampled_from(list(places(record))))
        holder = record
        for key in above:
            holder = holder[key]
        way = data.draw(st.sampled_from(("replace", "replace", "remove", "double")))
        if way == "remove":
            del holder[last]
        elif way == "double" and isinstance(holder, list):
            holder.append(holder[last])
        else:
            holder[last] = copy.deepcopy(data.draw(st.sampled_from(HOSTILE)))
    return record


def beside(run: Path, tmp_path: Path, *changed: str) -> Path:
    """The run with links in place of its files, but for those that are to be changed."""
    other = tmp_path / "other"
    shutil.rmtree(other, ignore_errors=True)
    for file in run.rglob("*"):
        if file.is_file() and str(file.relative_to(run)) not in changed:
            place = other / file.relative_to(run)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)
    return other


@MANY
@given(data=st.data())
def test_a_mutated_record_is_shown_or_complained_of(run: Path, tmp_path: Path, data: st.DataObject) -> None:
    record = mutated(data, json.loads((run / "search.json").read_text("utf-8")))
    other = beside(run, tmp_path, "search.json")
    (other / "search.json").write_text(json.dumps(record), "utf-8")
    use(other)


@MANY
@given(data=st.data())
def test_a_mutated_state_is_taken_up_or_complained_of(run: Path, tmp_path: Path, data: st.DataObject) -> None:
    name = f"{STATE}/state.json"
    state = mutated(data, json.loads((run / name).read_text("utf-8")))
    other = beside(run, tmp_path, name)
    (other / name).write_text(json.dumps(state), "utf-8")
    take_up(other)


TABLES = (
    "search.parquet", "search_witnesses/prompts.parquet", "search_witnesses/nearest.parquet",
    f"{STATE}/prompts.parquet", f"{STATE}/hull.parquet",
)  # fmt: skip


@settings(MANY, max_examples=60)
@given(name=st.sampled_from(TABLES), data=st.data())
def test_a_mutated_table_is_shown_or_complained_of(run: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    table = pq.read_table(run / name)
    at = data.draw(st.integers(0, table.num_columns - 1))
    field, n = table.schema.field(at), table.num_rows
    nan = [float("nan")] * n
    columns = [
        pa.nulls(n, field.type), pa.array([-1] * n), pa.array([2**40] * n), pa.array(["free"] * n), pa.array(nan),
        pa.array([[]] * n, pa.list_(pa.int32())), pa.array([[-5, 10**6]] * n, pa.list_(pa.int32())),
        pa.array([nan[:1]] * n, pa.list_(pa.float32())), pa.array([["a"]] * n),
    ]  # fmt: skip
    changed = data.draw(
        st.one_of(
            st.sampled_from(columns).map(lambda column: table.set_column(at, field.name, column)),
            st.just(table.remove_column(at)),
            st.just(table.append_column(field.name, table.column(at))),
            st.integers(0, n).map(lambda rows: table.slice(0, rows)),
            st.just(pa.concat_tables([table, table])),
        )
    )
    other = beside(run, tmp_path, name)
    pq.write_table(changed, other / name)
    use(other)
    take_up(other)


@settings(MANY, max_examples=60)
@given(data=st.data())
def test_damaged_files_are_shown_or_complained_of(run: Path, tmp_path: Path, data: st.DataObject) -> None:
    names = (*TABLES, "search.json", *(f"{STATE}/{one}" for one in ("points.safetensors", "tallies.safetensors")))
    name = data.draw(st.sampled_from(names))
    content = bytearray((run / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    other = beside(run, tmp_path, name)
    (other / name).write_bytes(content[:end])
    use(other)
    take_up(other)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("free.2.token_id", np.array([40], dtype=np.int32)),
        ("free.2.token_id", np.array([-1], dtype=np.int32)),
        ("free.2.points", np.ones((1, 2, 15), dtype=np.float32)),
        ("free.2.points", np.ones((1, 2), dtype=np.float32)),
        ("free.2.points", np.ones((1, 2, 16))),
        ("free.2.margin", np.ones(2)),
        ("loose.2.token_id", np.array([3], dtype=np.int32)),
        ("free.9999999999.token_id", np.array([3], dtype=np.int32)),
        ("free", np.ones(1)),
    ],
)
def test_points_that_fit_no_model_are_not_taken_up(run: Path, tmp_path: Path, name: str, array: np.ndarray) -> None:
    file = f"{STATE}/points.safetensors"
    other = beside(run, tmp_path, file)
    save_file(load_file(run / file) | {name: array}, other / file)
    assert take_up(other) is None


def test_a_table_of_another_search_is_refused(run: Path, tmp_path: Path) -> None:
    record = SearchRecord.read(run)
    table = pq.read_table(run / "search.parquet")
    pq.write_table(table.slice(0, 5), tmp_path / "search.parquet")
    with pytest.raises(BadInput, match="has 5 rows for 40 tokens"):
        SearchTable.read(tmp_path, record)


def test_a_table_that_stands_for_too_much_is_no_list_of_records(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reach.search.record._MOST_BYTES", 100)
    with pytest.raises(BadInput, match=r"prompts\.parquet: holds \d+ bytes, more than any search"):
        SearchResult.read(run)


def test_what_is_read_is_written_again_alike(run: Path, tmp_path: Path) -> None:
    found = SearchResult.read(run)
    found.record.write(tmp_path)
    found.table.write(tmp_path)
    assert (tmp_path / "search.json").read_bytes() == (run / "search.json").read_bytes()
    assert pq.read_table(tmp_path / "search.parquet").equals(pq.read_table(run / "search.parquet"))


def test_a_record_names_its_schema_and_refuses_another(run: Path, tmp_path: Path) -> None:
    record = msgspec.structs.replace(SearchRecord.read(run), schema=2)
    record.write(tmp_path)
    with pytest.raises(BadInput, match="schema 2, but this version reads 1"):
        SearchRecord.read(tmp_path)
