"""What is proved of domains: which points lie inside, how far v·z goes, and which domain lies in which.

Each kind of domain has its own class here, which reads the domain's numbers and calls none of its methods: the
geometry that searches use may be wrong, and nothing that is proved depends on it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property, lru_cache

import flint
import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from solvers.checks.numbers import as_integers, power
from solvers.domains import Ball, BallBox, Box, Domain, Ellipsoid, Free
from solvers.problem import ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT64, gamma, row_lengths, underflow


class Certified(ABC):
    """What is proved of one domain."""

    @abstractmethod
    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Which finite points lie in the domain. Exactly so: a rounding bound first, rational numbers where close."""

    @abstractmethod
    def support(self, v: Float64[Tensor, " d"], v_error: float, *, rigorous: bool, directions: bool) -> float:
        """Upper bound on sup of w·z over the domain, for every w with ‖w − v‖ ≤ v_error; +inf where there is none.

        Args:
            v: the vector.
            v_error: how far the vector that is meant may lie from it.
            rigorous: count what is rounded here.
            directions: without offsets an unbounded domain counts as the unit ball.
        """

    def supports(
        self, v: Float64[Tensor, "n d"], v_error: Float64[np.ndarray, " n"], *, rigorous: bool, directions: bool
    ) -> Float64[np.ndarray, " n"]:
        """`support` of many vectors."""
        pairs = zip(v, v_error.tolist(), strict=True)
        return np.array([self.support(one, e, rigorous=rigorous, directions=directions) for one, e in pairs])

    @abstractmethod
    def not_positive(self, v: list[Fraction], delta: Fraction) -> bool:
        """Whether sup v·z + δ ≤ 0 is proved, in rational arithmetic."""

    @abstractmethod
    def enclosing_ball(self, d: int) -> tuple[Float64[Tensor, " d"], float]:
        """Centre and radius of a ball that holds the domain, whatever was rounded."""

    @abstractmethod
    def in_ball(self, squared_radius: Fraction) -> bool:
        """Whether all of the domain is proved to lie in the open ball of this R²."""

    @abstractmethod
    def in_box(self, lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> bool:
        """Whether all of the domain is proved to lie in this box."""

    @abstractmethod
    def holds(self, other: Certified) -> bool:
        """Whether every point of the other domain is proved to be one of this."""


class _Free(Certified):
    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        return torch.ones(len(points), dtype=torch.bool)

    def support(self, v: Float64[Tensor, " d"], v_error: float, *, rigorous: bool, directions: bool) -> float:
        return _ball_support(1.0, v, v_error, rigorous) if directions else math.inf

    def supports(
        self, v: Float64[Tensor, "n d"], v_error: Float64[np.ndarray, " n"], *, rigorous: bool, directions: bool
    ) -> Float64[np.ndarray, " n"]:
        return _ball_supports(1.0, v, v_error, rigorous) if directions else np.full(len(v), math.inf)

    def not_positive(self, v: list[Fraction], delta: Fraction) -> bool:
        return not any(v) and delta <= 0

    def enclosing_ball(self, d: int) -> tuple[Float64[Tensor, " d"], float]:
        return torch.zeros(d, dtype=torch.float64), math.inf

    def in_ball(self, squared_radius: Fraction) -> bool:  # noqa: ARG002
        return False

    def in_box(self, lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> bool:  # noqa: ARG002
        return False

    def holds(self, other: Certified) -> bool:  # noqa: ARG002
        return True


class _Ball(Certified):
    def __init__(self, domain: Ball) -> None:
        self.squared_radius = domain.squared_radius
        self.radius = math.sqrt(domain.squared_radius)

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        squares = (points.to(torch.float64) ** 2).sum(dim=1)
        room = gamma(points.shape[1] + 2)
        inside = squares * (1 + room) < self.squared_radius
        close = ~inside & (squares * (1 - room) < self.squared_radius)
        if self.squared_radius < 2.0**-900:  # there the squares underflow
            inside[:] = False
            close = torch.isfinite(points).all(dim=1)
        for i in torch.nonzero(close).flatten().tolist():
            total = sum((Fraction(x) ** 2 for x in points[i].to(torch.float64).tolist()), Fraction(0))
            inside[i] = total < Fraction(self.squared_radius)
        return inside

    def support(self, v: Float64[Tensor, " d"], v_error: float, *, rigorous: bool, directions: bool) -> float:  # noqa: ARG002
        return _ball_support(self.radius, v, v_error, rigorous)

    def supports(
        self,
        v: Float64[Tensor, "n d"],
        v_error: Float64[np.ndarray, " n"],
        *,
        rigorous: bool,
        directions: bool,  # noqa: ARG002
    ) -> Float64[np.ndarray, " n"]:
        return _ball_supports(self.radius, v, v_error, rigorous)

    def not_positive(self, v: list[Fraction], delta: Fraction) -> bool:
        square = sum((x * x for x in v), Fraction(0))
        return delta <= 0 and Fraction(self.squared_radius) * square <= delta * delta

    def enclosing_ball(self, d: int) -> tuple[Float64[Tensor, " d"], float]:
        return torch.zeros(d, dtype=torch.float64), self.radius

    def in_ball(self, squared_radius: Fraction) -> bool:
        return Fraction(self.squared_radius) <= squared_radius

    def in_box(self, lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> bool:
        square = Fraction(self.squared_radius)
        return all(a <= 0 <= b and min(Fraction(a) ** 2, Fraction(b) ** 2) >= square for a, b in _pairs(lo, hi))

    def holds(self, other: Certified) -> bool:
        return other.in_ball(Fraction(self.squared_radius))


def _ball_support(radius: float, v: Float64[Tensor, " d"], v_error: float, rigorous: bool) -> float:
    return float(_ball_supports(radius, v[None], np.array([v_error]), rigorous)[0])


def _ball_supports(
    radius: float, v: Float64[Tensor, "n d"], v_error: Float64[np.ndarray, " n"], rigorous: bool
) -> Float64[np.ndarray, " n"]:
    room = 1 + gamma(v.shape[1] + 6) if rigorous else 1.0
    return room * radius * (row_lengths(v).numpy() * room + v_error)


class _Box(Certified):
    def __init__(self, domain: Box) -> None:
        self.lo, self.hi = torch.from_numpy(domain.lo), torch.from_numpy(domain.hi)

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        exact = points.to(torch.float64)
        return ((exact >= self.lo) & (exact <= self.hi)).all(dim=1)

    def support(self, v: Float64[Tensor, " d"], v_error: float, *, rigorous: bool, directions: bool) -> float:  # noqa: ARG002
        room = 1 + gamma(len(v) + 6) if rigorous else 1.0
        reach = torch.maximum(self.lo.abs(), self.hi.abs())
        terms = torch.maximum(self.lo * v, self.hi * v)
        rounding = gamma(len(v) + 6) * float(terms.abs().sum()) if rigorous else 0.0
        return float(terms.sum()) + rounding + room * float(row_lengths(reach[None])[0]) * v_error

    def reach(self, v: list[Fraction]) -> Fraction:
        """sup of v·z, exactly."""
        pairs = zip(self.lo.tolist(), self.hi.tolist(), v, strict=True)
        return sum((max(Fraction(lo) * x, Fraction(hi) * x) for lo, hi, x in pairs), Fraction(0))

    def not_positive(self, v: list[Fraction], delta: Fraction) -> bool:
        return self.reach(v) + delta <= 0

    def enclosing_ball(self, d: int) -> tuple[Float64[Tensor, " d"], float]:
        centre, half = self.lo / 2 + self.hi / 2, self.hi / 2 - self.lo / 2
        # The computed centre lies up to a rounding beside the true one, and every length is rounded.
        reach = half + 2 * UNIT_FLOAT64 * (centre.abs() + half)
        return centre, float(row_lengths(reach[None])[0]) * (1 + gamma(d + 8))

    def in_ball(self, squared_radius: Fraction) -> bool:
        pairs = zip(self.lo.tolist(), self.hi.tolist(), strict=True)
        return sum((max(Fraction(a) ** 2, Fraction(b) ** 2) for a, b in pairs), Fraction(0)) < squared_radius

    def in_box(self, lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> bool:
        return bool((lo <= self.lo.numpy()).all() and (self.hi.numpy() <= hi).all())

    def holds(self, other: Certified) -> bool:
        return other.in_box(self.lo.numpy(), self.hi.numpy())


class _BallBox(Certified):
    """For every w, R·‖v − w‖ + sup of w·z over the box bounds sup of v·z: proofs need a good w, and no more."""

    def __init__(self, domain: BallBox) -> None:
        self.ball, self.box = _Ball(domain.ball), _Box(domain.box)

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        return self.ball.inside(points) & self.box.inside(points)

    def _for_the_box(self, v: Float64[np.ndarray, " d"]) -> list[Float64[np.ndarray, " d"]]:
        """Parts of v to leave to the box: none, all, and what faces hold where the ball and the box share v.

        There z = clip(t·v) with ‖z‖ = R, and a face holds what v has beyond z/t. No proof depends on t.
        """
        lo, hi = self.box.lo.numpy(), self.box.hi.numpy()
        found = [np.zeros_like(v), v]
        size = float(np.abs(v).max(initial=0.0))
        if not 0 < size < math.inf:
            return found
        low, high = -500.0, 500.0  # of log₂ t
        for _ in range(70):
            middle = (low + high) / 2
            long = float(np.linalg.norm(np.clip(2.0**middle * (v / size), lo, hi))) > self.ball.radius
            low, high = (low, middle) if long else (middle, high)
        z = np.clip(2.0**low * (v / size), lo, hi)
        held = np.where((z <= lo) | (z >= hi), v - (z / 2.0**low) * size, 0.0)
        return [*found, held] if np.isfinite(held).all() else found

    def support(self, v: Float64[Tensor, " d"], v_error: float, *, rigorous: bool, directions: bool) -> float:
        bounds = []
        for part in self._for_the_box(v.numpy()):
            face = torch.from_numpy(part)
            round_ = self.ball.support(v - face, v_error, rigorous=rigorous, directions=directions)
            flat = self.box.support(face, 0.0, rigorous=rigorous, directions=directions)
            # The difference may be flushed to zero, and the sum is rounded.
            lost = underflow(len(v), torch.float64) * (1 + self.ball.radius) + gamma(4) * (round_ + abs(flat))
            bounds.append(round_ + flat + (lost if rigorous else 0.0))
        return min(bound if math.isfinite(bound) else math.inf for bound in bounds)

    def not_positive(self, v: list[Fraction], delta: Fraction) -> bool:
        largest = max(map(abs, v), default=Fraction(0))
        unit = power(largest.numerator.bit_length() - largest.denominator.bit_length()) if largest else Fraction(1)
        for part in self._for_the_box(np.array([float(x / unit) for x in v])):
            # Exact from here on: what the box does not get, the ball gets.
            face = [Fraction(float(x)) * unit for x in part]
            if self.ball.not_positive([x - y for x, y in zip(v, face, strict=True)], delta + self.box.reach(face)):
                return True
        return self.box.not_positive(v, delta)

    def enclosing_ball(self, d: int) -> tuple[Float64[Tensor, " d"], float]:
        return min(self.ball.enclosing_ball(d), self.box.enclosing_ball(d), key=lambda found: found[1])

    def in_ball(self, squared_radius: Fraction) -> bool:
        return self.ball.in_ball(squared_radius) or self.box.in_ball(squared_radius)

    def in_box(self, lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> bool:
        return self.ball.in_box(lo, hi) or self.box.in_box(lo, hi)

    def holds(self, other: Certified) -> bool:
        return self.ball.holds(other) and self.box.holds(other)


class _Ellipsoid(Certified):
    """z = μ + L x with ‖x‖ < r.

    A computed inverse M of L decides what is clear: M(z − μ) = (I − E)·x with E = I − M L.
    """

    def __init__(self, domain: Ellipsoid) -> None:
        self.domain, self.radius = domain, domain.radius
        self.mu, self.factor = torch.from_numpy(domain.mu), torch.from_numpy(domain.factor)

    @cached_property
    def _reach(self) -> float:
        """Bound on r·‖L‖, by Frobenius' norm or √(‖L‖₁·‖L‖_∞), which is tight for diagonal L."""
        size = self.factor.abs()
        frobenius = float(row_lengths(row_lengths(self.factor)[None])[0])
        mixed = math.sqrt(float(size.sum(dim=0).max())) * math.sqrt(float(size.sum(dim=1).max()))
        lost = underflow(size.numel(), torch.float64) * (1 + self.radius)
        return self.radius * min(frobenius, mixed) * (1 + gamma(2 * len(size) + 16)) + lost

    @cached_property
    def _inverse(self) -> tuple[Float64[Tensor, "d d"], float]:
        """M, and a room: what is computed for ‖M(z − μ)‖ decides where it differs from r by more. NaN without M."""
        try:
            inverse = torch.from_numpy(np.linalg.inv(self.factor.numpy()))
        except np.linalg.LinAlgError:
            inverse = torch.full_like(self.factor, math.nan)
        d = len(inverse)
        # What is computed for ‖x‖ is off by ‖E‖·‖x‖ and by roundings: 1 of z − μ, d of its product with M, d + 2 of
        # the length. They count against |M||z − μ| ≤ |M||L||x|, and the d roundings of M L against |M||L| as well.
        off = (inverse @ self.factor - torch.eye(d, dtype=torch.float64)).abs()
        off += gamma(3 * d + 8) * (inverse.abs() @ self.factor.abs())
        # Underflow of M L is nothing beside that: on the diagonal |M||L| is at least a half, or E is.
        share = SECOND_ORDER * float(row_lengths(row_lengths(off)[None])[0])
        lost = underflow(inverse.numel(), torch.float64) * (1 + float(inverse.abs().sum()))
        return inverse, share * self.radius + lost

    def inside(self, points: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        inverse, room = self._inverse
        beyond = row_lengths((points.to(torch.float64) - self.mu) @ inverse.T) - self.radius
        inside = beyond < 0
        clear = torch.isfinite(beyond) & (beyond.abs() > room)
        for i in torch.nonzero(~clear & torch.isfinite(points).all(dim=1)).flatten().tolist():
            inside[i] = self._exactly_inside(points[i])
        return inside

    def _exactly_inside(self, point: Float[Tensor, " d"]) -> bool:
        factor, exponent = as_integers(self.factor)
        both, shared = as_integers(torch.stack([point.to(torch.float64), self.mu]))
        matrix = flint.fmpq_mat(flint.fmpz_mat([[int(x) for x in row] for row in factor]))
        target = flint.fmpq_mat(flint.fmpz_mat([[int(a - b)] for a, b in zip(both[0], both[1], strict=True)]))
        try:
            solution = matrix.solve(target, algorithm="dixon")
        except ZeroDivisionError:
            return False
        square = sum((entry * entry for entry in solution.entries()), flint.fmpq(0))
        found = Fraction(int(square.p), int(square.q)) * power(shared - exponent) ** 2
        return found < Fraction(self.radius) ** 2

    def support(self, v: Float64[Tensor, " d"], v_error: float, *, rigorous: bool, directions: bool) -> float:  # noqa: ARG002
        middle, sizes = float(self.mu @ v), float(self.mu.abs() @ v.abs())
        value = middle + self.radius * float(row_lengths((v @ self.factor)[None])[0])
        lean = float(row_lengths(self.mu[None])[0]) + self._reach
        if not rigorous:
            return value + lean * v_error
        d = len(v)
        # Both products, the length, and the sum, against what they would be without cancellation.
        sizes += self.radius * float(row_lengths((v.abs() @ self.factor.abs())[None])[0])
        rounding = gamma(2 * d + 16) * sizes + underflow(self.factor.numel(), torch.float64) * (1 + self.radius)
        return value + SECOND_ORDER * (rounding + lean * v_error)

    def not_positive(self, v: list[Fraction], delta: Fraction) -> bool:
        common = math.lcm(*(x.denominator for x in v))
        whole = np.array([x.numerator * (common // x.denominator) for x in v], dtype=object)
        mu, mu_exponent = as_integers(self.mu)
        factor, exponent = as_integers(self.factor)
        room = -(delta + Fraction(int(whole @ mu), common) * power(mu_exponent))
        square = Fraction(int((whole @ factor) @ (whole @ factor)), common**2) * power(exponent) ** 2
        return room >= 0 and Fraction(self.radius) ** 2 * square <= room * room

    def enclosing_ball(self, d: int) -> tuple[Float64[Tensor, " d"], float]:  # noqa: ARG002
        return self.mu, self._reach

    def in_ball(self, squared_radius: Fraction) -> bool:
        if self._reach == math.inf:
            return False
        # (‖μ‖ + reach)² ≤ R², with nothing rounded; the ellipsoid is open, as the ball is.
        middle = sum((Fraction(x) ** 2 for x in self.mu.tolist()), Fraction(0))
        square = Fraction(self._reach) ** 2
        left = squared_radius - middle - square
        return left >= 0 and 4 * middle * square <= left * left

    def in_box(self, lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> bool:
        factor, exponent = as_integers(self.factor)
        for middle, row, a, b in zip(self.mu.tolist(), factor, lo.tolist(), hi.tolist(), strict=True):
            square = Fraction(self.radius) ** 2 * sum(int(x) ** 2 for x in row) * power(exponent) ** 2
            least = min(Fraction(middle) - Fraction(a), Fraction(b) - Fraction(middle))
            if least * abs(least) < square:
                return False
        return True

    def holds(self, other: Certified) -> bool:
        """Only of itself."""
        if not isinstance(other, _Ellipsoid):
            return False
        same = np.array_equal(self.domain.mu, other.domain.mu) and self.radius >= other.radius
        return same and np.array_equal(self.domain.factor, other.domain.factor)


_KINDS: dict[type[Domain], Callable[..., Certified]] = {
    Free: lambda _: _Free(),
    Ball: _Ball,
    Box: _Box,
    BallBox: _BallBox,
    Ellipsoid: _Ellipsoid,
}


@lru_cache(maxsize=16)
def certified(domain: Domain) -> Certified:
    """What is proved of a domain.

    Raises:
        TypeError: nothing is, of this kind.
    """
    kind = _KINDS.get(type(domain))
    if kind is None:
        raise TypeError(f"nothing is proved of domains of the kind {type(domain).__name__}")
    return kind(domain)


def enclosing_ball(problem: ArgmaxProblem) -> tuple[Float64[Tensor, " d"], float]:
    """Centre and radius of a ball that holds the domain: radius 1 on `Free` with c = 0, else infinite there."""
    centre, radius = certified(problem.domain).enclosing_ball(problem.d)
    return centre, 1.0 if radius == math.inf and problem.zero_offset else radius


def _pairs(lo: Float64[np.ndarray, " d"], hi: Float64[np.ndarray, " d"]) -> list[tuple[float, float]]:
    return list(zip(lo.tolist(), hi.tolist(), strict=True))
