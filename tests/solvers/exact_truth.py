"""Rational arithmetic written out plainly, apart from the checkers' own, and random problems to compare them on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from solvers.domains import Ball, Box, Domain, Ellipsoid, Free
from solvers.problem import ArgmaxProblem


def fractions(values: Tensor) -> list[Fraction]:
    """The numbers of a vector, exactly."""
    return [Fraction(float(value)) for value in values.to(torch.float64)]


def exact_row(problem: ArgmaxProblem, t: int) -> tuple[list[Fraction], Fraction]:
    """Row t of A and c[t] by definition: centre(W·diag(γ)), W·β + b."""
    raw = fractions(problem.weight[t])
    row = raw
    if problem.scale is not None:
        row = [w * s for w, s in zip(raw, fractions(problem.scale), strict=True)]
    if problem.centred:
        mean = sum(row, Fraction(0)) / problem.d
        row = [x - mean for x in row]
    offset = Fraction(0)
    if problem.shift is not None:
        offset += sum((w * s for w, s in zip(raw, fractions(problem.shift), strict=True)), Fraction(0))
    if problem.bias is not None:
        offset += Fraction(float(problem.bias[t]))
    return row, offset


def exact_logits(problem: ArgmaxProblem, point: Tensor) -> list[Fraction]:
    """A z + c."""
    z = fractions(point)
    logits = []
    for t in range(problem.v):
        row, offset = exact_row(problem, t)
        logits.append(sum((a * x for a, x in zip(row, z, strict=True)), Fraction(0)) + offset)
    return logits


def exact_margin_at(problem: ArgmaxProblem, t: int, point: Tensor) -> Fraction:
    """By how much row t leads every other row at a point."""
    logits = exact_logits(problem, point)
    return logits[t] - max(logit for j, logit in enumerate(logits) if j != t)


def exact_balance(
    problem: ArgmaxProblem, t: int, rows: np.ndarray, weights: np.ndarray
) -> tuple[list[Fraction], Fraction]:
    """v(λ) = Σλ_j(A[t]−A[j]) and δ(λ) = Σλ_j(c[t]−c[j]), with the weights divided by their sum."""
    lam = [Fraction(float(weight)) for weight in weights]
    total = sum(lam, Fraction(0))
    mine, offset = exact_row(problem, t)
    v, delta = [Fraction(0)] * problem.d, Fraction(0)
    for j, weight in zip(rows.tolist(), lam, strict=True):
        row, other = exact_row(problem, j)
        v = [x + weight / total * (a - b) for x, a, b in zip(v, mine, row, strict=True)]
        delta += weight / total * (offset - other)
    return v, delta


def bound_exceeds_dual(bound: float, problem: ArgmaxProblem, v: list[Fraction], delta: Fraction) -> bool:
    """Whether a bound is at least sup v·z + δ over the domain (over ‖z‖ ≤ 1 on Free), without rounding."""
    if bound == float("inf"):
        return True
    room = Fraction(bound) - delta
    if isinstance(problem.domain, Box):
        lo, hi = fractions(torch.from_numpy(problem.domain.lo)), fractions(torch.from_numpy(problem.domain.hi))
        return room >= sum((max(a * x, b * x) for a, b, x in zip(lo, hi, v, strict=True)), Fraction(0))
    if isinstance(problem.domain, Ellipsoid):
        mu, factor = fractions(torch.from_numpy(problem.domain.mu)), torch.from_numpy(problem.domain.factor)
        room -= sum((m * x for m, x in zip(mu, v, strict=True)), Fraction(0))
        v = [sum((a * x for a, x in zip(fractions(column), v, strict=True)), Fraction(0)) for column in factor.T]
    radius = Fraction(problem.domain.radius) if isinstance(problem.domain, Ellipsoid) else Fraction(1)
    square = Fraction(problem.domain.squared_radius) if isinstance(problem.domain, Ball) else radius**2
    return room >= 0 and room * room >= square * sum((x * x for x in v), Fraction(0))


@st.composite
def problems(
    draw: st.DrawFn, domains: tuple[str, ...] = ("ball", "box", "ellipsoid", "free", "free-without-offsets")
) -> ArgmaxProblem:
    """Small problems with every factor there is, at scales from tiny to large, with near-ties and repeats."""
    v, d = draw(st.integers(2, 6)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = 2.0 ** draw(st.sampled_from([-60, -20, 0, 0, 0, 20, 60]))
    rows = rng.standard_normal((v, d))
    if draw(st.booleans()):
        rows = np.round(rows * 4) / 4
    if draw(st.booleans()):
        rows[-1] = rows[0] * (1 + 2.0**-22)
    if draw(st.booleans()):
        rows += 1000 * rng.standard_normal()
    dtype = draw(st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16]))
    kind = draw(st.sampled_from(domains))
    radius = 2.0 ** draw(st.integers(-8, 8))
    domain: Domain = Free()
    if kind == "ball":
        domain = Ball(draw(st.sampled_from([float(d), radius])))
    elif kind == "box":
        lo = radius * rng.uniform(-2, 1, d)
        domain = Box(lo, lo + radius * rng.uniform(0.1, 2, d))
    elif kind == "ellipsoid":
        factor = np.eye(d) + rng.uniform(-0.4, 0.4, (d, d)) / d
        domain = Ellipsoid(radius * rng.standard_normal(d), factor, radius)
    offsets = kind != "free-without-offsets"

    def vector(length: int, spread: float) -> Tensor | None:
        return torch.from_numpy(rng.standard_normal(length) * spread) if draw(st.booleans()) else None

    return ArgmaxProblem(
        torch.from_numpy(rows * size).to(dtype),
        domain,
        scale=vector(d, 1.0),
        shift=vector(d, radius) if offsets else None,
        bias=vector(v, size * radius) if offsets else None,
        centred=draw(st.booleans()),
    )
