"""A table that says of each run to which series it belongs and at which step it stands."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePath

from reach.bounded import read_bytes
from reach.runs.remote import RemoteFolder, is_url
from solvers.errors import BadInput

_MOST_BYTES = 2**22
_AGAIN = "write one line per run: run, series, step, and a column for each further factor"
_FIXED = ("run", "series", "step")


@dataclass(frozen=True)
class Planned:
    """A line of the table; what it leaves empty is None, and is told from names."""

    run: PurePath
    series: str | None
    step: int | None
    factors: dict[str, str]


def read_plan(file: Path) -> tuple[Planned, ...]:
    """Read a table of runs: comma-separated, a head line with `run` and any of `series`, `step` and further factors.

    Raises:
        BadInput: it is no such table, a line is too long or too short, a step is no whole number, or a run is there
            twice.
    """
    content = read_bytes(file, again=_AGAIN, most=_MOST_BYTES)
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(f"{file}: not readable as CSV ({error}); {_AGAIN}") from None
    head = [cell.strip() for cell in lines[0]] if lines else []
    if "run" not in head or len(set(head)) < len(head) or "" in head:
        raise BadInput(f"{file}: its first line must name its columns, each once, `run` among them; {_AGAIN}")
    found: list[Planned] = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            raise BadInput(f"{file}, line {number}: {len(cells)} cells under {len(head)} columns; {_AGAIN}")
        found.append(_line(dict(zip(head, (cell.strip() for cell in cells), strict=True)), f"{file}, line {number}"))
    if not found:
        raise BadInput(f"{file}: names no run; {_AGAIN}")
    for one in found:
        if sum(one.run == other.run for other in found) > 1:
            raise BadInput(f"{file}: {one.run} is there more than once; leave one line")
    return tuple(found)


def _line(cells: dict[str, str], where: str) -> Planned:
    run, step = cells["run"].rstrip("/"), cells.get("step") or None
    if not run:
        raise BadInput(f"{where}: names no run; {_AGAIN}")
    if step is not None and not (step.isascii() and step.isdigit() and len(step) <= 18):
        raise BadInput(f"{where}: the step {step!r:.60} is no whole number from 0 on")
    factors = {name: value for name, value in cells.items() if name not in _FIXED and value}
    # The copy of a run at a URL lies in folders of the same names.
    path = PurePath(*RemoteFolder(run).parts) if is_url(run) else PurePath(run)
    return Planned(path, cells.get("series") or None, None if step is None else int(step), factors)


def planned_for(run: Path, plan: tuple[Planned, ...]) -> Planned | None:
    """The line about a run: the one whose path the run's ends with; of several the longest."""
    fitting = [one for one in plan if _ends_with(run, one.run)]
    return max(fitting, key=lambda one: len(one.run.parts), default=None)


def _ends_with(run: Path, end: PurePath) -> bool:
    parts, wanted = run.parts, end.parts
    return len(wanted) <= len(parts) and parts[len(parts) - len(wanted) :] == wanted
