"""Random small heads of every kind, each as the project's problem and in rational numbers.

What a head is made of: integers, or numbers of some precision, with planted means and mixtures of rows (rounded or
exact), copies, near copies; scale, shift and bias of a norm; centring; sizes from tiny to large; and a domain, which
is sometimes the very one that just touches where some token would begin to win.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from exact_solver import ZERO, Everywhere, ExactHead, InBall, InBox, Region, Vector, dot

from solvers.domains import Ball, Box, Domain, Free
from solvers.problem import ArgmaxProblem

TIMES = float(os.environ.get("FUZZ_TIMES", "1"))
START = int(os.environ.get("FUZZ_START", "0"))
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def seeds(parts: int, of: int) -> list[range]:
    """Numbers of heads for a test in parts, as many times as FUZZ_TIMES says, from FUZZ_START on."""
    return [range(START + part * of, START + (part + 1) * of) for part in range(max(1, round(parts * TIMES)))]


@dataclass(frozen=True)
class Head:
    """A problem, the same in rational numbers, and whether its digits are so few that no margin is tiny by chance."""

    problem: ArgmaxProblem
    exact: ExactHead
    coarse: bool
    name: str


def vector(values: torch.Tensor) -> Vector:
    return [Fraction(x) for x in values.to(torch.float64).tolist()]


def exactly(problem: ArgmaxProblem) -> ExactHead:
    """centre(W·diag(γ)) and W·β + b, from the factors."""
    rows, offsets = [], []
    for t in range(problem.v):
        raw = vector(problem.weight[t])
        row = raw if problem.scale is None else [w * g for w, g in zip(raw, vector(problem.scale), strict=True)]
        if problem.centred:
            mean = sum(row, ZERO) / len(row)
            row = [x - mean for x in row]
        offset = ZERO if problem.shift is None else dot(raw, vector(problem.shift))
        offsets.append(offset if problem.bias is None else offset + Fraction(float(problem.bias[t])))
        rows.append(row)
    region: Region = Everywhere()
    if isinstance(problem.domain, Ball):
        region = InBall(Fraction(problem.domain.squared_radius))
    elif isinstance(problem.domain, Box):
        region = InBox([Fraction(x) for x in problem.domain.lo], [Fraction(x) for x in problem.domain.hi])
    return ExactHead(rows, offsets, region)


def random_head(seed: int) -> Head:
    """The head with this number."""
    rng = np.random.default_rng(seed)
    d, v = int(rng.integers(1, 13)), int(rng.integers(2, 15))
    coarse = bool(rng.random() < 0.45)
    name = "integer" if coarse else str(rng.choice(["normal", "narrow", "shifted"]))
    rows = _integer_rows(rng, v, d) if coarse else _real_rows(rng, v, d, name)
    dtype = DTYPES[int(rng.integers(4))]
    rows = torch.from_numpy(rows).to(dtype).to(torch.float64).numpy()
    rows = _plant(rng, rows, dtype, coarse)
    power = (
        0 if rng.random() < 0.6 else int(rng.integers(-12, 13) if dtype == torch.float16 else rng.integers(-60, 61))
    )
    if dtype == torch.float16:
        power = max(-6, min(6, power))
    weight = torch.from_numpy(rows * 2.0**power).to(dtype)
    size = 2.0**power
    factors: dict[str, torch.Tensor | bool] = {}
    offsets = rng.random() < 0.7
    if rng.random() < 0.4:
        factors["scale"] = _numbers(rng, d, coarse, zeros=True)
    if offsets and rng.random() < 0.5:
        factors["shift"] = _numbers(rng, d, coarse)
    if offsets and (rng.random() < 0.6 or "shift" not in factors):
        factors["bias"] = _numbers(rng, v, coarse).to(torch.float64) * size
    if rng.random() < 0.3 and d > 1:
        factors["centred"] = True
    domain = _domain(rng, d, coarse)
    problem = ArgmaxProblem(weight, domain, **factors)  # type: ignore[arg-type]
    if rng.random() < 0.4:
        problem, coarse, name = _touching(rng, problem), False, name + ", touching"
    return Head(problem, exactly(problem), coarse, name)


def _integer_rows(rng: np.random.Generator, v: int, d: int) -> np.ndarray:
    most = int(rng.choice([1, 2, 3, 8]))
    return rng.integers(-most, most + 1, (v, d)).astype(float)


def _real_rows(rng: np.random.Generator, v: int, d: int, name: str) -> np.ndarray:
    rows = rng.standard_normal((v, d))
    if name == "narrow":
        rows = rng.standard_normal(d) + 1e-3 * rows
    elif name == "shifted":
        rows += 30 * rng.standard_normal(d)
    return rows


def _plant(rng: np.random.Generator, rows: np.ndarray, dtype: torch.dtype, coarse: bool) -> np.ndarray:
    """Put means, mixtures, copies and near copies of rows in the place of a few."""
    rows = rows.copy()
    v, d = rows.shape
    for _ in range(int(rng.integers(0, 4)) if v > 3 else 0):
        t = int(rng.integers(v))
        others = np.delete(np.arange(v), t)
        parts = rng.choice(others, size=min(len(others), int(rng.integers(1, d + 2))), replace=False)
        kind = rng.choice(["copy", "mean", "mixture", "near"])
        if kind == "copy":
            planted = rows[parts[0]]
        elif kind == "mean":
            planted = rows[parts[:2]].mean(axis=0)
        else:
            weights = rng.multinomial(16, np.full(len(parts), 1 / len(parts))) / 16
            planted = weights @ rows[parts]
        planted = torch.from_numpy(np.atleast_1d(planted)).to(dtype).to(torch.float64).numpy()
        if kind == "near" and not coarse:
            unit = torch.finfo(dtype).eps * np.abs(planted)
            planted = planted + unit * rng.integers(-2, 3, d) * (rng.random(d) < 0.5)
        rows[t] = planted
    return rows


def _numbers(rng: np.random.Generator, n: int, coarse: bool, zeros: bool = False) -> torch.Tensor:
    if coarse:
        values = rng.integers(-3, 4, n).astype(float)
        return torch.from_numpy(values if zeros else values + (values == 0) * (rng.random(n) < 0.5))
    values = rng.standard_normal(n) * 2.0 ** rng.integers(-3, 4)
    if zeros and rng.random() < 0.2:
        values[rng.integers(n)] = 0.0
    return torch.from_numpy(values).to(DTYPES[int(rng.integers(4))])


def _domain(rng: np.random.Generator, d: int, coarse: bool) -> Domain:
    kind = rng.choice(["free", "ball", "box"])
    if kind == "free":
        return Free()
    size = 2.0 ** int(rng.integers(-4, 5))
    if kind == "ball":
        return Ball(float(d) if rng.random() < 0.5 else size)
    lo = rng.integers(-3, 2, d).astype(float) if coarse else rng.uniform(-2, 1, d)
    return Box(lo * size, (lo + (rng.integers(1, 4, d) if coarse else rng.uniform(0.1, 3, d))) * size)


def _touching(rng: np.random.Generator, problem: ArgmaxProblem) -> ArgmaxProblem:
    """Move the domain or a bias so that some token's margin is 0, or a few units in the last place from it."""
    exact, t = exactly(problem), int(rng.integers(problem.v))
    steps = int(rng.choice([-1000, -3, -1, 0, 0, 1, 3, 1000]))
    if isinstance(problem.domain, Ball):
        square = exact.least_square(t)
        if square:
            radius = _stepped(_nearest(square), steps)
            if 0 < radius < math.inf:
                return problem.over(Ball(radius))
    elif isinstance(problem.domain, Box) and len(exact.equal_to(t)) < problem.v:
        bias = torch.zeros(problem.v, dtype=torch.float64) if problem.bias is None else problem.bias.clone()
        bias[t] = _stepped(_nearest(Fraction(float(bias[t])) - exact.margin(t)), steps)
        factors = {"scale": problem.scale, "shift": problem.shift, "bias": bias, "centred": problem.centred}
        return ArgmaxProblem(problem.weight, problem.domain, **factors)  # type: ignore[arg-type]
    return problem


def _nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _stepped(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    return value
