"""Records of studies: kept whole by the class that writes and reads them; from others, a page or one line."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import real_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reach.compare.record import Comparison, Row, read_rows, write_rows
from reach.interference.record import TABLE_FILE, Interference, read_columns
from reach.studies import STUDIES, StudyRecord
from reports.interference_page import write_interference_page
from reports.site import page_files
from reports.solvers_page import write_solvers_page
from solvers.errors import BadInput

MADE: tuple[tuple[Callable[[], Path], type[StudyRecord]], ...] = (
    (real_runs.compared, Comparison),
    (real_runs.compared_shortly, Comparison),
    (real_runs.measured, Interference),
    (real_runs.measured_shortly, Interference),
    (real_runs.measured_widely, Interference),
)
MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HOSTILE = (
    None, True, -1, 0, 1, 10**19, 0.5, 1e308, -1e308, "", "A", "9" * 5000, "</script>\ud800\u202e", [], [None], [[]],
    {}, {"": None}, {"a": 1}, [1, 2.0, "3"],
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every entry of a record; of a list, the first and the last."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        if isinstance(value, dict) or key in (0, len(value) - 1):
            yield (*path, key)
            yield from places(item, (*path, key))


def mutated(data: st.DataObject, record: Any, where: list[tuple[Any, ...]]) -> Any:
    """A copy in which one entry is missing, doubled, under another name, or something else."""
    record = copy.deepcopy(record)
    *above, last = data.draw(st.sampled_from(where))
    holder = record
    for key in above:
        holder = holder[key]
    way = data.draw(st.sampled_from(("replace", "replace", "remove", "rename", "double")))
    if way == "remove":
        del holder[last]
    elif way == "rename" and isinstance(holder, dict):
        holder[f"{last}s"] = holder.pop(last)
    elif way == "double" and isinstance(holder, list):
        holder.append(holder[last])
    else:
        holder[last] = copy.deepcopy(data.draw(st.sampled_from(HOSTILE)))
    return record


@pytest.mark.parametrize(("made", "kind"), MADE, ids=lambda one: one.__name__)
def test_the_class_knows_every_entry_that_the_command_has_written(made: Callable[[], Path], kind: type[StudyRecord]):
    run = made()
    written = json.loads((run / kind.FILE).read_text(encoding="utf-8"))
    assert json.loads(json.dumps(kind.read(run).plain())) == written


@pytest.mark.parametrize(
    ("made", "kind", "write"),
    [
        (real_runs.compared, Comparison, write_solvers_page),
        (real_runs.measured, Interference, write_interference_page),
    ],
)
def test_a_mutated_record_is_shown_or_complained_of(
    made: Callable[[], Path], kind: type[StudyRecord], write: Callable[[Path], Path], tmp_path: Path
):
    real = json.loads((made() / kind.FILE).read_text(encoding="utf-8"))
    run, where = tmp_path / "run", list(places(real))
    run.mkdir()

    @MANY
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        (run / kind.FILE).write_text(json.dumps(mutated(data, real, where)), encoding="utf-8")
        try:
            text = write(run).read_text(encoding="utf-8")
        except BadInput as error:
            assert "\n" not in str(error) and str(run) in str(error)
        else:
            assert "</html>" in text

    one()


@MANY
@given(data=st.data())
def test_a_mutated_table_is_read_or_complained_of(tmp_path: Path, data: st.DataObject):
    file = tmp_path / "part.parquet"
    write_rows(file, [Row(backend="b", token_id=at, status="limit", seconds=0.5) for at in range(4)])
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(content[: data.draw(st.sampled_from((len(content), len(content) - 1, 40, 0)))]))
    try:
        assert len(read_rows(file)) == 4
    except BadInput as error:
        assert "\n" not in str(error) and "delete it and run the comparison again" in str(error)


def test_other_columns_are_complained_of(tmp_path: Path):
    write_rows(tmp_path / TABLE_FILE, [Row(status="limit", seconds=0.5)])
    with pytest.raises(BadInput, match="column rows is missing; measure again"):
        read_columns(tmp_path)


def test_every_study_is_registered_with_all_that_belongs_to_it():
    pages = page_files()
    for name, study in STUDIES.items():
        assert study.name == name
        assert isinstance(study.options(), study.options) and study.options.__doc__
        assert pages[study.record.FILE] == study.record.PAGE
        assert study.writer().__module__ == study.page.partition(":")[0]


def test_naming_the_studies_imports_none_of_them():
    code = (
        "import sys, reach.studies as s;"
        "print(*s.STUDIES, *(m for m in ('torch', 'reach.compare') if m in sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == list(STUDIES)
