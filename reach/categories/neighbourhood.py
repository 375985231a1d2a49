"""Which rows lie close together, by distance and by angle: one product of all rows with all rows at most.

Adding one vector to every row changes no argmax, so rows are looked at from their mean. What is found is for readers;
no proof rests on it, and float32 is enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from reach.interference.packing import abs_cos_quantile
from solvers.problem import ArgmaxProblem

PARALLEL = 0.9
"""Cosine from which two rows, seen from the mean row, count as near-parallel."""
NEAR_EQUAL = 0.1
"""Distance up to which they count as near-equal, relative to the longer of the two."""
_BY_CHANCE = 0.05
"""In few dimensions random rows are close too: the cosine is raised until each expects so few such neighbours."""
_LEAST_WORK = 2e11
_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Neighbourhood:
    """How rows hang together.

    Attributes:
        cosine: from which rows were linked as near-parallel.
        bundle: `(n,)` a number for each row, shared by rows that are linked by small angles.
        cluster: `(n,)` the same by small distances.
        nearest: `(n,)` the nearest of the near-equal rows; −1 where there is none.
        distance: `(n,)` how far it is, relative to the longer of the two as seen from the mean row.
        compared: `(n,)` whether a row was compared with all others.
    """

    cosine: float
    bundle: Int[np.ndarray, " n"]
    cluster: Int[np.ndarray, " n"]
    nearest: Int[np.ndarray, " n"]
    distance: Float64[np.ndarray, " n"]
    compared: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether every row was compared with every other."""
        return bool(self.compared.all())


def parallel_cosine(rows: int, dimensions: int) -> float:
    """The cosine from which rows count as near-parallel: `PARALLEL`, or more where chance alone reaches that."""
    if dimensions < 2:
        return 1.0
    return max(PARALLEL, abs_cos_quantile(1 - 2 * min(0.5, _BY_CHANCE / rows), dimensions))


def neighbourhood(
    problem: ArgmaxProblem, first: Int[np.ndarray, " k"], *, work: float, device: str = "cpu"
) -> Neighbourhood:
    """Link the rows of a problem.

    Args:
        problem: rows that are not equal to each other, but for some whose offsets differ.
        first: rows to begin with; what is linked to them comes next, and all others last.
        work: multiplications after which no further rows are compared, unless so many take only seconds.
        device: where to multiply.
    """
    v, d = problem.v, problem.d
    rows = problem.working_rows(device)
    mean = problem.mean_row.to(rows)
    length = torch.empty(v, dtype=torch.float32)
    for block in problem.blocks(8 * d):
        length[block] = (rows[block] - mean).norm(dim=1).cpu()
    tau = parallel_cosine(v, d)
    links = _Links(v, length.numpy())
    order = _Order(v, first)
    # A row at the mean has no direction: nothing is parallel to it, and what equals it was merged before.
    order.drop(np.flatnonzero(length.numpy() <= 1e-6 * max(float(length.max()), 1e-300)))
    left = max(work, _LEAST_WORK)
    step = max(1, _BLOCK_BYTES // (4 * v))
    at_once = problem.points_at_once(device=device)
    scale = length.clamp(min=1e-30).to(rows.device)
    while left > 0 and len(picked := order.take(step)):
        # In their own order every pair is met once: earlier rows have met these already.
        start = int(picked[0]) if order.in_turn else 0
        own = torch.from_numpy(picked).to(rows.device)
        parts = [_pairs(rows, mean, scale, part, start, tau) for part in own.split(at_once)]
        i, j, cosine = (torch.cat(found).cpu().numpy() for found in zip(*parts, strict=True))
        linked = links.add(i, j, cosine)
        order.done(picked, linked)
        left -= float(len(picked)) * (v - start) * d
    nearest = links.nearest
    return Neighbourhood(tau, links.bundle, links.cluster, nearest, _distances(problem, nearest), order.compared)


def _pairs(
    rows: Float32[Tensor, "v d"],
    mean: Float32[Tensor, " d"],
    length: Float32[Tensor, " v"],
    some: Int[Tensor, " k"],
    start: int,
    tau: float,
) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"], Float32[Tensor, " p"]]:
    """Pairs of some rows with any from `start` on whose cosine, seen from the mean row, is at least `tau`."""
    unit = (rows[some] - mean) / length[some][:, None]
    cosine = unit @ rows[start:].T
    cosine.sub_((unit @ mean)[:, None]).div_(length[start:])
    at = torch.arange(len(some), device=rows.device)
    itself = some >= start
    cosine[at[itself], some[itself] - start] = -2.0
    near = torch.nonzero(cosine.amax(dim=1) >= tau).flatten()  # few rows have any
    i, j = torch.nonzero(cosine[near] >= tau, as_tuple=True)
    return some[near[i]], j + start, cosine[near[i], j]


def _distances(problem: ArgmaxProblem, nearest: Int[np.ndarray, " v"]) -> Float64[np.ndarray, " v"]:
    """How far rows are from their nearest one, relative to the longer of both as seen from the mean row."""
    found = np.full(len(nearest), np.inf)
    rows = torch.from_numpy(np.flatnonzero(nearest >= 0))
    for some in rows.split(max(1, _BLOCK_BYTES // (24 * problem.d))):
        own, other = problem.rows(some), problem.rows(torch.from_numpy(nearest[some.numpy()]))
        long = torch.maximum((own - problem.mean_row).norm(dim=1), (other - problem.mean_row).norm(dim=1))
        found[some.numpy()] = ((own - other).norm(dim=1) / long).numpy()
    return found


class _Order:
    """Rows in the order in which they are compared: the first ones, what is linked to them, then the rest in turn."""

    def __init__(self, v: int, first: Int[np.ndarray, " k"]) -> None:
        self._wanted = np.zeros(v, dtype=bool)
        self._wanted[first] = True
        self.compared = np.zeros(v, dtype=bool)
        self.in_turn = False

    def drop(self, rows: Int[np.ndarray, " k"]) -> None:
        """Rows that need no comparing."""
        self.compared[rows] = True

    def take(self, count: int) -> Int[np.ndarray, " k"]:
        """The next rows, ascending."""
        open_ = ~self.compared
        wanted = np.flatnonzero(open_ & self._wanted)
        self.in_turn = self.in_turn or not len(wanted)
        return (np.flatnonzero(open_) if self.in_turn else wanted)[:count]

    def done(self, rows: Int[np.ndarray, " k"], linked: Int[np.ndarray, " l"]) -> None:
        """Rows that were compared, and those that were found to be linked to them."""
        self.compared[rows] = True
        self._wanted[linked] = True


class _Links:
    """Components that grow block by block, so that the pairs themselves need not be kept."""

    def __init__(self, v: int, length: Float32[np.ndarray, " v"]) -> None:
        self._length = length
        self.bundle, self.cluster = np.arange(v), np.arange(v)
        self.nearest = np.full(v, -1)
        self._distance = np.full(v, np.inf, dtype=np.float32)

    def add(self, i: np.ndarray, j: np.ndarray, cosine: Float32[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
        """Take pairs of near-parallel rows up; gives back the rows that were linked."""
        if not len(i):
            return i
        self.bundle = _joined(self.bundle, i, j)
        long, short = np.maximum(self._length[i], self._length[j]), np.minimum(self._length[i], self._length[j])
        ratio = short / long
        # ‖a − b‖² over the longer length squared.
        distance = np.sqrt(np.maximum(0, 1 + ratio * ratio - 2 * ratio * np.minimum(cosine, 1)))
        near = distance <= NEAR_EQUAL
        if near.any():
            self.cluster = _joined(self.cluster, i[near], j[near])
            for one, two in ((i[near], j[near]), (j[near], i[near])):
                self._keep(one, two, distance[near])
        return np.unique(np.concatenate([i, j]))

    def _keep(self, one: np.ndarray, two: np.ndarray, distance: np.ndarray) -> None:
        order = np.lexsort((two, distance, one))
        one, two, distance = one[order], two[order], distance[order]
        first = np.flatnonzero(np.append(True, one[1:] != one[:-1]))
        better = first[distance[first] < self._distance[one[first]]]
        self.nearest[one[better]], self._distance[one[better]] = two[better], distance[better]


def _joined(label: Int[np.ndarray, " v"], i: np.ndarray, j: np.ndarray) -> Int[np.ndarray, " v"]:
    """The labels after rows i and j were linked: the components of the graph of labels."""
    v = len(label)
    graph = coo_array((np.ones(len(i), dtype=bool), (label[i], label[j])), shape=(v, v))
    return np.asarray(connected_components(graph, directed=False)[1][label])
