"""Whatever a command line says, it is understood or answered in one line, in bounded memory."""

from __future__ import annotations

import importlib
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reach_command import Outcome, reach, save_head

from reach.cli.app import COMMANDS
from reach.options import Field, options_of, settings_from
from solvers.errors import BadInput

WORK = (
    "reach.scan_command.scan_to_folder", "reach.search.run.run_search", "reach.compare.run.compare_to_folder",
    "reach.interference.run.interference_to_folder", "reach.verify_command.verify_folder",
    "reports.write.write_reports", "reports.diff_lines.diff_record", "reach.export.tokens_table",
    "reach.compare.run.describe_backends", "reach.heads.self_check.self_check",
)  # fmt: skip
"""What a command does once it has understood its options."""
for _name in WORK:  # all before any is replaced: a module that is first imported then would keep what it finds
    importlib.import_module(_name.rpartition(".")[0])

HUGE = "9" * 5000
TEXTS = (
    "", " ", ",", ",,", "-", "--", "-1", "0", "1", "0.5", "1e-400", "1e400", "nan", "inf", "-inf", "1e40", HUGE,
    f"-{HUGE}", f"1-{HUGE}", "99999999999", "3.7", "true", "none", "cpu", "cpu:x", "cpu:0", "cpu:",
    "cuda:99999999999", "tpu", "norm", "free", "ball", "ball:", "ball:1e40", "ball:1e-40", "ball:1e400",
    "ball:sqrt(1e308)", "ball:nan", "box:0,1", "box:-1e40,1e40", "box:1", "box:1,2,3", f"ball:{HUGE}", "~",
    "~nouser", "~nouser/x", "x" * 256, "é" * 128, "x/" * 2100, "\udcff", "a\x00b", "a\nb", "\x1b[2J", "@",
    "@~nouser", "@/dev/zero", "@/no/such", '"', "'", '"a', "a,b", "own-row", "unspeakable", "merge", "layernorm",
    "main", "/", ".", "..", "/dev/null", "/proc/self/mem", "1,2,4", "free,norm", "٣", "adam", "float16", "²",
    "org/name",
)  # fmt: skip


class Done(Exception):
    """The work would begin here."""


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A small head in the working directory; commands end where their work begins."""
    save_head(tmp_path / "head.npz", np.random.default_rng(3).standard_normal((24, 4)), gamma=np.ones(4))
    monkeypatch.chdir(tmp_path)

    def done(*_: object, **__: object) -> None:
        raise Done

    def unreachable(model: str, _: str | None) -> None:
        raise BadInput(f"{model}: the Hub is not asked here")

    for name in WORK:
        monkeypatch.setattr(name, done)
    monkeypatch.setattr("reach.heads.hub.HubFiles", unreachable)
    monkeypatch.setattr("reach.heads.hub.CachedFiles", unreachable)
    yield tmp_path


def answered(*arguments: object) -> Outcome | None:
    """What a command answers; None where it would go to work."""
    try:
        outcome = reach(*arguments)
    except Done:
        return None
    assert outcome.code in (0, 2), outcome
    if outcome.code == 2:
        assert len(outcome.complaint) < 2000, outcome.complaint
    return outcome


def classes_of(function: Any) -> list[type]:
    return [kind for name, kind in function.__globals__.items() if name in function.__annotations__.values()]


def fields_of(function: Any) -> list[Field]:
    return [field for kind in classes_of(function) for field in options_of(kind)]


FIELDS = {function.__name__.replace("_", "-"): fields_of(function) for function in COMMANDS}


def test_the_fields_of_every_command_are_known() -> None:
    assert {"margin_gap", "domain", "as_json", "fail_on"} <= {field.name for field in FIELDS["scan"]}
    assert all(len(fields) >= 3 for fields in FIELDS.values())


texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=12), st.integers().map(str), st.floats().map(repr))


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted(FIELDS)))
    arguments = [name, *draw(st.sampled_from([["head.npz"], ["--head", "head.npz"], [], ["nothing"]]))]
    drawn = [field for field in FIELDS[name] if field.name != "verbose"]
    for field in draw(st.lists(st.sampled_from(drawn), max_size=4, unique_by=lambda field: field.name)):
        if field.option.flags:
            arguments.append(field.shown)
        if field.kind is not bool:
            arguments.append(draw(texts))
    return arguments


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(command_lines())
def test_any_command_line(idle: Path, arguments: list[str]) -> None:
    answered(*arguments)


@pytest.mark.parametrize("name", [name for name in FIELDS if name in ("scan", "search", "compare-solvers")])
def test_every_option_with_every_text(name: str) -> None:
    """The settings alone, which is where options are read: all texts for all options."""
    (function,) = (one for one in COMMANDS if one.__name__.replace("_", "-") == name)
    for kind in classes_of(function):
        for field in options_of(kind):
            for text in TEXTS:
                values: list[Any] = [[text]] if field.several and field.kind is Path else [text]
                if not field.several and field.kind in (bool, int, float):
                    values = [True] if field.kind is bool else _numbers(field.kind, text)
                for value in values:
                    try:
                        settings_from(kind, {field.name: value})
                    except BadInput as error:
                        assert 0 < len(str(error)) < 500
                    except TypeError as error:
                        assert "required" in str(error)  # of another option


def _numbers(kind: type, text: str) -> list[Any]:
    try:
        return [kind(text)]
    except (ValueError, OverflowError):
        return []


@pytest.mark.parametrize(
    "arguments",
    [
        ("scan", "--head", "head.npz", "--tokens", HUGE),
        ("scan", "--head", "head.npz", "--tokens", f"0-{HUGE}"),
        ("scan", "--head", "head.npz", "--jobs", "99999999999"),
        ("scan", "--head", "head.npz", "--device", "cpu:x"),
        ("scan", "--head", "head.npz", "--domain", f"ball:{HUGE}"),
        ("scan", "--head", "head.npz", "--out", "x" * 256),
        ("scan", "--head", "x" * 256),
        ("scan", "x" * 5000),
        ("scan", "~nouser"),
        ("scan", "--head", "head.npz", "--out", "~nouser/run"),
        ("search", "--seed", "-1"),
        ("search", "--budget", "nan"),
        ("search", "--budget", "inf"),
        ("compare-solvers", "--head", "head.npz", "--seconds", "inf"),
        ("interference", "--head", "head.npz", "--beside", "~nouser"),
        ("report", "~nouser"),
        ("report", "x" * 256),
        ("report", "--index", "x" * 256),
        ("verify", "x" * 256),
        ("diff", "x" * 256, "y"),
        ("export", "x" * 256, "--csv"),
    ],
)
def test_what_no_command_can_use(idle: Path, arguments: tuple[str, ...]) -> None:
    outcome = answered(*arguments)
    assert outcome is not None
    assert outcome.code == 2


def test_pipes_and_endless_files_are_not_waited_for(idle: Path) -> None:
    os.mkfifo(idle / "pipe")
    (idle / "model").mkdir()
    os.mkfifo(idle / "model" / "config.json")
    for arguments in (("--head", "pipe"), ("pipe",), ("model",), ("--head", "head.npz", "--tokens", "@pipe")):
        assert answered("scan", *arguments) is not None


def test_a_huge_choice_of_tokens_takes_little_memory(idle: Path) -> None:
    tracemalloc.start()
    for text in ("9" * 10**6, ",".join(["0-23"] * 20000), "x" * 10**6):
        answered("scan", "--head", "head.npz", "--tokens", text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27
