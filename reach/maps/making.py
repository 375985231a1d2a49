"""Making the map of a vocabulary, when a head is scanned and for runs that lack one or a part of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from reach.loading import load_again
from reach.maps.clusters import clusters
from reach.maps.found import MapFound, stored_map
from reach.maps.neighbours import LEAST, installed, places, require
from reach.maps.principal import Principal, principal
from reach.options import default_jobs
from reach.progress import Progress, silent
from reach.runs.folder import RunFolder
from reach.runs.map import VocabularyMap, write_map
from reach.runs.projections import NO_PROJECTION
from solvers.errors import BadInput
from solvers.parallel import threads
from solvers.problem import ArgmaxProblem

_UNASKED_ROWS = (5000, 100_000)
"""Rows between which UMAP and PaCMAP are made unasked: few are seen well without, and many take long."""


def vocabulary_map(problem: ArgmaxProblem, *, progress: Progress = silent) -> VocabularyMap:
    """The map of a head by principal components, with clusters; what a scan leaves in its folder.

    Args:
        problem: with a row per token.
        progress: told how many rows have been multiplied.
    """
    return _by_axes(problem.fingerprint, principal(problem, progress=progress))


def _by_axes(of: str, found: Principal) -> VocabularyMap:
    flat = np.zeros((len(found.coordinates), 2), dtype=np.float32)
    shares = np.zeros(2)
    kept = min(2, found.coordinates.shape[1])
    flat[:, :kept], shares[:kept] = found.coordinates[:, :kept], found.shares[:kept]
    cluster, typical = clusters(found.coordinates)
    return VocabularyMap(of, {"pca": flat}, shares, cluster, typical)


def check_choice(wanted: tuple[str, ...]) -> None:
    """Refuse projections that cannot be made, before anything else is done.

    Raises:
        MissingExtra: the package of one is not installed.
        BadInput: none are asked for together with some.
    """
    if NO_PROJECTION in wanted and len(wanted) > 1:
        raise BadInput(f"--map {','.join(wanted)}: none stands alone")
    require(wanted)


def completed_map(
    run: RunFolder,
    wanted: tuple[str, ...] = (),
    *,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda _: None,
) -> MapFound:
    """The map of a run, with what it lacked made now and kept in its folder.

    Args:
        run: a finished scan.
        wanted: projections by name, or `none` to make nothing; nothing stands for all that can be made in short time.
        progress: told how many rows have been multiplied.
        note: told in one line what takes long, and if the map cannot be kept.

    Raises:
        BadInput: a map that is there is damaged.
    """
    held = stored_map(run)
    stored, of, rows = held.map, run.record.fingerprint, run.record.v or 0
    if wanted == (NO_PROJECTION,):
        return held
    missing = [name for name in wanted or _unasked(rows) if stored is None or name not in stored.places]
    if stored is not None and not missing:
        return MapFound(stored)
    problem, why = _problem(run, of, rows)
    if problem is None:
        if stored is not None and not wanted:
            return MapFound(stored)
        said = _without(stored, missing, why)
        if wanted:
            note(said)
        return MapFound(stored, said)
    with threads(default_jobs()):
        axes = principal(problem, progress=progress)
        found = stored or _by_axes(problem.fingerprint, axes)
        for name in (one for one in missing if one not in found.places and rows >= LEAST):
            started = time.perf_counter()
            note(f"{name} of {rows} rows: this can take minutes; --map pca leaves it out")
            found = replace(found, places={**found.places, name: places(name, axes.coordinates)})
            note(f"{name}: {time.perf_counter() - started:.0f} s")
    try:
        write_map(run.path, found)
    except BadInput as fault:
        note(f"the map is not kept: {fault}")
    return MapFound(found)


def _problem(run: RunFolder, of: str | None, rows: int) -> tuple[ArgmaxProblem | None, str]:
    """The problem that was scanned, from the model on this machine, or why it cannot be had."""
    try:
        problem = load_again(run.loading.but(revision=None), fetch=False).problem()
    except BadInput as fault:
        return None, str(fault)
    same = problem.fingerprint == of and problem.v == rows
    return (problem, "") if same else (None, "the model has changed since the scan")


def _unasked(rows: int) -> tuple[str, ...]:
    few, many = _UNASKED_ROWS
    return ("pca", *(installed() if few <= rows <= many else ()))


def _without(stored: VocabularyMap | None, missing: list[str], why: str) -> str:
    if stored is not None:
        return f"The map lacks {' and '.join(missing)}: {why}."
    return f"There is no map of this run, and none could be made: {why.rstrip('.')}."
