"""A start page over the runs of a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reach.runs.folder import RunFolder
from reach.runs.schema import VERDICT_NAMES
from reports import plain
from reports.domain import domain_view
from reports.portable import portable
from reports.site import SCAN, held, title_of
from solvers.errors import BadInput

_DEEPEST = 3


@dataclass(frozen=True)
class IndexRow:
    """A run in the list. Where it cannot be read, `problem` says why and the rest is empty."""

    name: str
    model: str
    recorded: str  # as its run names it: tells models apart that are shown alike
    started: str
    asked: int
    verdicts: dict[str, int]
    hard_to_speak: int
    share: str
    domain: str
    pages: tuple[tuple[str, str], ...]  # title and address of those that are there, the scan's first
    problem: str | None


@dataclass(frozen=True)
class IndexPage:
    """Everything that the template shows."""

    title: str
    lead: str
    rows: tuple[IndexRow, ...]


def index_page(folder: Path, out: Path) -> IndexPage:
    """List the runs in a folder, up to three levels down; `out` is where the page will lie.

    Raises:
        BadInput: no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; --index takes the folder that holds the runs")
    found = sorted(_runs_in(folder, _DEEPEST), key=lambda path: path.relative_to(folder).parts)
    if not found:
        raise BadInput(f"{folder}: holds no run; make one with 'reach scan MODEL --out {folder / 'NAME'}'")
    rows = tuple(_row(path, folder, out) for path in found)
    readable = [row for row in rows if row.problem is None]
    models = len({row.recorded for row in readable})
    lead = f"{plain.plural(len(readable), 'finished scan')} of {plain.plural(models, 'model')}."
    if len(readable) < len(rows):
        lead += f" {plain.plural(len(rows) - len(readable), 'run')} cannot be shown; the list says why."
    return IndexPage(f"Runs in {folder.resolve().name}", lead, rows)


def _runs_in(folder: Path, depth: int) -> list[Path]:
    if held(folder):
        return [folder]
    if depth == 0:
        return []
    try:
        below = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return [run for entry in below for run in _runs_in(entry, depth - 1)]


def _row(path: Path, folder: Path, out: Path) -> IndexRow:
    name = path.relative_to(folder).as_posix() if path != folder else path.resolve().name
    nothing = dict.fromkeys(VERDICT_NAMES, 0)
    if SCAN not in held(path):
        studies = " and ".join(title_of(record).lower() for record in held(path))
        return IndexRow(name, "", "", "", 0, nothing, 0, "", "", _pages(path, out), f"no scan, only: {studies}")
    try:
        verdicts = RunFolder.open(path).verdicts()
    except BadInput as error:
        # The list names the folder already.
        problem = str(error).removeprefix(f"{path}: ").removeprefix(f"{path / 'manifest.json'}: ")
        return IndexRow(name, "", "", "", 0, nothing, 0, "", "", _pages(path, out), portable(problem))
    totals, manifest = verdicts.totals, verdicts.manifest
    return IndexRow(
        name=name,
        model=plain.text(manifest.model),
        recorded=str(manifest.model),
        started=plain.text(manifest.started).replace("T", " ")[:16],
        asked=totals.tokens,
        verdicts=totals.verdicts,
        hard_to_speak=totals.hard_to_speak,
        share=plain.share(totals.verdicts["unspeakable"], totals.tokens),
        domain=domain_view(manifest).words,
        pages=_pages(path, out),
        problem=None,
    )


def _pages(run: Path, out: Path) -> tuple[tuple[str, str], ...]:
    """The pages that lie in a run folder."""
    above = out.resolve().parent
    return tuple(
        (title_of(record), Path(os.path.relpath((run / page).resolve(), above)).as_posix())
        for record, page in held(run).items()
        if (run / page).is_file()
    )
