"""Many soft prompts at once: one slot per target, left as soon as anyone's pass has found its token."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from reach.search.batching import BatchSize, is_out_of_memory
from reach.search.hull_points import HullWitnesses
from reach.search.ledger import Ledger, Witness
from reach.search.levels import Freedom, InHull
from reach.search.live import LiveModel, Pass
from reach.search.optimisers import RowOptimiser, row_optimiser
from reach.search.pending import Maker, Pending
from reach.search.settings import SearchSettings
from reach.search.starts import Starts
from reach.search.winners import Winners, winners

Progress = Callable[[], None]
Clock = Callable[[], bool]
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
    time_is_up: Clock,
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
