"""Soft prompts: many at once, one slot per target, left as soon as anyone's pass has found its token."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from reach.search.budget import BatchSize, is_out_of_memory
from reach.search.ledger import Ledger, Maker, Pending, Witness
from reach.search.levels import Freedom, InHull
from reach.search.live import LiveModel, Pass, Winners, winners
from reach.search.optimisers import RowOptimiser, row_optimiser
from reach.search.options import SearchSettings
from reach.search.starts import Starts

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


# --- many soft prompts at once --------------------------------------------------------------------------------------

Progress = Callable[[], None]
TimeIsUp = Callable[[], bool]
"""Says whether the time is up."""


@dataclass
class _Slots:
    """The targets being worked on."""

    x: Float[Tensor, "b n"]
    token: Int64[np.ndarray, " b"]
    attempt: Int64[np.ndarray, " b"]
    age: Int64[np.ndarray, " b"]
    optimiser: RowOptimiser


def optimise(
    live: LiveModel,
    ledger: Ledger,
    freedom: Freedom,
    length: int,
    targets: Int64[np.ndarray, " n"],
    starts: Starts,
    settings: SearchSettings,
    size: BatchSize,
    time_is_up: TimeIsUp,
    progress: Progress = lambda: None,
) -> None:
    """Search soft prompts of one length at one level, until all targets are found, tried out, or time is up.

    Raises:
        BadInput: a single target does not fit into memory.
    """
    queue = deque((int(token), 0) for token in targets)
    slots: _Slots | None = None
    make = HullWitnesses(live, freedom) if isinstance(freedom, InHull) else point_witness(freedom.name)
    while not time_is_up():
        began = ledger.clock()
        slots = _fill(slots, queue, live, ledger, freedom, length, starts, settings, size)
        if slots is None:
            return
        count = len(slots.token)
        try:
            _some_steps(slots, live, ledger, freedom, length, settings, make)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            size.shrink(count)
            _put_back(slots, queue, size.at(length))
            continue
        size.note(count, length, ledger.clock() - began)
        if count > 2 * size.at(length):
            _put_back(slots, queue, size.at(length))
        _retire(slots, queue, ledger, freedom.name, settings)
        progress()


def _fill(
    slots: _Slots | None,
    queue: deque[tuple[int, int]],
    live: LiveModel,
    ledger: Ledger,
    freedom: Freedom,
    length: int,
    starts: Starts,
    settings: SearchSettings,
    size: BatchSize,
) -> _Slots | None:
    """Put new targets where old ones are done or where there is room; pack the rest together when none are left."""
    found = ledger.found[freedom.name]
    width = length * freedom.width

    def draw(count: int) -> list[tuple[int, int]]:
        drawn: list[tuple[int, int]] = []
        while queue and len(drawn) < count:
            one = queue.popleft()
            if not found[one[0]]:
                drawn.append(one)
        return drawn

    def begin(drawn: list[tuple[int, int]]) -> Tensor:
        token, attempt = (np.array(part) for part in zip(*drawn, strict=True))
        return starts.variables(freedom, token, attempt, length).reshape(len(drawn), width)

    if slots is None:
        drawn = draw(size.at(length))
        if not drawn:
            return None
        optimiser = row_optimiser(
            settings.optimiser_at(freedom.name), len(drawn), width, settings.learning_rate, freedom.scale, live.device
        )
        token, attempt = (np.array(part) for part in zip(*drawn, strict=True))
        return _Slots(begin(drawn), token, attempt, np.zeros(len(drawn), dtype=np.int64), optimiser)
    room = size.at(length) - len(slots.token)
    if room > 0 and queue:
        _grow(slots, min(room, len(queue)))
    done = np.flatnonzero(slots.token < 0)
    if len(done):
        drawn = draw(len(done))
        rows = done[: len(drawn)]
        if len(rows):
            at = torch.from_numpy(rows).to(live.device)
            slots.x = slots.x.index_copy(0, at, begin(drawn))
            slots.optimiser.reset(at)
            slots.token[rows], slots.attempt[rows] = zip(*drawn, strict=True)
            slots.age[rows] = 0
        if len(drawn) < len(done):
            _keep(slots, slots.token >= 0)
    return slots if len(slots.token) else None


def _grow(slots: _Slots, more: int) -> None:
    """More slots, empty as yet."""
    slots.x = torch.cat([slots.x, slots.x.new_zeros((more, slots.x.shape[1]))])
    slots.optimiser.grow(more)
    slots.token = np.concatenate([slots.token, np.full(more, -1, dtype=np.int64)])
    slots.attempt, slots.age = (np.pad(one, (0, more)) for one in (slots.attempt, slots.age))


def _put_back(slots: _Slots, queue: deque[tuple[int, int]], kept: int) -> None:
    """Keep some slots only; the targets of the others come next."""
    queue.extendleft(zip(slots.token[kept:].tolist(), slots.attempt[kept:].tolist(), strict=True))
    _keep(slots, np.arange(len(slots.token)) < kept)


def _keep(slots: _Slots, mask: np.ndarray) -> None:
    rows = torch.from_numpy(np.flatnonzero(mask)).to(slots.x.device)
    slots.x = slots.x[rows]
    slots.optimiser.keep(rows)
    slots.token, slots.attempt, slots.age = slots.token[mask], slots.attempt[mask], slots.age[mask]


def _some_steps(
    slots: _Slots,
    live: LiveModel,
    ledger: Ledger,
    freedom: Freedom,
    length: int,
    settings: SearchSettings,
    make: Maker,
) -> None:
    """A few steps without asking the device for anything, then credit what they found."""
    hull = isinstance(freedom, InHull)
    pending = Pending(ledger, freedom.name, make, settings.min_margin or 0.0)
    target = torch.from_numpy(slots.token).to(live.device)
    shape = (len(slots.token), length, freedom.width)
    count = min(pending.room(slots.x), int(settings.steps - slots.age.max()))
    for _ in range(max(1, count)):
        x = slots.x.detach().requires_grad_()
        e = freedom.embed(x.view(shape))
        # What shorter inputs say was searched at their own length: their logits would cost as much as these.
        passed = live.run(e, gradient=True, last=True)
        found = winners(passed.logits)
        loss = _loss(live, passed, found, target, settings.loss)
        extra = freedom.penalty(e)
        total = loss if extra is None else loss + 10 * extra
        (gradient,) = torch.autograd.grad(total.sum(), x)
        source = x.detach().view(shape) if hull else e.detach()
        pending.add(source, found, freedom.legal(e.detach()))
        with torch.no_grad():
            slots.x = slots.optimiser.step(x.detach(), gradient, total.detach())
        slots.age += 1
    pending.settle()
    np.add.at(ledger.effort[freedom.name], slots.token, max(1, count))


def _loss(live: LiveModel, passed: Pass, found: Winners, target: Int[Tensor, " b"], kind: str) -> Float[Tensor, " b"]:
    """Minus the target's margin over its strongest rival, or its cross-entropy; the last position counts."""
    last = None if passed.hidden is None else passed.hidden[:, -1]
    if kind == "ce":
        logits = passed.logits[:, -1] if last is None else live.full_logits(last)
        return torch.nn.functional.cross_entropy(logits, target, reduction="none")
    top, second = found.top[:, -1], found.second[:, -1]
    rival = torch.where(top == target, second, top)
    if last is not None:
        return -live.row_margin(last, target, rival)
    logits = passed.logits[:, -1]
    return logits.gather(1, rival[:, None])[:, 0] - logits.gather(1, target[:, None])[:, 0]


def _retire(
    slots: _Slots, queue: deque[tuple[int, int]], ledger: Ledger, level: str, settings: SearchSettings
) -> None:
    """Empty the slots of tokens that are found or have had their steps; what may be tried again goes to the back."""
    found = ledger.found[level][slots.token]
    over = found | (slots.age >= settings.steps)
    np.add.at(ledger.tries[level], slots.token[over], 1)
    np.add.at(ledger.wins[level], slots.token[found], 1)
    for row in np.flatnonzero(over & ~found):
        if slots.attempt[row] + 1 < settings.restarts:
            queue.append((int(slots.token[row]), int(slots.attempt[row]) + 1))
    slots.token[over] = -1


# --- witnesses ------------------------------------------------------------------------------------------------------


def point_witness(level: str) -> Maker:
    """Makes witnesses of embeddings."""

    def make(source: Tensor, row: int, length: int, margin: float, token: int) -> Witness:
        del token
        points = source[row, :length].float().cpu().numpy().copy()
        return Witness(level, length, margin, points=points, how="optimised")

    return make
