"""Soft prompts: many at once, one slot per target, left as soon as anyone's pass has found its token."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reach.search.budget import BatchSize, is_out_of_memory
from reach.search.ledger import Attempts, Ledger, Maker, Pending, Witness
from reach.search.levels import InHull, freedom
from reach.search.live import LiveModel, Pass, Winners, winners
from reach.search.optimisers import row_optimiser
from reach.search.starts import Task

EVENLY = -1
"""Stands for the mean of all rows where a row's number is expected."""

_NAMED = (64, 1024, 4096)
"""How many rows are named, the fewest first: all weights of a large vocabulary would take megabytes per witness."""


def weighted_mean(
    rows: Float[Tensor, "v d"], at: np.ndarray, weight: np.ndarray, even: Float[Tensor, " d"] | None = None
) -> Float[Tensor, " d"]:
    """The point of weights that need not quite add up to 1; `even` is the mean of all rows, if it is at hand."""
    share = torch.from_numpy(weight.astype(np.float64))
    named = at != EVENLY
    point = share[named] @ rows[torch.from_numpy(at[named].astype(np.int64))].double().cpu()
    if not named.all():
        mean = rows.mean(0, dtype=torch.float64).cpu() if even is None else even
        point = point + share[~named].sum() * mean
    return (point / share.sum()).float()


class HullWitnesses:
    """Makes witnesses of softmax variables; each is run, so that what is left out changes no winner."""

    def __init__(self, live: LiveModel, space: InHull) -> None:
        self._live, self._space = live, space
        self._even = live.rows.mean(0, dtype=torch.float64).cpu()

    def __call__(self, source: Float[Tensor, "b k v"], row: int, length: int, margin: float, token: int) -> Witness:
        """The witness with the fewest numbers that still brings up the token; all weights where none does."""
        shares = [x.double().softmax(0) for x in source[row, :length]]
        sizes = [size for size in _NAMED if size < len(shares[0])] or [len(shares[0])]
        ordered = [share.cpu().sort(descending=True) for share in shares]
        tries = [tuple(_sparse(one.values, one.indices, size) for one in ordered) for size in sizes]
        points = torch.stack(
            [torch.stack([weighted_mean(self._live.rows, *one, self._even) for one in weights]) for weights in tries]
        ).to(self._live.device)
        found = winners(self._live.run(points, gradient=False, last=True).logits)
        good = (found.top[:, -1] == token) & self._space.legal(points)[:, -1]
        good &= found.margin[:, -1] > self._live.rounding
        for number in torch.nonzero(good)[:, 0].tolist()[:1]:
            return Witness("hull", length, float(found.margin[number, -1]), weights=tries[number], how="optimised")
        whole = tuple(
            (np.arange(len(share), dtype=np.int32), share.cpu().numpy().astype(np.float32)) for share in shares
        )
        return Witness("hull", length, margin, weights=whole, how="optimised")


def _sparse(weight: Float[Tensor, " v"], rows: Int[Tensor, " v"], size: int) -> tuple[np.ndarray, np.ndarray]:
    """The heaviest rows with their weights, and what is left, spread evenly. Args: the heaviest come first."""
    at = np.concatenate([rows[:size].numpy(), [EVENLY]]).astype(np.int32)
    rest = max(0.0, 1 - float(weight[:size].sum()))
    return at, np.concatenate([weight[:size].numpy(), [rest]]).astype(np.float32)


def point_witness(level: str) -> Maker:
    """Makes witnesses of embeddings."""

    def make(source: Tensor, row: int, length: int, margin: float, token: int) -> Witness:
        del token
        points = source[row, :length].float().cpu().numpy().copy()
        return Witness(level, length, margin, points=points, how="optimised")

    return make


# --- many soft prompts at once --------------------------------------------------------------------------------------


def optimise(live: LiveModel, ledger: Ledger, task: Task, size: BatchSize) -> None:
    """Search soft prompts of one length at one level, until all targets are found, tried out, or time is up.

    Raises:
        BadInput: a single target does not fit into memory.
    """
    slots, length = _Slots(live, ledger, task), task.length
    while not task.time_is_up():
        began = ledger.clock()
        slots.fill(size.at(length))
        count = len(slots.token)
        if not count:
            return
        try:
            slots.some_steps()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            size.shrink(count)
            slots.put_back(size.at(length))
            continue
        size.note(count, length, ledger.clock() - began)
        if count > 2 * size.at(length):
            slots.put_back(size.at(length))
        slots.retire()
        task.progress()


class _Slots:
    """The targets being worked on: variables `x` of each, its attempt and steps so far. Token −1 is an empty slot."""

    def __init__(self, live: LiveModel, ledger: Ledger, task: Task) -> None:
        self._live, self._ledger, self._task, settings = live, ledger, task, task.settings
        self._space = space = freedom(task.level, live.rows)
        self._queue = Attempts(ledger, task.level, task.targets, settings.restarts)
        self._make: Maker = HullWitnesses(live, space) if isinstance(space, InHull) else point_witness(space.name)
        width = task.length * space.width
        self._x = torch.zeros((0, width), device=live.device)
        kind = settings.optimiser_at(task.level)
        self._optimiser = row_optimiser(kind, 0, width, settings.learning_rate, space.scale, live.device)
        self.token = np.zeros(0, dtype=np.int64)
        self._attempt, self._age = self.token.copy(), self.token.copy()

    def fill(self, room: int) -> None:
        """Put new targets where old ones are done or there is room; pack the rest together when none are left."""
        more = min(room - len(self.token), len(self._queue))
        if more > 0:
            self._x = torch.cat([self._x, self._x.new_zeros((more, self._x.shape[1]))])
            self._optimiser.grow(more)
            self.token = np.concatenate([self.token, np.full(more, -1, dtype=np.int64)])
            self._attempt, self._age = (np.pad(one, (0, more)) for one in (self._attempt, self._age))
        empty = np.flatnonzero(self.token < 0)
        token, attempt = self._queue.draw(len(empty))
        rows = empty[: len(token)]
        if len(rows):
            at = torch.from_numpy(rows).to(self._live.device)
            begin = self._task.starts.variables(self._space, token, attempt, self._task.length)
            self._x = self._x.index_copy(0, at, begin.reshape(len(rows), -1))
            self._optimiser.reset(at)
            self.token[rows], self._attempt[rows], self._age[rows] = token, attempt, 0
        if len(rows) < len(empty):
            self._keep(self.token >= 0)

    def put_back(self, kept: int) -> None:
        """Keep some slots only; the targets of the others come next."""
        self._queue.put_back(self.token[kept:], self._attempt[kept:])
        self._keep(np.arange(len(self.token)) < kept)

    def _keep(self, mask: Bool[np.ndarray, " b"]) -> None:
        rows = torch.from_numpy(np.flatnonzero(mask)).to(self._x.device)
        self._x = self._x[rows]
        self._optimiser.keep(rows)
        self.token, self._attempt, self._age = self.token[mask], self._attempt[mask], self._age[mask]

    def retire(self) -> None:
        """Empty the slots of tokens that are found or have had their steps."""
        self.token[self._queue.over(self.token, self._attempt, self._age >= self._task.settings.steps)] = -1

    def some_steps(self) -> None:
        """A few steps without asking the device for anything, then credit what they found."""
        live, ledger, space, settings = self._live, self._ledger, self._space, self._task.settings
        pending = Pending(ledger, space.name, self._make, settings.min_margin or 0.0)
        target = torch.from_numpy(self.token).to(live.device)
        shape = (len(self.token), self._task.length, space.width)
        count = max(1, min(pending.room(self._x), int(settings.steps - self._age.max())))
        for _ in range(count):
            x = self._x.detach().requires_grad_()
            e = space.embed(x.view(shape))
            # What shorter inputs say was searched at their own length: their logits would cost as much as these.
            passed = live.run(e, gradient=True, last=True)
            found = winners(passed.logits)
            loss = self._loss(passed, found, target)
            extra = space.penalty(e)
            total = loss if extra is None else loss + 10 * extra
            (gradient,) = torch.autograd.grad(total.sum(), x)
            source = x.detach().view(shape) if isinstance(space, InHull) else e.detach()
            pending.add(source, found, space.legal(e.detach()))
            with torch.no_grad():
                self._x = self._optimiser.step(x.detach(), gradient, total.detach())
            self._age += 1
        pending.settle()
        np.add.at(ledger.effort[space.name], self.token, count)

    def _loss(self, passed: Pass, found: Winners, target: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Minus the target's margin over its strongest rival, or its cross-entropy; the last position counts."""
        if self._task.settings.loss == "margin":
            return self._live.lack(passed, found, target)
        logits = passed.logits[:, -1] if passed.hidden is None else self._live.full_logits(passed.hidden[:, -1])
        return torch.nn.functional.cross_entropy(logits, target, reduction="none")
