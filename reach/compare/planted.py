"""Planted heads: problems in which the margins of many rows are known by construction, however small they are.

Each planted row has a cluster of its own. With u an exactly known unit vector, h a height and s_i vectors orthogonal
to u, the cluster's rows h·u + s_i span a facet of the hull, q = Σλ_i(h·u + s_i) is a point on it, and

    p = q + D·u    D ≥ 0: the row stands out of the facet by D, and nothing else comes near it;
    p = q − D·u    it lies below the facet, in the hull of the cluster's rows and of the row q − u.

*Proof.* Let every other row a have u·a ≤ h. Then u itself shows that p leads every row by at least D per unit of ‖z‖,
and the weights λ show that it leads by no more: the margin over a ball of radius R is exactly R·D. With equal offsets
c within the cluster and c + γ for p, the same z and λ give R·D + γ, provided that R·(h − u·a) + c − c[a] ≥ 0. Since q
is not the middle of the facet, p does not win at its own direction unless D is large.

*Nothing interferes.* Directions have four entries ±½, so two of them differ by at least ¼ in their inner product, and
‖s_i‖ = 1/16: rows of other clusters reach ¾·(1 + 1/32) + 1/16 < 0.836 along u, while h = ⅞. Margins above ⅛ of the
row norm do not fit beside each other like that: each such direction is ± a coordinate that no other row uses.

*Nothing is rounded.* All numbers are integers times one power of two, kept as 64-bit integers until the end, when
every entry is checked to be a float64 as it stands. So are the layers of reflections I − vvᵀ/2 (v = ±1 on four
coordinates) that turn the whole head, so that no coordinate stays special. Float32 cannot hold the rows: what prices
every row in float32 alone cannot tell margins far below 1e-7 from none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from solvers.attempt import Hulls
from solvers.domains import Ball, Domain, Free
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

DEFAULT_LEVELS = tuple(10.0**-k for k in range(11))
"""Margins relative to the row norm, from 1 down to 1e-10."""

SMALLEST_LEVEL = 1e-11
"""Smaller margins would not leave room for the other digits of a float64."""

_BITS = 46
"""Planted numbers are whole multiples of 2^-46 before the head is turned."""
_BLOCK_ENTRIES = 2**16
"""Entries that are turned at once: few enough for a processor's cache."""
_NEAR = 1 / 8
"""Levels up to this share the space of the four-entry directions; larger ones need a coordinate of their own."""
_HEIGHT = 7 / 8
_REACH = 1 / 16
_STEP = 1 / 64


@dataclass(frozen=True, eq=False)
class PlantedHead:
    """A problem with the truth about n of its rows, and the proofs of it. Nothing is said about the other rows.

    Attributes:
        problem: the argmax problem.
        rows: `(n,)` the planted row numbers.
        margins: `(n,)` the margin of each, divided by R·‖row‖ (R = 1 on `Free`): 0 where the row lies in the hull,
            negative where offsets hold it down.
        speakable: `(n,)` the truth: margin > 0.
        levels: `(n,)` the level that each was planted for: its relative margin, or its relative depth where it is
            unspeakable; 0 where it touches a facet.
        logit_margins: `(n,)` the same margins in logits; exactly, unless the ball's radius had to be rounded.
        directions: `(n, d)` the unit vectors u at which they are attained, exactly.
        points: `(n, d)` witnesses of the speakable rows, exactly inside the domain; NaN for the others.
        hulls: weights that bound each margin by itself, exactly (they add up to 1 without rounding).
    """

    problem: ArgmaxProblem
    rows: Int64[np.ndarray, " n"]
    margins: Float64[np.ndarray, " n"]
    speakable: Bool[np.ndarray, " n"]
    levels: Float64[np.ndarray, " n"]
    logit_margins: Float64[np.ndarray, " n"]
    directions: Float64[Tensor, "n d"]
    points: Float64[Tensor, "n d"]
    hulls: Hulls

    def at(self, level: float, *, speakable: bool) -> Int64[np.ndarray, " k"]:
        """Positions (not row numbers) of the plants of one level and truth."""
        return np.nonzero((self.levels == level) & (self.speakable == speakable))[0]


@dataclass
class _Plant:
    """One plant: what is decided before any row is laid down."""

    level: float
    speakable: bool
    height: float
    out: float  # D, negative below the facet
    gamma: float  # the row's offset less that of its cluster, divided by R
    floor: bool = False
    far: bool = False  # its direction is ± a coordinate of its own
    base: float = 0.0  # the cluster's offset, divided by R
    axis: int = -1
    sign: int = 1
    rivals: int = 0
    facet: list[int] = field(default_factory=list)


def planted_head(
    d: int,
    v: int,
    levels: Sequence[float] = DEFAULT_LEVELS,
    per_level: int = 4,
    seed: int = 0,
    offsets: bool = False,
    domain: Domain | None = None,
) -> PlantedHead:
    """A head with `per_level` speakable and `per_level` unspeakable rows at each level.

    Args:
        d: dimensions, at least 4.
        v: rows in all. What the plants and their clusters do not need becomes filler well inside the hull.
        levels: margins relative to the row norm, from 1 down to `SMALLEST_LEVEL`; each is met within 10 %,
            and the margin itself is known exactly. A level of 0 plants unspeakable rows that touch a facet.
        per_level: plants of each truth per level.
        seed: decides everything that is random.
        offsets: unlike without, offsets differ, and unspeakable rows are held down by theirs (margin < 0).
        domain: `Free` (the default) or a `Ball`. With offsets a ball whose radius is a power of two, so that margins
            are exact; by default the one nearest to √d.

    Raises:
        BadInput: the plants do not fit, a level is out of range, or the domain is none of these.
    """
    domain = _checked_domain(d, offsets, domain)
    for level in levels:
        if not (level == 0 or SMALLEST_LEVEL <= level <= 1):
            raise BadInput(f"levels must be 0 or lie between {SMALLEST_LEVEL:g} and 1, not {level:g}")
    if d < 4 or per_level < 1 or not len(levels) or len(set(levels)) != len(levels):
        raise BadInput("a planted head needs d ≥ 4, per_level ≥ 1 and at least one level, each once")
    rng = np.random.default_rng(seed)
    plants = _decide(levels, per_level, offsets, rng)
    own_axes = _give_axes(plants, rng)
    free = d - own_axes  # the four-entry directions, the facets and the filler live in the first `free` coordinates
    near = sum(not plant.far for plant in plants)
    if free < 4 or near > math.comb(free, 4) * 16:
        raise BadInput(f"{len(plants)} planted rows do not fit into {d} dimensions: take more, or plant fewer rows")
    left = _size_clusters(plants, v, free)
    builder = _Builder(d, free, rng)
    used: set[tuple[int, ...]] = set()
    for plant in plants:
        builder.add(plant, used)
    builder.fill(left)
    return builder.finish(plants, domain, offsets)


def _checked_domain(d: int, offsets: bool, domain: Domain | None) -> Domain:
    if domain is None:
        return Ball(4.0 ** round(math.log2(max(d, 1)) / 2)) if offsets else Free()
    radius = domain.isotropic_radius
    if radius is None:
        raise BadInput(f"margins are planted on a ball or on all of R^d, not on a {domain.word}")
    if offsets and not (math.frexp(radius)[0] == 0.5 and radius**2 == domain.ball_radius_squared):
        raise BadInput("with offsets the margins are exact only on a ball whose radius is a power of two")
    return domain


def _short(value: float) -> float:
    """The nearest number with five significant bits."""
    if value == 0:
        return 0.0
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 32), exponent - 5)


def _decide(levels: Sequence[float], per_level: int, offsets: bool, rng: np.random.Generator) -> list[_Plant]:
    plants = []
    for level in levels:
        for speakable in [True] * (per_level if level else 0) + [False] * per_level:
            # How far a row stands out although its offset takes that away again.
            idle = _STEP * int(rng.integers(0, 3)) if offsets and level else 0.0
            height = _HEIGHT
            if speakable:
                # (margin)/(height + margin) is the level; a level near 1 leaves no room for a height of its own.
                margin = _short(height * level / (1 - level)) if level <= _NEAR else _short(level)
                height = height if level <= _NEAR else 1 - margin
                plant = _Plant(level, True, height, margin + idle, -idle)
            elif offsets:
                plant = _Plant(level, False, height, idle, -idle - _short(height * level))
            else:
                depth = _short(height * level / (1 + level))
                plant = _Plant(level, False, height, -depth, 0.0, floor=depth > 0)
            # Clusters may differ by as much as the distance between them allows (module docstring).
            plant.far = speakable and level > _NEAR
            if offsets:
                plant.base = _STEP if plant.far else _STEP * int(rng.integers(-8, 9)) / 8
            plants.append(plant)
    return plants


def _give_axes(plants: list[_Plant], rng: np.random.Generator) -> int:
    """Give a signed coordinate of its own to each plant that needs one, and say how many coordinates that takes."""
    far = [plant for plant in plants if plant.far]
    for i, place in enumerate(rng.permutation(len(far))):
        far[place].axis, far[place].sign = i // 2, 1 - 2 * (i % 2)
    return (len(far) + 1) // 2


def _size_clusters(plants: list[_Plant], v: int, free: int) -> int:
    """Share v rows among the clusters, as many as a facet can have, and return how many are left for filler."""
    fixed = sum(1 + plant.floor for plant in plants)
    least = fixed + 2 * len(plants)
    if v < least:
        raise BadInput(f"{len(plants)} planted rows need at least {least} rows in all, not {v}")
    spare = v - least
    most = free - 1  # a facet has as many rows as dimensions; below the two that are counted already
    each = min(most - 1, spare // len(plants))
    for plant in plants:
        plant.rivals = 2 + each
    return spare - each * len(plants)


class _Builder:
    """Lays down rows as whole numbers of 2^-46."""

    def __init__(self, d: int, free: int, rng: np.random.Generator) -> None:
        self.d, self.free, self.rng = d, free, rng
        self.blocks: list[Int64[np.ndarray, "k d"]] = []
        self.bases: list[float] = []
        self.directions: list[Int64[np.ndarray, " d"]] = []
        self.places: list[int] = []
        self.weights: list[Float64[np.ndarray, " k"]] = []
        self.count = 0

    def _lay(self, rows: Int64[np.ndarray, "k d"], base: float) -> list[int]:
        self.blocks.append(rows)
        self.bases += [base] * len(rows)
        self.count += len(rows)
        return list(range(self.count - len(rows), self.count))

    def add(self, plant: _Plant, used: set[tuple[int, ...]]) -> None:
        """The cluster of one plant, then the plant."""
        rng, k = self.rng, plant.rivals
        u, tangents = self._frame(plant, used)
        chosen = rng.permutation(len(tangents))[: k - 1]
        spokes = (tangents[chosen] * rng.choice([-1, 1], size=(k - 1, 1))) * _whole(_REACH / 2)
        # The first spoke in both directions: k rows that span k−1 dimensions.
        sides = np.concatenate([spokes, -spokes[:1]])
        # Two more than needed where a float64 has room for them beside the digits of the smallest margins.
        bits = max(k.bit_length(), min(k.bit_length() + 2, 12))
        share = 1 + rng.multinomial(2**bits - k, rng.dirichlet(np.ones(k)))
        along = u * _whole(0.5)  # u is kept doubled, so that ½ is a whole number
        facet = u * _whole(plant.height / 2) + sides
        middle = u * _whole(plant.height / 2) + share @ sides // 2**bits
        plant.facet = self._lay(facet, plant.base)
        weights = share / 2.0**bits
        if plant.floor:
            plant.facet += self._lay((middle - along)[None], plant.base)
            products = [int(part) * _whole(1 + plant.out) for part in share]
            if any(int(float(product)) != product for product in products):
                raise BadInput(f"hull weights over {k} rows cannot be held exactly; leave out the smallest level")
            weights = np.append(np.ldexp(np.array(products, dtype=np.float64), -_BITS - bits), -plant.out)
        here = self._lay((middle + u * _whole(plant.out / 2))[None], plant.base + plant.gamma)
        self.places += here
        self.weights.append(weights)
        self.directions.append(along)

    def _frame(
        self, plant: _Plant, used: set[tuple[int, ...]]
    ) -> tuple[Int64[np.ndarray, " d"], Int64[np.ndarray, "t d"]]:
        """Twice a unit vector u, and twice an orthonormal basis of what is orthogonal to it in the free space."""
        u = np.zeros(self.d, dtype=np.int64)
        units = 2 * np.eye(self.free, self.d, dtype=np.int64)
        if plant.far:
            u[self.free + plant.axis] = 2 * plant.sign
            return u, units
        while True:
            support = np.sort(self.rng.choice(self.free, size=4, replace=False))
            signs = self.rng.choice([-1, 1], size=4)
            key = (*support.tolist(), *signs.tolist())
            if key not in used:
                break
        used.add(key)
        u[support] = signs
        inside = np.zeros((3, self.d), dtype=np.int64)
        inside[:, support] = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) * signs
        return u, np.concatenate([inside, np.delete(units, support, axis=0)])

    def fill(self, rows: int) -> None:
        """Rows of norm ≤ ½ in the free coordinates."""
        if not rows:
            return
        size = 2.0 ** math.floor(math.log2(0.5 / math.sqrt(self.free)))
        entries = np.zeros((rows, self.d), dtype=np.int64)
        entries[:, : self.free] = self.rng.integers(-128, 129, size=(rows, self.free)) * _whole(size / 128)
        self._lay(entries, 0.0)

    def finish(self, plants: list[_Plant], domain: Domain, offsets: bool) -> PlantedHead:
        """Turn and shuffle everything, and hand it over as float64."""
        rng, n = self.rng, len(plants)
        whole = np.concatenate([*self.blocks, np.stack(self.directions)])
        turned = _turn(whole, rng)
        order = rng.permutation(self.count)
        place = np.argsort(order)
        rows, directions = turned[: self.count][order], turned[self.count :]
        radius = domain.isotropic_radius or 1.0
        bias = radius * np.array(self.bases)[order]
        problem = ArgmaxProblem(torch.from_numpy(rows), domain, bias=torch.from_numpy(bias) if offsets else None)
        index = place[np.array(self.places)]
        exact = np.array([radius * (max(plant.out, 0.0) + plant.gamma) for plant in plants])
        points = np.full((n, self.d), np.nan)
        for i, plant in enumerate(plants):
            if plant.speakable:
                points[i] = directions[i] * (radius * _witness_length(plant))
        hulls: list[tuple[np.ndarray, np.ndarray] | None] = [
            (place[np.array(plant.facet)], weights) for plant, weights in zip(plants, self.weights, strict=True)
        ]
        return PlantedHead(
            problem=problem,
            rows=index,
            margins=exact / (radius * np.linalg.norm(rows[index], axis=1)),
            speakable=np.array([plant.speakable for plant in plants]),
            levels=np.array([plant.level for plant in plants]),
            logit_margins=exact,
            directions=torch.from_numpy(directions),
            points=torch.from_numpy(points),
            hulls=Hulls.pack(hulls),
        )


def _witness_length(plant: _Plant) -> float:
    """How far along u, in radii, a point inside the ball keeps at least half of the margin."""
    # At (1 − η)·R·u the lead over the facet is R·(D + γ − η·D); the rows of other clusters, at least 0.0078·R behind
    # at R·u where offsets differ, come closer by at most η·R·(h + D + 1.04).
    margin = plant.out + plant.gamma
    return 1 - min(2.0**-10, 2.0 ** math.floor(math.log2(margin / (2 * plant.out))))


def _whole(value: float) -> int:
    """A number as whole multiples of 2^-46."""
    scaled = math.ldexp(value, _BITS)
    if scaled != int(scaled):
        raise ValueError(f"{value!r} is no multiple of 2^-{_BITS}")
    return int(scaled)


def _turn(rows: Int64[np.ndarray, "n d"], rng: np.random.Generator) -> Float64[np.ndarray, "n d"]:
    """The rows under a random exactly orthogonal map, as float64 without any rounding.

    Each layer doubles the whole numbers (its entries are halves); ⌈log₄ d⌉ + 1 layers mix all coordinates.
    """
    d = rows.shape[1]
    layers = []
    for _ in range(math.ceil(math.log(d, 4)) + 1):
        four = rng.permutation(d)[: d - d % 4].reshape(-1, 4)
        layers.append((four, rng.choice(np.array([-1, 1]), size=four.shape)))
    # Entries stay below the row's norm, and sums of four of them below 2^63.
    if len(layers) + _BITS > 58:
        raise BadInput(f"a planted head of {d} dimensions cannot be held exactly")
    turned = np.empty(rows.shape)
    step = max(1, _BLOCK_ENTRIES // d)
    for start in range(0, len(rows), step):
        block = rows[start : start + step]
        for four, signs in layers:
            part = block[:, four]
            block = 2 * block
            block[:, four] -= signs * (part * signs).sum(axis=2, keepdims=True)
        turned[start : start + step] = block
        if not (turned[start : start + step].astype(np.int64) == block).all():
            raise BadInput(f"a planted head of {d} dimensions cannot be held exactly; leave out the smallest level")
    return np.ldexp(turned, -_BITS - len(layers))
