"""Finding the runs of a study: which there are, which cannot be used and why, and where each stands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from reach.bounded import is_there
from reach.natural_order import in_order
from reach.runs.domain_words import domain_words
from reach.runs.folder import RunFolder
from reach.runs.manifest import FILE, Manifest
from reach.trace.naming import Place, factors_of, place_of, split_step
from reach.trace.plan import Planned, planned_for
from solvers.errors import BadInput

DEEPEST = 5
"""Levels of folders that are searched for runs below one that was named."""
MOST_RUNS = 10_000
_HALF = ("verdicts.parquet", "blocks")
"""What a scan leaves in a folder beside the manifest."""


@dataclass(frozen=True)
class Found:
    """A finished run and its place in the study."""

    run: RunFolder
    series: str
    step: int
    factors: dict[str, str]


@dataclass(frozen=True)
class LeftOut:
    """A run that is not part of the study, and why."""

    run: str
    why: str


@dataclass(frozen=True)
class Gathered:
    """The runs of a study, sorted by series and step, and those that were left out."""

    runs: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def domain(self) -> str:
        """Of all runs."""
        return _domain(self.runs[0].run.record)

    @property
    def margins(self) -> float | None:
        """To which gap all runs were asked to bound their margins from both sides, or none."""
        gap = self.runs[0].run.record.settings.get("margin_gap")
        return float(gap) if isinstance(gap, int | float) else None


def gather(named: tuple[Path, ...], plan: tuple[Planned, ...] = ()) -> Gathered:
    """Find all runs in the folders named, some levels deep, and tell their series and steps.

    Args:
        named: run folders, or folders of them.
        plan: lines that say of runs where they stand, instead of their names.

    Raises:
        BadInput: there is no finished run whose place can be told; two runs stand at the same place; or runs are of
            different domains, tokens or settings.
    """
    left: list[LeftOut] = []
    paths = _paths(named, left)
    runs = [run for path in paths if (run := _opened(path, left)) is not None]
    left += [
        LeftOut(str(one.run), "in the plan, but not among the runs")
        for one in plan
        if not any(planned_for(path, (one,)) for path in paths)
    ]
    if not runs:
        raise BadInput(_nothing(named, left))
    _refuse_mixed(runs)
    found = sorted(_placed(runs, plan, left), key=lambda one: (in_order(one.series), one.step))
    if not found:
        raise BadInput(_nothing(named, left))
    for one, other in pairwise(found):
        if (one.series, one.step) == (other.series, other.step):
            raise BadInput(
                f"{one.run.path} and {other.run.path} are both step {one.step} of series {one.series}; leave one "
                "out, or tell them apart with --plan"
            )
    return Gathered(tuple(found), tuple(left))


# --- where runs are -------------------------------------------------------------------------------------------------


def _paths(named: tuple[Path, ...], left: list[LeftOut]) -> list[Path]:
    """Folders that hold runs, or what is left of them, each once."""
    found: dict[Path, None] = {}
    for folder in named:
        if not folder.is_dir():
            left.append(LeftOut(str(folder), "missing"))
            continue
        below = list(_runs_in(folder, DEEPEST))
        if not below:
            left.append(LeftOut(str(folder), "holds no run"))
        found.update(dict.fromkeys(path.resolve() for path in below))
        if len(found) > MOST_RUNS:
            raise BadInput(f"{folder}: holds more than {MOST_RUNS} runs; name a part of them")
    return sorted(found, key=lambda path: [in_order(part) for part in path.parts])


def _runs_in(folder: Path, depth: int) -> Iterator[Path]:
    if is_there(folder / FILE) or any(is_there(folder / name) for name in _HALF):
        yield folder
        return
    if depth == 0:
        return
    try:
        below = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError:
        return
    for name in below:
        yield from _runs_in(folder / name, depth - 1)


def _opened(path: Path, left: list[LeftOut]) -> RunFolder | None:
    """A finished run whose tables can be read; any other is left out, and it is said why."""
    try:
        if not is_there(path / FILE):
            raise BadInput(f"{path}: half-written (it has no manifest.json)")
        run = RunFolder.open(path, finished=False)
        if not run.finished:
            raise BadInput(f"{path}: the scan has not finished")
        run.verdicts()
        _ = run.record
    except BadInput as error:
        left.append(LeftOut(str(path), str(error).removeprefix(f"{path}: ").removeprefix(f"{path}/")))
        return None
    return run


def _nothing(named: tuple[Path, ...], left: list[LeftOut]) -> str:
    places = ", ".join(str(one) for one in named[:3]) + (" …" if len(named) > 3 else "")
    first = f"; the first: {left[0].run}: {left[0].why}" if left else ""
    some = f"{len(left)} could not be used" if len(left) != 1 else "1 could not be used"
    return f"{places}: no finished run to trace ({some}{first}); make runs with 'reach scan MODEL --out RUN'"


# --- what may stand beside each other -------------------------------------------------------------------------------


def _refuse_mixed(runs: list[RunFolder]) -> None:
    """Refuse runs that answer different questions: their verdicts or margins mean different things."""
    for what, told in (("domain", _domain), ("choice of tokens", _asked), ("--margins", _margins)):
        of: dict[Any, Path] = {}
        for run in runs:
            of.setdefault(told(run.record), run.path)
        if len(of) > 1:
            (one, first), (other, second) = list(of.items())[:2]
            raise BadInput(
                f"runs with another {what} cannot be traced together: {first} has {one}, {second} {other}; name runs "
                "of one kind, or scan again with the same settings"
            )


def _domain(record: Manifest) -> str:
    return domain_words(record.record()) or "none recorded"


def _asked(record: Manifest) -> str:
    return "all" if record.asked is None or record.asked.tokens is None else str(record.asked.tokens)


def _margins(record: Manifest) -> str:
    gap = record.settings.get("margin_gap")
    return "none" if gap is None else f"{gap:g}" if isinstance(gap, float) else str(gap)


# --- where they stand -----------------------------------------------------------------------------------------------


def _placed(runs: list[RunFolder], plan: tuple[Planned, ...], left: list[LeftOut]) -> list[Found]:
    """Series and step of every run where they can be told; series of one name are told apart by their folders."""
    places: list[tuple[RunFolder, Place, PurePath]] = []
    for run in runs:
        head = run.record.head
        revision = head.revision if head is not None and isinstance(head.revision, str) else None
        loading = run.record.loading
        revision = (None if loading is None else loading.revision) or revision
        place = place_of(run.path, run.record.model, revision)
        own = split_step(run.path.name)
        # Where the series is: its folder, or, where the folder's name holds more than the step, that name in it.
        series = PurePath(place.series or "")
        where = series if own is None else run.path.parent / own[0] if own[0] else run.path.parent
        line = planned_for(run.path, plan)
        if line is not None:
            place = Place(line.series or place.series, place.step if line.step is None else line.step)
            where = PurePath(line.series) if line.series else where
        if place.series is None or place.step is None:
            missing = [what for what, told in (("series", place.series), ("step", place.step)) if told is None]
            left.append(
                LeftOut(
                    str(run.path),
                    f"its {' and '.join(missing)} cannot be told from its name; call it like RUNS/adamw-seed-0/"
                    "checkpoint-21, or say it with --plan FILE.csv (run,series,step)",
                )
            )
            continue
        places.append((run, place, where))
    names = _names({where for _, _, where in places})
    found = []
    for run, place, where in places:
        line = planned_for(run.path, plan)
        factors = factors_of(names[where]) | ({} if line is None else line.factors)
        found.append(Found(run, names[where], int(place.step or 0), factors))
    return _agreed(found)


def _names(places: set[PurePath]) -> dict[PurePath, str]:
    """For each folder the shortest end of its path that no other has."""
    found: dict[PurePath, str] = {}
    for place in places:
        for length in range(1, len(place.parts) + 1):
            end = place.parts[-length:]
            if sum(other.parts[-length:] == end for other in places) == 1:
                break
        found[place] = PurePath(*end).as_posix()
    return found


def _agreed(found: list[Found]) -> list[Found]:
    """Every run of a series has the series' factors: what any of its runs says and no other says otherwise."""
    of: dict[str, dict[str, set[str]]] = {}
    for one in found:
        for key, value in one.factors.items():
            of.setdefault(one.series, {}).setdefault(key, set()).add(value)
    agreed = {
        series: {key: next(iter(values)) for key, values in sorted(factors.items()) if len(values) == 1}
        for series, factors in of.items()
    }
    return [replace(one, factors=agreed.get(one.series, {})) for one in found]
