"""Tokens as they are served: which server a scan asks about, what certificates say, and how they are proved again.

Imports no solver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int

from reach.runs.columns import floats, ids
from reach.runs.served import Served
from solvers.checks.served_head import BIASES, NORMS, TIES, ServedHead, Server
from solvers.checks.served_orders import returned_in_order
from solvers.checks.served_points import ALONE, NOTHING, RETURNED, check_points
from solvers.checks.served_weights import NEVER, NOT_ALONE, NOT_EVERYWHERE, check_weights
from solvers.errors import BadInput
from solvers.formats import FORMATS, format_named
from solvers.problem import ArgmaxProblem
from solvers.recipes import RECIPES, recipe_points

if TYPE_CHECKING:
    from reach.heads.head import Head

ONE_ORDER = "one-order"
RETURNED_NAMES = {ALONE: "alone", RETURNED: "every-order", NOTHING: None}
BARRED_NAMES = {NEVER: "never", NOT_EVERYWHERE: "not-every-order", NOT_ALONE: "not-alone", NOTHING: None}
STORED = "stored"
_BLOCK = 4096

_CLASSES = {
    ("alone", None): "every-order",
    ("every-order", "not-alone"): "tie",
    (ONE_ORDER, "not-every-order"): "order",
    (None, "never"): "never",
}
_CONTRADICTIONS = {
    "alone": {"never", "not-every-order", "not-alone"}, "every-order": {"never", "not-every-order"},
    ONE_ORDER: {"never"},
}  # fmt: skip


def served_class(returned: str | None, barred: str | None) -> str | None:
    """What follows from what is proved on either side; None where both cannot be."""
    if barred in _CONTRADICTIONS.get(str(returned), ()):
        return None
    return _CLASSES.get((returned, barred), "undecided")


def servers(settings: Mapping[str, Any], problem: ArgmaxProblem) -> list[Server]:
    """The servers that a scan asks about, one for each format.

    Args:
        settings: of the scan, as its manifest records them.
        problem: of the head, which says how its norm is rounded where the settings do not.

    Raises:
        BadInput: a setting is none.
    """
    named, ties, bias = settings.get("arithmetic") or (), settings.get("ties"), settings.get("bias_added")
    norm = settings.get("norm_rounded")
    if norm is None:
        norm = "steps" if problem.scale is not None and not problem.centred else "once"
    known = {form.name for form in FORMATS}
    if not isinstance(named, list | tuple) or not all(isinstance(one, str) and one in known for one in named):
        raise BadInput(f"manifest.json: its settings.arithmetic is {named!r:.60}, which names no formats; scan again")
    for name, word, words in (("ties", ties, TIES), ("bias_added", bias, BIASES), ("norm_rounded", norm, NORMS)):
        if word not in words:
            raise BadInput(f"manifest.json: its settings.{name} is {word!r:.40}, not one of {', '.join(words)}")
    return [Server(format_named(one), str(ties), str(bias), str(norm)) for one in named]


def check_served_head(head: Head, settings: Mapping[str, Any], problem: ArgmaxProblem) -> None:
    """Refuse, before a scan, what nothing is proved of as it is served.

    Raises:
        BadInput: the head scales or caps its logits, or a server cannot hold its numbers.
    """
    asked = servers(settings, problem)
    if asked and (head.softcap is not None or head.logit_scale != 1):
        does = "caps" if head.softcap is not None else "scales"
        raise BadInput(
            f"--arithmetic: this model {does} its logits, and what a server rounds there is not modelled; leave "
            "--arithmetic out"
        )
    for server in asked:
        ServedHead(problem, server)


def barred_by(
    head: ServedHead, tokens: Int[np.ndarray, " n"], weights: Mapping[int, tuple[np.ndarray, np.ndarray]]
) -> list[str | None]:
    """What weights prove against tokens, by the names of the table; nothing of tokens without weights."""
    none = np.zeros(0, dtype=np.int64), np.zeros(0)
    pairs = [weights.get(int(token), none) for token in tokens]
    start = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in pairs])]).astype(np.int64)
    rows, values = (np.concatenate([pair[at] for pair in [*pairs, none]]) for at in (0, 1))
    found = check_weights(head, torch.from_numpy(tokens), start, rows.astype(np.int64), values.astype(np.float64))
    return [BARRED_NAMES[int(code)] for code in found]


def served_faults(
    problem: ArgmaxProblem,
    served: Served,
    asked: np.ndarray,
    settings: Mapping[str, Any],
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[int, str]]:
    """Prove what a run says of tokens as they are served again; yields those of which that fails, and why.

    Args:
        problem: of the head as it is stored, with a row for every token.
        served: of the run.
        asked: `(v,)` tokens that the scan was asked about.
        settings: of the scan.
        progress: called with numbers of points finished.
    """
    names = served.table.column("arithmetic").to_pylist()
    known = {server.form.name for server in servers(settings, problem)}
    named = {*names, *served.points, *served.weights.column("arithmetic").to_pylist()}
    for name in sorted({str(one) for one in named} - known):
        yield 0, f"served.parquet: the scan was not asked about {name!r:.40}"
    for server in servers(settings, problem):
        yield from faults_of_one(problem, server, served, asked, progress)


def faults_of_one(
    problem: ArgmaxProblem,
    server: Server,
    served: Served,
    asked: np.ndarray,
    progress: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[int, str]]:
    """The same for one server, see `served_faults`."""
    names = served.table.column("arithmetic").to_pylist()
    mine = [at for at, name in enumerate(names) if name == server.form.name]
    yield from _Faults(problem, server, served, mine).found(asked, progress)


class _Faults:
    """The rows of one server."""

    def __init__(self, problem: ArgmaxProblem, server: Server, served: Served, mine: list[int]) -> None:
        self.name = server.form.name
        self.head = ServedHead(problem, server)
        table = served.table.take(pa.array(mine, pa.int64()))
        self.tokens = ids(table, "token_id").astype(np.int64)
        self.column = {name: table.column(name).to_pylist() for name in table.column_names}
        self.points = served.points.get(self.name, {})
        self.weights = weights_of(served, self.name)

    def found(self, asked: np.ndarray, progress: Callable[[int], object]) -> Iterator[tuple[int, str]]:
        """Tokens and what is wrong with them."""
        if not np.array_equal(self.tokens, np.flatnonzero(asked)):
            yield 0, f"served.parquet does not hold one row of {self.name} for each token asked for, in order"
            return
        for at, token in enumerate(self.tokens.tolist()):
            returned, barred, said = (self.column[name][at] for name in ("returned", "barred", "served"))
            if said != served_class(returned, barred):
                yield token, f"in {self.name} it is recorded as {said!r:.40}, which does not follow from its proofs"
            elif (returned is None) != (self.column["point"][at] is None):
                yield token, f"in {self.name} its point and what it proves do not fit each other"
            elif barred is None and token in self.weights:
                yield token, f"in {self.name} weights are stored for it that prove nothing"
        yield from self._points(progress)
        yield from self._weights()

    def _points(self, progress: Callable[[int], object]) -> Iterator[tuple[int, str]]:
        kinds, returned = self.column["point"], self.column["returned"]
        stored = {int(self.tokens[at]) for at, kind in enumerate(kinds) if kind == STORED}
        for token in self.points.keys() - stored:
            yield int(token), f"in {self.name} a point is stored that proves nothing"
        for kind in (*RECIPES, STORED):
            places = np.array([at for at, one in enumerate(kinds) if one == kind], dtype=np.int64)
            for start in range(0, len(places), _BLOCK):
                part = places[start : start + _BLOCK]
                tokens = torch.from_numpy(self.tokens[part])
                points = self._made(kind, tokens)
                proved = check_points(self.head, tokens, points, progress=progress)
                for i, at in enumerate(part.tolist()):
                    token, claim = int(self.tokens[at]), returned[at]
                    fine = proved[i] == ALONE or (claim == RETURNED_NAMES[RETURNED] and proved[i] == RETURNED)
                    if claim == ONE_ORDER:
                        fine = self._in_order(token, points[i], self.column["orders"][at])
                    elif claim not in RETURNED_NAMES.values():
                        fine = False
                    if not fine:
                        yield token, f"in {self.name} its point does not prove that it is returned: {claim!r:.40}"
        for at, kind in enumerate(kinds):
            if kind is not None and kind not in (*RECIPES, STORED):
                yield int(self.tokens[at]), f"in {self.name} its point is of an unknown kind {kind!r:.40}"

    def _made(self, kind: str, tokens: torch.Tensor) -> torch.Tensor:
        """The points of tokens; NaN for those that none is stored of."""
        if kind != STORED:
            return recipe_points(self.head.problem, kind, tokens)
        d = self.head.problem.d
        nothing = np.full(d, np.nan, dtype=np.float32)
        points = [self.points.get(int(token), nothing) for token in tokens]
        return torch.from_numpy(np.stack([point if point.shape == (d,) else nothing for point in points]))

    def _in_order(self, token: int, point: torch.Tensor, orders: object) -> bool:
        own, _, others = str(orders).partition("/")
        return returned_in_order(self.head, token, point, own, others)

    def _weights(self) -> Iterator[tuple[int, str]]:
        claimed = [at for at, barred in enumerate(self.column["barred"]) if barred is not None]
        for token in self.weights.keys() - {*self.tokens.tolist()}:
            yield int(token), f"in {self.name} weights are stored for a token that was not asked for"
        proved = barred_by(self.head, self.tokens[claimed], self.weights)
        for at, found in zip(claimed, proved, strict=True):
            if found != self.column["barred"][at]:
                said = f"{self.column['barred'][at]!r:.40}, but its weights prove {found or 'nothing'}"
                yield int(self.tokens[at]), f"in {self.name} it is recorded as {said}"


def weights_of(served: Served, arithmetic: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """The stored weights of one format, token by token."""
    names = served.weights.column("arithmetic").to_pylist()
    part = served.weights.filter(pa.array([name == arithmetic for name in names], pa.bool_()))
    tokens, rows, values = ids(part, "token_id"), ids(part, "row_id"), floats(part, "weight")
    order = np.argsort(tokens, kind="stable")
    named, first = np.unique(tokens[order], return_index=True)
    parts = np.split(order, first[1:]) if len(order) else []
    return {
        token: (rows[mine].astype(np.int64), values[mine]) for token, mine in zip(named.tolist(), parts, strict=True)
    }
