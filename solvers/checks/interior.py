"""Checks that rows lie strictly inside the hull of the others, in floating point with every rounding bounded.

Let a_j be the rows and m_j = (a_j, s) with some s > 0. A *spread set* S has an N = (m_j : j ∈ S) and a square P with
σ_min(PN) ≥ σ > 0. Then P is regular, and Nν = x has a solution with ‖ν‖ ≤ ‖Px‖/σ for every x. So for weights w_j > 0
over all rows whose residual ρ = Σw_j(a_j − a_t) is small,

    ‖P(ρ, 0)‖ < σ · min over S of w_j

there are ν_j on S with Σν_j a_j = −ρ, Σν_j = 0 and |ν_j| < w_j: the weights w + ν are positive, and exactly
Σ(w_j + ν_j)(a_j − a_t) = 0. They may include row t, whose own weight drops out of the sum. How P and w were come by
does not matter. `docs/mathematics.md` has the proof and each rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from solvers.hull_rows import HullRows
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT64, gamma, row_lengths, underflow

_WEIGHTS = (2.0**-200, 2.0**200)
"""Where weights are kept, so that no product of theirs leaves float64's range."""


@dataclass(frozen=True)
class SpreadSet:
    """Rows that reach in all directions, with the proof that they do.

    Attributes:
        rows: `(n,)` their numbers.
        whitening: P, `(e+1, e+1)`.
        norm: ‖P‖ (Frobenius), up to the rounding of a length.
        least: at most σ_min(PN), where N has a column (a_j, s) for each of the rows; above 0.
    """

    rows: Int[Tensor, " n"]
    whitening: Float64[Tensor, "m m"]
    norm: float
    least: float


def spread_set(hull: HullRows, rows: Int[Tensor, " n"], *, limit: int = 64 * 2**20) -> SpreadSet | None:
    """Show that some rows are a spread set; none where that fails, such as for rows in a subspace.

    Args:
        hull: the rows of a problem.
        rows: numbers of the set's rows.
        limit: bytes for one block of its rows.
    """
    m, n = hull.e + 1, len(rows)
    if n < m or not 0 <= int(rows.min()) <= int(rows.max()) < hull.problem.v or len(torch.unique(rows)) < n:
        return None
    level = _level(hull, rows)
    blocks = list(torch.split(rows, max(1, limit // (8 * m))))
    gram = torch.zeros((m, m), dtype=torch.float64)
    for block in blocks:
        columns = _columns(hull, block, level)
        gram += columns.T @ columns
    # Where this fails P is useless or not finite, and what follows does not hold.
    factor, _ = torch.linalg.cholesky_ex(gram)
    whitening = torch.linalg.solve_triangular(factor, torch.eye(m, dtype=torch.float64), upper=False)
    norm = _length(whitening)
    # σ_min(PN) from what is computed: B for PN and K for BBᵀ.
    product = torch.zeros((m, m), dtype=torch.float64)
    size = image = inexact = 0.0  # squares of the lengths of N, of B, of what N itself may err by
    for block in blocks:
        columns = _columns(hull, block, level)
        through = columns @ whitening.T
        product += through.T @ through
        size += float((columns * columns).sum())
        image += float((through * through).sum())
        error = hull.error(block, columns[:, :-1])
        inexact += float((error * error).sum())
    off = _length(product - torch.eye(m, dtype=torch.float64))
    square = 1 - SECOND_ORDER * (off + gamma(n + 2 * m) * image)
    if not square > 0:
        return None
    # No room for underflow: where an entry of N is near it, its squares in the Gram matrix have long been 0.
    away = norm * (gamma(m + 4) * size**0.5 + inexact**0.5)
    least = square**0.5 * (1 - gamma(8)) - SECOND_ORDER * away
    return SpreadSet(rows, whitening, norm, least) if least > 0 else None


def _level(hull: HullRows, rows: Int[Tensor, " n"]) -> float:
    """s: a power of two near the size of a typical entry, so that no column of N is out of proportion."""
    lengths = row_lengths(hull.rows(rows[: min(len(rows), 256)]))
    return 2.0 ** round(float(torch.log2(lengths.median().clamp(2.0**-300, 2.0**300) / hull.e**0.5)))


def _columns(hull: HullRows, rows: Int[Tensor, " n"], level: float) -> Float64[Tensor, "n m"]:
    points = hull.rows(rows)
    return torch.cat([points, torch.full((len(points), 1), level, dtype=torch.float64)], dim=1)


def _length(matrix: Float64[Tensor, "m k"]) -> float:
    return float(row_lengths(row_lengths(matrix)[None])[0])


def weights_at(
    hull: HullRows,
    duals: Float64[Tensor, "t f"],
    own: Float64[Tensor, "t e"],
    own_offset: Float64[Tensor, " t"],
    index: Int[Tensor, " n"] | slice,
    rows: Float64[Tensor, "n e"],
) -> Float64[Tensor, "t n"]:
    """w_j = 1/(1 + y·(a_j − a_t) + η(c_j − c_t)) for the rows `index`, the weights of an analytic centre.

    Args:
        hull: the rows of a problem.
        duals: y for each token, and η in one more column where there are offsets.
        own, own_offset: a_t and c_t.
        index, rows: the rows j.
    """
    y = duals[:, : hull.e]
    value = 1 + (y @ rows.T - (y * own).sum(dim=1, keepdim=True))
    if duals.shape[1] > hull.e:
        value = value + duals[:, hull.e :] * (hull.problem.offset[index] - own_offset[:, None])
    return (1 / value.clamp(min=_WEIGHTS[0])).clamp(*_WEIGHTS)


def inside_hull(
    hull: HullRows,
    spread: SpreadSet,
    tokens: Int[Tensor, " t"],
    duals: Float64[Tensor, "t f"],
    *,
    limit: int = 64 * 2**20,
) -> Bool[Tensor, " t"]:
    """For which tokens the weights of these dual points prove that the row lies inside the hull of the others.

    Then Σλ_j A[j] = A[t] for some λ ≥ 0 with Σλ_j = 1 over other rows, and Σλ_j c[j] ≥ c[t] as well: the token is
    unspeakable on every domain. False where the proof fails.

    Args:
        hull: the rows of a problem.
        spread: a spread set of them.
        tokens: `(t,)` row numbers.
        duals: `(t, e)` or, with offsets, `(t, e+1)` what the weights are made of (`weights_at`).
        limit: bytes for one block of weights.
    """
    problem, v, e = hull.problem, hull.problem.v, hull.e
    t = len(tokens)
    own, own_offset = hull.rows(tokens), problem.offset[tokens]
    own_error = hull.error(tokens, own)
    own_length = row_lengths(own)
    member = torch.zeros(v, dtype=torch.bool)
    member[spread.rows] = True
    residual = torch.zeros((t, e), dtype=torch.float64)
    total, size, error, lead, lead_size, lead_error = torch.zeros((6, t), dtype=torch.float64)
    lightest = torch.full((t,), torch.inf, dtype=torch.float64)
    for block in problem.blocks(8 * max(t, e), limit):
        rows = hull.rows(block)
        weights = weights_at(hull, duals, own, own_offset, block, rows)
        residual += weights @ rows
        total += weights.sum(dim=1)
        size += weights @ row_lengths(rows)
        error += weights @ hull.error(block, rows)
        inside = weights[:, member[block]]
        if inside.shape[1]:
            lightest = torch.minimum(lightest, inside.amin(dim=1))
        if not problem.zero_offset:
            lead += weights @ problem.offset[block]
            lead_size += weights @ problem.offset[block].abs()
            lead_error += weights @ problem.offset_error[block]
    residual -= total[:, None] * own
    k = gamma(v + e + 16)  # sums over all rows, their total, and the difference
    lost = e * underflow(v + 4, torch.float64) * (1 + total)
    astray = k * (size + total * own_length) + error + total * own_error
    astray += UNIT_FLOAT64 * row_lengths(residual) + lost
    image = residual @ spread.whitening[:, :e].T
    rounding = spread.norm * (gamma(e + 4) * row_lengths(residual) + astray)
    change = SECOND_ORDER * (row_lengths(image) + rounding + underflow(e * e, torch.float64)) / spread.least
    proved = change < lightest
    if problem.zero_offset:
        return proved
    # Σ(w_j + ν_j)(c_j − c_t) ≥ 0, where Σν_j = 0 and |Σν_j c_j| ≤ ‖ν‖·‖c − anything‖ over S.
    lead = lead - total * own_offset
    astray = k * (lead_size + total * own_offset.abs()) + lead_error + total * problem.offset_error[tokens]
    astray += underflow(v + 4, torch.float64) * (1 + total)
    middle = problem.offset[spread.rows].mean()
    apart = (problem.offset[spread.rows] - middle).abs() + problem.offset_error[spread.rows]
    far = _length(apart[None])
    return proved & (lead > SECOND_ORDER * (astray + change * far))
