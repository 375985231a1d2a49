"""Witnesses as points: those that are stored, and those that a recipe makes again. They are rebuilt here alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from reach.equal_rows import Merged
from reach.nearly_never import winning_logits
from solvers.attempt import Hulls
from solvers.problem import ArgmaxProblem
from solvers.recipes import RECIPES, points_from_weights, recipe_points

_BLOCK_NUMBERS = 2**24

STORED = "stored"
"""How a witness that follows no recipe is called in a run folder."""
FROM_WEIGHTS = "margin-weights"
"""How one is called that follows from the weights which bound the token's margin from above."""

WeightPair = tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]


@dataclass(frozen=True)
class Certificates:
    """What witnesses are made of, by row of a problem.

    Attributes:
        stored: points.
        weights: the rows and hull weights that bound a row's margin.
    """

    stored: Mapping[int, np.ndarray]
    weights: Mapping[int, WeightPair]


def points_by_kind(
    problem: ArgmaxProblem,
    kinds: Sequence[str | None],
    rows: Int[np.ndarray, " n"],
    certificates: Certificates,
    *,
    block: int = 8192,
) -> Iterator[tuple[Int[np.ndarray, " b"], Float[Tensor, "b d"]]]:
    """Witnesses in blocks of one kind and one precision each.

    Args:
        problem: with equal rows merged.
        kinds: for each of the rows asked about a recipe, `STORED`, `FROM_WEIGHTS`, or none.
        rows: `(n,)` rows of the problem.
        certificates: of these rows.
        block: rows at a time.

    Yields:
        Places in `rows`, and the points there. Rows without a usable witness are left out.
    """
    for recipe in RECIPES:
        mine = np.array([at for at, kind in enumerate(kinds) if kind == recipe], dtype=np.int64)
        for start in range(0, len(mine), block):
            part = mine[start : start + block]
            yield part, recipe_points(problem, recipe, torch.from_numpy(rows[part]))
    weighed = [at for at, kind in enumerate(kinds) if kind == FROM_WEIGHTS and int(rows[at]) in certificates.weights]
    for start in range(0, len(weighed), block):
        part = np.array(weighed[start : start + block])
        hulls = Hulls.pack([certificates.weights[int(row)] for row in rows[part]])
        yield part, points_from_weights(problem, torch.from_numpy(rows[part]), hulls)
    stored = certificates.stored
    usable = [
        at for at, kind in enumerate(kinds) if kind == STORED and is_usable(stored.get(int(rows[at])), problem.d)
    ]
    for bits in (np.float32, np.float64):
        mine = np.array([at for at in usable if stored[int(rows[at])].dtype == bits], dtype=np.int64)
        for start in range(0, len(mine), block):
            part = mine[start : start + block]
            yield part, torch.from_numpy(np.stack([stored[int(row)] for row in rows[part]]))


def is_usable(point: np.ndarray | None, d: int) -> bool:
    """Whether a stored point is a vector of this length in one of the two precisions that are stored."""
    return point is not None and point.shape == (d,) and point.dtype in (np.float32, np.float64)


def by_row(merged: Merged, stored: Mapping[int, np.ndarray], weights: Mapping[int, WeightPair]) -> Certificates:
    """What tables hold by token, by row of the problem with equal rows merged.

    A row has what is stored under the first token of its class; what is stored under others is left out.

    Args:
        merged: the problem.
        stored: token to its point.
        weights: token to tokens and their weights. Tokens that there are not are left out with their weights.
    """
    first = {int(token): row for row, token in enumerate(merged.token_of)}
    v = len(merged.row_of)
    known = [(first[token], *pair) for token, pair in weights.items() if token in first and len(pair[0])]
    named = np.concatenate([tokens for _, tokens, _ in known]) if known else np.zeros(0, dtype=np.int64)
    start = np.cumsum([0, *(len(tokens) for _, tokens, _ in known)])
    inside = np.add.reduceat((named < 0) | (named >= v), start[:-1]) == 0 if known else ()
    by_rows = {
        row: (merged.row_of[tokens], values)
        for (row, tokens, values), fine in zip(known, inside, strict=True)
        if fine
    }
    return Certificates({first[token]: point for token, point in stored.items() if token in first}, by_rows)


def witness_points(
    problem: ArgmaxProblem, kinds: Sequence[str | None], rows: Int[np.ndarray, " n"], certificates: Certificates
) -> Float64[Tensor, "n d"]:
    """The witnesses of rows that have one, see `points_by_kind`; NaN for those that have none."""
    points = torch.full((len(rows), problem.d), torch.nan, dtype=torch.float64)
    for places, found in points_by_kind(problem, kinds, rows, certificates):
        points[torch.from_numpy(places)] = found.to(torch.float64)
    return points


def logits_at_witnesses(
    problem: ArgmaxProblem, kinds: Sequence[str | None], rows: Int[np.ndarray, " n"], certificates: Certificates
) -> Float64[np.ndarray, " n"]:
    """The winning logits of rows that have a witness."""
    step = max(1, _BLOCK_NUMBERS // problem.d)
    found = [np.zeros(0)]
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        points = witness_points(problem, kinds[start : start + step], part, certificates)
        found.append(winning_logits(problem, torch.from_numpy(part), points))
    return np.concatenate(found)
