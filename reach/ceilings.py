"""Ceilings of tokens: what a head must be for them, and how a run's are proved again. Imports no solver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64

from reach.equal_rows import Merged
from reach.runs.ceilings import Ceilings
from reach.runs.columns import floats, ids
from reach.runs.schema import CEILING_CERTIFICATES
from solvers.checks.ceiling import ceiling_domain, ceiling_from_margin, check_ceilings
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

if TYPE_CHECKING:
    from reach.heads.head import Head

_BLOCK = 4096
_CLOSE = 2.0**-40
"""Relative difference between two computations of one bound from a margin."""


def ceiling_scale(head: Head, problem: ArgmaxProblem) -> float:
    """The factor on the logits inside the softmax of a head.

    Raises:
        BadInput: the head caps its logits, or its domain is unbounded with offsets: nothing is proved of those.
    """
    if head.softcap is not None:
        raise BadInput(
            f"--ceilings: this model caps its logits at {head.softcap:g}; under a cap ln p is not concave and no "
            "ceiling is proved; leave --ceilings out"
        )
    ceiling_domain(problem)
    return head.logit_scale


def recorded_scale(manifest: dict[str, Any]) -> float:
    """The factor that a run's ceilings were worked out with.

    Raises:
        BadInput: the manifest holds something else there.
    """
    said = manifest.get("head")
    scale = said.get("logit_scale", 1.0) if isinstance(said, dict) else 1.0
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale < float("inf"):
        raise BadInput(f"manifest.json: its head.logit_scale is {scale!r:.40}, which is no factor; scan again")
    return float(scale)


def ceiling_faults(
    problem: ArgmaxProblem,
    merged: Merged,
    ceilings: Ceilings,
    asked: np.ndarray,
    margin_lower: Float64[np.ndarray, " v"],
    scale: float,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[int, str]]:
    """Prove the ceilings of a run again; yields the tokens of which that fails, and why.

    Args:
        problem: with a row for every token.
        merged: the same with equal rows merged.
        ceilings: of the run.
        asked: `(v,)` tokens that the scan was asked about.
        margin_lower: `(v,)` the run's lower bounds on the margins, proved apart from this; NaN where there is none.
        scale: factor on the logits inside the softmax.
        progress: called with numbers of points finished.
    """
    tokens, table = ids(ceilings.table, "token_id"), ceilings.table
    expected = np.flatnonzero(asked)
    if not np.array_equal(tokens, expected):
        known = tokens[(tokens >= 0) & (tokens < problem.v)]
        first = next(iter(sorted(set(expected.tolist()) ^ set(known.tolist()))), 0)
        yield first, "ceilings.parquet does not hold one row for each token that was asked for, in order"
        return
    lower, upper = floats(table, "log_probability_lower"), floats(table, "log_probability_upper")
    kinds = table.column("certificate").to_pylist()
    points: dict[int, list[int]] = {}
    for at, token in enumerate(tokens.tolist()):
        first = int(merged.first_of[token])
        if kinds[at] is None:
            if not (np.isnan(lower[at]) and upper[at] == 0):
                yield token, "its ceiling is recorded without a certificate"
        elif kinds[at] not in CEILING_CERTIFICATES:
            yield token, f"its ceiling has an unknown certificate {kinds[at]!r:.40}"
        elif kinds[at] == "margin":
            # On an unbounded domain a witness may lie outside the unit ball, where ceilings are taken.
            margin = float(margin_lower[token]) if problem.domain.bounded else float("nan")
            proved = ceiling_from_margin(problem.v, margin, scale=scale)
            if not (_agrees(lower[at], proved, _CLOSE * abs(proved), above=False) and upper[at] == 0):
                yield token, f"its ceiling is recorded as at least {lower[at]}, but its margin gives {proved:.9g}"
        elif not _fits(ceilings.points.get(first), problem.d):
            yield token, "the point that proves its ceiling is missing or not usable"
        else:
            points.setdefault(first, []).append(at)
    for token in ceilings.points.keys() - points.keys():
        yield int(token), "a point is stored that proves no ceiling"
    firsts = sorted(points)
    for start in range(0, len(firsts), _BLOCK):
        part = firsts[start : start + _BLOCK]
        stored = torch.from_numpy(np.stack([ceilings.points[first].astype(np.float64) for first in part]))
        check = check_ceilings(problem, torch.tensor(part), stored, scale=scale, progress=progress)
        for i, first in enumerate(part):
            found = (float(check.lower[i]), float(check.upper[i]))
            room = 8 * float(check.error[i])
            for at in points[first]:
                below = _agrees(lower[at], found[0], room, above=False)
                if not (below and _agrees(upper[at], found[1], room, above=True)):
                    said, given = f"{lower[at]} to {upper[at]}", f"{found[0]:.9g} to {found[1]:.9g}"
                    yield int(tokens[at]), f"its ceiling is recorded as {said}, but its point gives {given} in ln p"


def recorded_bounds(
    lower: Float64[np.ndarray, " n"], upper: Float64[np.ndarray, " n"], error: Float64[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Bounds that every later computation of the same will reach, in whatever order it rounds."""
    return lower - 2 * error, np.minimum(upper + 2 * error, 0.0)


def _agrees(recorded: float, proved: float, room: float, *, above: bool) -> bool:
    """Whether a bound worked out anew proves the recorded one, and would be recorded as that but for rounding."""
    slack = recorded - proved if above else proved - recorded
    return bool(0 <= slack <= room)


def _fits(point: np.ndarray | None, d: int) -> bool:
    return point is not None and point.shape == (d,) and bool(np.isfinite(point).all())
