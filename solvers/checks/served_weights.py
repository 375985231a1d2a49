"""Checks of weights over other rows, which prove that a server nowhere returns a token, or nowhere in every order."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from solvers.checks.domains import certified
from solvers.checks.hull import are_hull_weights
from solvers.checks.served_head import ServedHead
from solvers.checks.served_points import NOTHING
from solvers.rounding import SECOND_ORDER, gamma, row_lengths, underflow
from solvers.weighted_rows import weighted_differences

NOT_ALONE, NOT_EVERYWHERE, NEVER = 1, 2, 3
"""What weights prove, each more than the one before: at no point has the token the single largest logit in every
order; at no point is it returned in every order; it is never returned. 0 where they prove nothing."""


def check_weights(
    head: ServedHead,
    tokens: Int[Tensor, " n"],
    start: Int[np.ndarray, " n_plus_1"],
    rows: Int[np.ndarray, " k"],
    weights: Float64[np.ndarray, " k"],
) -> Int[np.ndarray, " n"]:
    """What weights over other rows prove against tokens: `NEVER`, `NOT_EVERYWHERE`, `NOT_ALONE`, or 0.

    A single row that equals the token's own, offset included, has the same logit wherever both are summed in one
    order. Any other weights must bound the token's lead below all that may be rounded.

    Args:
        head: as it is served.
        tokens: `(n,)` row numbers.
        start: where the weights of each token begin, and where the last ones end.
        rows, weights: row numbers and weights.
    """
    found = np.full(len(tokens), NOTHING, dtype=np.int8)
    good = np.flatnonzero(are_hull_weights(head.plain, tokens, start, rows, weights))
    for i in good.tolist():
        mine = rows[start[i] : start[i + 1]]
        if len(mine) == 1 and _equal(head, int(tokens[i]), int(mine[0])):
            first = bool(head.server.precedes(torch.tensor(int(mine[0])), tokens[i]))
            found[i] = NOT_EVERYWHERE if first else NOT_ALONE
    good = good[found[good] == NOTHING]
    if not len(good) or not head.problem.domain.bounded or not head.inputs_fit:
        return found
    sizes = np.diff(start)
    kept = np.repeat(np.isin(np.arange(len(tokens)), good), sizes)
    lead = _Lead(
        head, tokens[good], np.concatenate([[0], np.cumsum(sizes[good])]), rows[kept], weights[kept]
    )  # fmt: skip
    silent = np.where(lead.beaten(), np.where(lead.all_precede | lead.apart(), NEVER, NOT_ALONE), NOTHING)
    found[good] = silent
    return found


def _equal(head: ServedHead, one: int, other: int) -> bool:
    weight = head.problem.weight
    return bool((weight[one] == weight[other]).all()) and bool(head.bias[one] == head.bias[other])


class _Lead:
    """Upper bounds, over the domain, on Σλ_j(p_t − p_j), where p are the sums that are rounded to logits."""

    def __init__(
        self,
        head: ServedHead,
        tokens: Int[Tensor, " n"],
        start: Int[np.ndarray, " n_plus_1"],
        rows: Int[np.ndarray, " k"],
        weights: Float64[np.ndarray, " k"],
    ) -> None:
        self.head, self.tokens = head, tokens
        sizes, index = np.diff(start), torch.from_numpy(rows)
        owner = np.repeat(np.arange(len(tokens)), sizes)
        total = np.add.reduceat(weights, start[:-1])

        def mean(values: Float64[Tensor, " k"]) -> Float64[Tensor, " n"]:
            return torch.from_numpy(np.add.reduceat(weights * values.numpy(), start[:-1]) / total)

        me = tokens[torch.from_numpy(owner)]
        difference = weighted_differences(head.plain, tokens, start, rows, weights)
        self.v = difference / torch.from_numpy(total)[:, None]
        self.delta = mean(head.bias[me] - head.bias[index])
        # The sums over the weights, and their total.
        k = torch.tensor([gamma(2 * size + 8) for size in sizes.tolist()], dtype=torch.float64)
        norm = head.plain.row_norm
        lost = torch.tensor([underflow(head.problem.d * size, torch.float64) for size in sizes.tolist()])
        self.v_error = SECOND_ORDER * (k * mean(norm[me] + norm[index]) + lost)
        self.delta_error = SECOND_ORDER * (k * mean(head.bias[me].abs() + head.bias[index].abs()) + lost)
        all_sizes = head.sizes
        error = head.sum_error(all_sizes, head.bias, norm + self._longest())
        error = SECOND_ORDER * (error + head.step_error(all_sizes + error))
        self.error, self.own_error = mean(error[index]), error[tokens]
        before = head.server.precedes(index, me).numpy()
        self.all_precede = np.logical_and.reduceat(before, start[:-1])

    def _longest(self) -> float:
        """Bound on the length of the head's input."""
        problem, (centre, radius) = self.head.problem, self.head.reach
        factor = 1.0 if problem.scale is None else float(problem.scale.abs().max())
        length = factor * (radius + float(centre.norm()))
        length += 0.0 if problem.shift is None else float(problem.shift.norm())
        return 2 * length + float(self.head.input_lost.norm())

    def beaten(self) -> Bool[np.ndarray, " n"]:
        """Whether at every point one of the rows has a sum at least as large as the token's: it can at best tie."""
        found: Bool[np.ndarray, " n"] = (self._highest(0.0) + self.error + self.own_error < 0).numpy()
        return found

    def apart(self) -> Bool[np.ndarray, " n"]:
        """Whether at every point one of the rows is above by so much that rounding to the format keeps it above.

        Two sums p_j > p_t have different logits if p_j − p_t exceeds 2u/(1 − u)·|p_t| and what is lost below the
        normal numbers.
        """
        form, head = self.head.form, self.head
        share = SECOND_ORDER * 2 * form.unit / (1 - form.unit)
        highest = torch.maximum(self._highest(share), self._highest(-share))
        room = SECOND_ORDER * (self.error + (1 + share) * self.own_error + 4 * form.below)
        top = head.sizes[self.tokens] + head.bias[self.tokens].abs() + self.own_error
        found: Bool[np.ndarray, " n"] = ((highest + room < 0) & (top * SECOND_ORDER < form.largest)).numpy()
        return found

    def _highest(self, share: float) -> Float64[Tensor, " n"]:
        """Upper bound on Σλ_j(ℓ_t − ℓ_j) + share·ℓ_t over all inputs, with exact logits ℓ."""
        head, problem, d = self.head, self.head.problem, self.head.problem.d
        own, norm = head.plain.rows(self.tokens), head.plain.row_norm[self.tokens]
        v = self.v + share * own
        v_error = self.v_error + SECOND_ORDER * gamma(4) * (row_lengths(self.v) + abs(share) * norm)
        bias = head.bias[self.tokens]
        delta = self.delta + share * bias
        delta_error = self.delta_error + gamma(4) * (self.delta.abs() + abs(share) * bias.abs())
        scale = torch.ones(d, dtype=torch.float64) if problem.scale is None else problem.scale
        shift = torch.zeros(d, dtype=torch.float64) if problem.shift is None else problem.shift
        g, widest = v * scale, float(scale.abs().max())
        length = row_lengths(g)
        g_error = v_error * widest + gamma(4) * length + underflow(d, torch.float64)
        centre, radius = head.reach
        # x lies off γ⊙z + β by a share of the size of both, component by component.
        sizes = radius * (length + g_error) + g.abs() @ centre.abs() + g_error * float(centre.norm())
        constant, shifted = v @ shift, v.abs() @ shift.abs() + v_error * float(shift.norm())
        off = head.input_rounding * (sizes + shifted)
        off = off + v.abs() @ head.input_lost + v_error * float(head.input_lost.norm())
        constant_error = v_error * float(shift.norm()) + gamma(d + 4) * shifted
        if problem.centred:
            g = g - g.mean(dim=1, keepdim=True)
            g_error = g_error + 2 * gamma(d + 2) * length
        reach = certified(problem.domain).supports(
            g, (SECOND_ORDER * g_error).numpy(), rigorous=True, directions=False
        )  # fmt: skip
        value = torch.from_numpy(reach) + constant + delta
        errors = off + constant_error + delta_error + gamma(8) * (torch.from_numpy(np.abs(reach)) + constant.abs())
        return value + SECOND_ORDER * (errors + gamma(8) * delta.abs() + underflow(d, torch.float64))
