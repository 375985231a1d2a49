"""What a scan finds out of tokens as they are served: recipes first, then a scan of the rounded head, then a search.

Rounding the weights makes another head. The scan of that head finds its best points and its hull weights as it would
of any; `solvers.checks.served_points` says what they prove of a server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from reach.progress import Progress, silent
from reach.runs.manifest import FunnelRow
from reach.runs.schema import SERVED, SERVED_WEIGHTS
from reach.runs.served import Served, read_served, write_served
from reach.scanning.scan import ScanResult, scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import NO_WITNESS
from reach.served import ONE_ORDER, RETURNED_NAMES, STORED, barred_by, faults_of_one, served_class, servers
from reach.witnesses import witness_points
from solvers.checks.served_head import ServedHead, Server
from solvers.checks.served_orders import ORDERS, returned_in_order
from solvers.checks.served_points import ALONE, NOTHING, check_points
from solvers.errors import BadInput
from solvers.parallel import threads
from solvers.problem import ArgmaxProblem
from solvers.recipes import RECIPES, far_along, recipe_points
from solvers.served import find_served

_GAP = 0.01
"""Relative gap to which margins of the rounded head are bounded: its points should be the best there are."""
_BLOCK = 4096
_SEARCHED = 512
"""Tokens that points are searched for at a time."""
_SEARCHED_MOST = 4096
"""Tokens that are searched for at all."""
_TRIES = (64, 1024)
"""Points in each round of a search: of the first, and of the one for tokens that it leaves open."""
_NUMBERS = 2**20
"""Numbers of the points of a round, at most, in the second search."""
_ORDERED = 256
"""Tokens whose sums are tried in single orders, at most: each needs a product with all rows for every order."""


@dataclass(frozen=True)
class _Found:
    """What is known of the tokens of one server, by token id.

    Attributes:
        returned: what a point proves.
        kind: of that point.
        points: the stored ones.
        orders: of those returned in one order only.
        weights: those that prove something, and what.
    """

    returned: np.ndarray
    kind: np.ndarray
    points: dict[int, np.ndarray] = field(default_factory=dict)
    orders: dict[int, str] = field(default_factory=dict)
    weights: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    barred: dict[int, str] = field(default_factory=dict)

    def served(self, name: str, tokens: Int[np.ndarray, " n"]) -> Served:
        """As a run keeps it."""
        return Served(_table(name, tokens, self), {name: self.points}, _weights_table(name, self))


def scan_served(
    problem: ArgmaxProblem,
    result: ScanResult,
    settings: ScanSettings,
    *,
    folder: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda _: None,
) -> tuple[Served, list[FunnelRow]]:
    """Say, for each format of `settings.arithmetic`, what a server returns of the tokens that were asked for.

    Args:
        problem: of the head as it is stored, with a row for every token.
        result: of its scan.
        settings: of the scan.
        folder: where formats that are finished go; none keeps everything in memory.
        resume: take up the formats that are there and can be proved again.
        progress: told how many tokens are settled.
        note: told about those that cannot, in one line.

    Returns:
        What was found, and a line of the funnel for each format.
    """
    found, funnel = [], []
    tokens = np.flatnonzero(result.asked)
    for server in servers(settings.record(), problem):
        name, started = server.form.name, time.perf_counter()
        place = None if folder is None else folder / f"served-{name}"
        with threads(settings.jobs):
            one = _before(place, problem, server, result.asked, note) if resume and place is not None else None
            if one is None:
                search = _Search(ServedHead(problem, server), result, settings, progress)
                one = search.run(tokens).served(name, tokens)
                if place is not None:
                    place.mkdir(parents=True, exist_ok=True)
                    write_served(place, one)
        found.append(one)
        settled = sum(kind != "undecided" for kind in one.table.column("served").to_pylist())
        funnel.append(FunnelRow(f"served {name}", len(tokens), settled, time.perf_counter() - started))
    points = {name: those for one in found for name, those in one.points.items()}
    table, weights = (pa.concat_tables([getattr(one, part) for one in found]) for part in ("table", "weights"))
    return Served(table, points, weights), funnel


def _before(
    place: Path, problem: ArgmaxProblem, server: Server, asked: np.ndarray, note: Callable[[str], object]
) -> Served | None:
    """What an interrupted scan has left of one format, if all of it can be proved again."""
    try:
        left = read_served(place, again="it is done again")
    except BadInput:
        left = None
    if left is not None and next(faults_of_one(problem, server, left, asked), None) is None:
        return left
    if place.exists():
        note(f"{place}: what is there of an earlier scan is damaged; it is done again")
    return None


class _Search:
    """What is tried for the tokens of one server, in turn."""

    def __init__(self, head: ServedHead, result: ScanResult, settings: ScanSettings, progress: Progress) -> None:
        self.head, self.result, self.settings = head, result, settings
        self.stage, self.tell = f"served {head.form.name}", progress
        v = head.v
        self.found = _Found(np.full(v, NOTHING, dtype=np.int8), np.full(v, None, dtype=object))
        self.base = torch.full((0, head.problem.d), torch.nan, dtype=torch.float64)

    def run(self, tokens: Int[np.ndarray, " n"]) -> _Found:
        """Everything, for these tokens."""
        self.total = len(tokens)
        for recipe in RECIPES:
            for part in _parts(self._open(tokens), _BLOCK):
                points = recipe_points(self.head.problem, recipe, torch.from_numpy(part))
                self._try(part, points, recipe)
        for part in _parts(self._open(tokens), _BLOCK):
            self._try(part, self._witnesses(self.result, part), STORED)
        open_ = self._open(tokens)
        if len(open_):
            self._scan_rounded(open_)
        for tries in _TRIES:
            for part in _parts(self._open(tokens)[:_SEARCHED_MOST], _SEARCHED):
                self._search(part, min(tries, max(_TRIES[0], _NUMBERS // self.head.problem.d)))
        self._single_orders(self._open(tokens))
        return self.found

    def _open(self, tokens: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        """Tokens that more may be found out of: neither the best is proved of them, nor what excludes it."""
        left = [token for token in tokens.tolist() if self._class(token) == "undecided"]
        self.tell(self.stage, self.total - len(left), self.total)
        return np.array(left, dtype=np.int64)

    def _class(self, token: int) -> str:
        returned = ONE_ORDER if token in self.found.orders else RETURNED_NAMES[int(self.found.returned[token])]
        kind = served_class(returned, self.found.barred.get(token))
        if kind is None:
            raise RuntimeError(f"row {token} was proved both to be returned and not to be: a checker is wrong")
        return kind

    def _try(self, tokens: Int[np.ndarray, " n"], points: Tensor, kind: str) -> None:
        """Keep of points what they prove more than those before."""
        points = points.to(torch.float32)
        proved = check_points(self.head, torch.from_numpy(tokens), points, device=self.settings.device)
        for at in np.flatnonzero(proved > self.found.returned[tokens]).tolist():
            token = int(tokens[at])
            self.found.returned[token], self.found.kind[token] = proved[at], kind
            self.found.points.pop(token, None)
            if kind == STORED:
                self.found.points[token] = points[at].numpy().copy()

    def _witnesses(self, result: ScanResult, tokens: Int[np.ndarray, " n"]) -> Float64[Tensor, "n d"]:
        """The points of a scan, NaN for tokens without one."""
        state, rows = result.state, result.merged.row_of[tokens]
        points = torch.full((len(tokens), self.head.problem.d), torch.nan, dtype=torch.float64)
        there = np.flatnonzero(state.witness_kind[rows] != NO_WITNESS)
        if len(there) and not result.merged.everything_equal:
            found = witness_points(result.merged.problem, state.kinds(rows[there]), rows[there], state.certificates())
            points[torch.from_numpy(there)] = found
        return points

    def _scan_rounded(self, tokens: Int[np.ndarray, " n"]) -> None:
        """Scan the head of rounded numbers for the tokens that are open, and see what comes of it."""
        settings = replace(self.settings, margin_gap=_GAP, exact=False, ceilings=None, arithmetic=())
        rounded = scan(self.head.problem, settings, tokens=tokens)
        for part in _parts(tokens, _BLOCK):
            self._try(part, self._witnesses(rounded, part), STORED)
        self._weigh(tokens, rounded)
        self.rounded = rounded

    def _weigh(self, tokens: Int[np.ndarray, " n"], rounded: ScanResult) -> None:
        """Keep weights that prove something: an equal row, or those of the rounded head."""
        state, merged = rounded.state, rounded.merged
        pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        equal = _classes(merged.first_of)
        for token in tokens.tolist():
            row, others = int(merged.row_of[token]), equal[int(merged.first_of[token])]
            if len(others) > 1:
                pairs[token] = np.array([self._equal_to(token, others)]), np.ones(1)
            elif self.found.returned[token] != ALONE:
                hull = state.bounds.get(row) or state.hulls.get(row)
                if hull is not None:
                    pairs[token] = merged.token_of[hull.rows].astype(np.int64), np.asarray(hull.weights, np.float64)
        named = np.array(sorted(pairs), dtype=np.int64)
        for token, proved in zip(named.tolist(), barred_by(self.head, named, pairs), strict=True):
            if proved is not None:
                self.found.weights[token], self.found.barred[token] = pairs[token], proved

    def _equal_to(self, token: int, others: Int[np.ndarray, " k"]) -> int:
        """Of the tokens that share a row the one that the tie rule returns, or another where that is the token."""
        order = others if self.head.server.ties == "first" else others[::-1]
        return int(order[0] if order[0] != token else order[1])

    def _starts(self, tokens: Int[np.ndarray, " n"]) -> Float64[Tensor, "n d"]:
        """Where searches start: the best points of the rounded head, else of the stored one, else the own row."""
        points = self._witnesses(self.rounded, tokens)
        for other in (
            self._witnesses(self.result, tokens),
            far_along(self.head.problem, self.head.problem.rows(torch.from_numpy(tokens))),
        ):
            points = torch.where(torch.isfinite(points).all(dim=1)[:, None], points, other)
        return points

    def _search(self, tokens: Int[np.ndarray, " n"], tries: int) -> None:
        """Look for points where rounding is kind to the token."""
        found = find_served(self.head, torch.from_numpy(tokens), self._starts(tokens), tries=tries)
        for at in range(found.points.shape[1]):
            left = [i for i, token in enumerate(tokens.tolist()) if self._class(token) == "undecided"]
            if left:
                self._try(tokens[left], found.points[left, at], STORED)

    def _single_orders(self, tokens: Int[np.ndarray, " n"]) -> None:
        """Try single orders of summation, the token's row in one and all others in another."""
        wanted = [token for token in tokens.tolist() if self.found.returned[token] == NOTHING][:_ORDERED]
        if not wanted:
            return
        part = np.array(wanted, dtype=np.int64)
        points = self._starts(part).to(torch.float32)
        for token, point in zip(wanted, points, strict=True):
            for own, others in _pairs_of_orders(token in self.found.barred):
                if returned_in_order(self.head, token, point, own, others):
                    self.found.orders[token], self.found.kind[token] = f"{own}/{others}", STORED
                    self.found.points[token] = point.numpy().copy()
                    break


def _pairs_of_orders(equal: bool) -> Iterable[tuple[str, str]]:
    """All rows in one order; where another row is equal, also the token's own in another."""
    yield from ((order, order) for order in ORDERS)
    if equal:
        yield from ((own, others) for own in ORDERS for others in ORDERS if own != others)


def _classes(first_of: Int[np.ndarray, " v"]) -> dict[int, np.ndarray]:
    order = np.argsort(first_of, kind="stable")
    named, start = np.unique(first_of[order], return_index=True)
    return dict(zip(named.tolist(), np.split(order, start[1:]), strict=True))


def _parts(tokens: Int[np.ndarray, " n"], most: int) -> Iterable[Int[np.ndarray, " m"]]:
    return (tokens[start : start + most] for start in range(0, len(tokens), most))


def _table(name: str, tokens: Int[np.ndarray, " n"], found: _Found) -> pa.Table:
    columns: dict[str, list[Any]] = {key: [] for key in SERVED.names}
    for token in tokens.tolist():
        orders, barred = found.orders.get(token), found.barred.get(token)
        returned = RETURNED_NAMES[int(found.returned[token])] if orders is None else ONE_ORDER
        values = token, name, served_class(returned, barred), returned, barred, found.kind[token], orders
        for key, value in zip(SERVED.names, values, strict=True):
            columns[key].append(value)
    return pa.table(columns, schema=SERVED)


def _weights_table(name: str, found: _Found) -> pa.Table:
    tokens = sorted(found.weights)
    rows = [found.weights[token][0] for token in tokens]
    values = [found.weights[token][1] for token in tokens]
    return pa.table(
        [
            pa.array([name] * sum(map(len, rows)), pa.string()),
            pa.array(np.repeat(np.array(tokens, dtype=np.int32), [len(part) for part in rows]), pa.int32()),
            pa.array(np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, np.int32), pa.int32()),
            pa.array(np.concatenate(values) if values else np.zeros(0), pa.float64()),
        ],
        schema=SERVED_WEIGHTS,
    )
