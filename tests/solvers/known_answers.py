"""Small problems whose answers are known by construction, each with the reason beside the number.

Numbers are exact binary fractions wherever an equality decides the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch

from solvers.checks.domains import enclosing_ball
from solvers.domains import Ball, BallBox, Box, Domain, Ellipsoid, Free
from solvers.problem import ArgmaxProblem

SPEAKABLE, TIED, UNSPEAKABLE = "speakable", "tied", "unspeakable"
_WORDS = {"S": SPEAKABLE, "T": TIED, "U": UNSPEAKABLE}


@dataclass(frozen=True)
class KnownAnswer:
    """A problem and the truth about each of its rows.

    Attributes:
        name: for test ids.
        problem: the argmax problem.
        verdicts: one of "speakable", "tied", "unspeakable" per row.
        margins: the margin per row in logits; None where it is not known or not bounded.
        reason: why.
    """

    name: str
    problem: ArgmaxProblem
    verdicts: tuple[str, ...]
    margins: tuple[float | None, ...]
    reason: str

    @property
    def speakable(self) -> list[bool]:
        """Whether some point makes the row the strict argmax."""
        return [verdict == SPEAKABLE for verdict in self.verdicts]

    @property
    def scale(self) -> float:
        """Size of the logits: what tolerances are relative to."""
        centre, radius = enclosing_ball(self.problem)
        radius += float(centre.norm())
        spread = float(self.problem.offset.max() - self.problem.offset.min())
        return (radius if self.problem.margin_bounded else 1.0) * float(self.problem.row_norm.max()) + spread


def problem_of(
    rows: Sequence[Sequence[float]],
    domain: Domain | None = None,
    offsets: Sequence[float] | None = None,
    *,
    scale: Sequence[float] | None = None,
    shift: Sequence[float] | None = None,
    centred: bool = False,
    dtype: torch.dtype = torch.float32,
) -> ArgmaxProblem:
    """A problem from plain numbers."""

    def vector(values: Sequence[float] | None) -> torch.Tensor | None:
        return None if values is None else torch.tensor(values, dtype=torch.float64)

    return ArgmaxProblem(
        torch.tensor(rows, dtype=dtype),
        Free() if domain is None else domain,
        scale=vector(scale),
        shift=vector(shift),
        bias=vector(offsets),
        centred=centred,
    )


def _known(
    name: str, problem: ArgmaxProblem, verdicts: str, margins: Sequence[float | None] | None, reason: str
) -> KnownAnswer:
    words = tuple(_WORDS[letter] for letter in verdicts)
    numbers = (None,) * len(words) if margins is None else tuple(margins)
    assert len(words) == len(numbers) == problem.v
    return KnownAnswer(name, problem, words, numbers, reason)


def _ellipse(mu: Sequence[float], factor: Sequence[Sequence[float]], radius: float = 1.0) -> Ellipsoid:
    return Ellipsoid(np.array(mu, dtype=float), np.array(factor, dtype=float), radius)


def _cut(squared_radius: float, lo: Sequence[float], hi: Sequence[float]) -> BallBox:
    return BallBox(Ball(squared_radius), Box(np.array(lo), np.array(hi)))


_CUBE = [[x, y, z] for x in (1.0, -1.0) for y in (1.0, -1.0) for z in (1.0, -1.0)]
_SQUARE = [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
_LINE = [[-1.0], [0.0], [1.0]]
_AXES = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]

FREE = (
    _known(
        "simplex",
        problem_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        "SSS",
        [sqrt(1.5)] * 3,
        "the nearest point of the other edge is its middle (0, ½, ½): distance² = 1 + ¼ + ¼",
    ),
    _known(
        "cube-with-centre",
        problem_of([*_CUBE, [0, 0, 0]]),
        "SSSSSSSSU",
        [2 / sqrt(3)] * 8 + [0],
        "a corner's three neighbours span the plane x+y+z = 1, the corner has 3: (3−1)/√3; the centre is the mean",
    ),
    _known(
        "cross-polytope",
        problem_of([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]),
        "SSSSSS",
        [1] * 6,
        "0 = (e₂ + (−e₂))/2 is the nearest point of the others' hull",
    ),
    _known(
        "middle-of-an-edge",
        problem_of([[0, 0], [2, 0], [1, 0], [0, 2]]),
        "SSUS",
        [2 / sqrt(5), 1, 0, 2],
        "(1,0) = ½(0,0) + ½(2,0); (0,0) faces the line 2x+y = 2, (2,0) the point (1,0), (0,2) the segment y = 0",
    ),
    _known(
        "centre-of-a-face",
        problem_of([*([x, y, 0] for x, y in _SQUARE), [0, 0, 1], [0, 0, 0]]),
        "SSSSSU",
        [sqrt(2)] * 4 + [1, 0],
        "the base's centre is the mean of two corners (in two ways: a degenerate support); a base corner faces the "
        "plane x+y = 0, which the others touch at the centre; the apex is 1 above the base",
    ),
    _known(
        "duplicated-rows",
        problem_of([[1, 0], [1, 0], [-1, 0], [0, 1]]),
        "TTSS",
        [0, 0, sqrt(2), 1],
        "rows 0 and 1 share every maximum; (−1,0) faces the line x+y = 1 at (0,1); (0,1) the segment y = 0",
    ),
    _known(
        "duplicates-inside",
        problem_of([[-1], [1], [0], [0], [-0.0]]),
        "SSUUU",
        [1, 1, 0, 0, 0],
        "three equal rows (−0 is 0) in the middle of the others: not tied, since even alone the row could not win",
    ),
    _known(
        "scaled-toward-the-mean",
        problem_of([*_SQUARE, *([x / 2, y / 2] for x, y in _SQUARE)]),
        "SSSSUUUU",
        [sqrt(0.5)] * 4 + [0] * 4,
        "rows halved toward the mean 0 lie inside the square; the nearest point to (1,1) is (½,½)",
    ),
    _known(
        "on-a-line",
        problem_of([[-1], [0], [1], [0.5]]),
        "SUSU",
        [1, 0, 0.5, 0],
        "in one dimension only the two ends can win, by the distance to the next row",
    ),
    _known(
        "half-precision",
        problem_of([[0.5, 0], [0, 0.5], [-0.5, -0.5], [0.125, 0.125]], dtype=torch.float16),
        "SSSU",
        None,
        "(⅛,⅛) is inside the triangle: x+y = ¼ < ½",
    ),
    _known(
        "bfloat16-line",
        problem_of([[-2], [1], [4]], dtype=torch.bfloat16),
        "SUS",
        [3, 0, 3],
        "1 is the middle of −2 and 4",
    ),
)

FREE_WITH_OFFSETS = (
    _known(
        "below-the-chord", problem_of(_LINE, offsets=[0, -1, 0]), "SUS", None, "(0,−1) lies below the chord y = 0"
    ),
    _known("above-the-chord", problem_of(_LINE, offsets=[0, 1, 0]), "SSS", None, "(0,1) lies above it: z = 0 wins"),
    _known(
        "on-the-chord", problem_of(_LINE, offsets=[-1, 0, 1]), "SUS", None, "(0,0) touches the chord: never alone"
    ),
    _known(
        "equal-offsets",
        problem_of(_LINE, offsets=[0.5, 0.5, 0.5]),
        "SUS",
        None,
        "offsets that are all equal change nothing, and the middle touches the chord",
    ),
    _known(
        "below-one-diagonal",
        problem_of([*_SQUARE, [0, 0]], offsets=[0, -10, -10, 0, -1]),
        "SSSSU",
        None,
        "the centre is below the diagonal of the two corners at 0, though far above the other one; the corners are "
        "extreme rows, which always win far out",
    ),
    _known(
        "equal-rows-other-offsets",
        problem_of([[0], [0], [1]], offsets=[0, 1, 0]),
        "USS",
        None,
        "row 0 is row 1 with a smaller offset",
    ),
    _known(
        "equal-rows-equal-offsets",
        problem_of([[1], [1], [-1]], offsets=[2, 2, 0]),
        "TTS",
        None,
        "rows 0 and 1 are one row twice, and win together",
    ),
)

BALL = (
    _known(
        "two-tokens",
        problem_of([[3, 0], [0, 4]], Ball(4), [0, -1]),
        "SS",
        [11, 9],
        "with one competitor the margin is R·‖a−b‖ + difference of offsets: 2·5 ± 1",
    ),
    _known(
        "parallel-and-dominated",
        problem_of([[1, 0], [2, 0]], Ball(4), [0, -8]),
        "SU",
        [10, -6],
        "2z₁−8 against z₁ with |z₁| < 2: at best 2·1 − 8",
    ),
    _known(
        "two-tokens-touching",
        problem_of([[1, 0], [2, 0]], Ball(4), [0, -2]),
        "SU",
        [4, 0],
        "2z₁−2 > z₁ needs z₁ > 2, which the open ball ‖z‖ < 2 just does not hold: R²‖v‖² = δ² exactly",
    ),
    _known(
        "equal-rows-other-offsets",
        problem_of([[1, 0], [1, 0], [-1, 0]], Ball(1), [0, 1, 0]),
        "USS",
        [-1, 1, 1],
        "row 0 is always 1 behind row 1; row 1 leads it by 1 and row 2 by 2z₁+1; row 2 leads row 1 by −2z₁−1",
    ),
    _known(
        "middle-lifted",
        problem_of(_LINE, Ball(1), [0, 0.5, 0]),
        "SSS",
        [0.5, 0.5, 0.5],
        "the middle wins at 0 by ½; z = ±1 leaves an end 1 − ½ ahead of it",
    ),
    _known(
        "middle-lowered",
        problem_of(_LINE, Ball(1), [0, -0.5, 0]),
        "SUS",
        [1.5, -0.5, 1.5],
        "half of each end is ½ above the middle everywhere; the ends lead it by 1 + ½ at z = ±1",
    ),
    _known(
        "ends-touching",
        problem_of(_LINE, Ball(1), [0, 1, 0]),
        "USU",
        [0, 1, 0],
        "an end beats the middle only at |z| > 1, which the open ball ends short of",
    ),
    _known(
        "unit-circle-with-centre",
        problem_of([*_AXES, [0, 0]], Ball(4), [0, 0, 0, 0, 0.5]),
        "SSSSS",
        [1.5] * 4 + [0.5],
        "the centre has ½ at z = 0, where opposite rows balance; a row e leads it by 2·1 − ½ at z = 2e",
    ),
    _known(
        "unit-circle-centre-sunk",
        problem_of([*_AXES, [0, 0]], Ball(4), [0, 0, 0, 0, -0.25]),
        "SSSSU",
        [2, 2, 2, 2, -0.25],
        "the mean of opposite rows is always ¼ ahead of the centre; the rows keep R × their distance 1 from the rest",
    ),
    _known(
        "layer-norm",
        problem_of([[3, 0, 0], [0, 3, 0], [0, 0, 3], [5, 5, 5]], Ball(3), scale=[1, 1, 1], centred=True),
        "SSSU",
        [sqrt(18)] * 3 + [0],
        "centred, the rows are (2,−1,−1), … and 0 = their mean; 0 is the nearest to (2,−1,−1), of length √6; R = √3",
    ),
    _known(
        "shift-becomes-offset",
        problem_of([[1, 0], [0, 1]], Ball(1), [0, 1], scale=[2, 2], shift=[4, 0]),
        "SU",
        [sqrt(8) + 3, sqrt(8) - 3],
        "c = W·(4,0) + (0,1) = (4,1) and A = 2W: R·‖(2,−2)‖ ± 3, and √8 < 3",
    ),
    _known(
        "scale-with-a-zero",
        problem_of([[1, 5], [1, 7], [-1, 0]], Ball(1), scale=[1, 0]),
        "TTS",
        [0, 0, 2],
        "the second column counts for nothing, so rows 0 and 1 are equal in A",
    ),
)

BOX = (
    _known(
        "cross-polytope",
        problem_of(_AXES, Box([-1, -1], [1, 1])),
        "SSSS",
        [1] * 4,
        "at z = e the row e leads ±f by 1 and −e by 2; λ = ½ on f and −f bounds it by the same",
    ),
    _known(
        "quadrant",
        problem_of([[1, 0], [0, 1], [0, 0], [-1, -1]], Box([0, 0], [1, 1])),
        "SSUU",
        [1, 1, 0, 0],
        "with z ≥ 0 neither 0 nor −z₁−z₂ ever exceeds z₁; all meet at the corner 0",
    ),
    _known(
        "line-with-offsets",
        problem_of(_LINE, Box([-1], [3]), [0, 0, -2]),
        "SSS",
        [1, 1, 1],
        "−z leads 0 by 1 at z = −1; z−2 leads 0 by 1 at z = 3; 0 leads both by 1 at z = 1",
    ),
    _known(
        "away-from-zero",
        problem_of(_LINE, Box([1], [2])),
        "UUS",
        [-2, -1, 2],
        "for 1 ≤ z ≤ 2 the order is fixed: −z is at best 2 behind z, 0 is at best 1 behind, z is 2 ahead at z = 2",
    ),
    _known(
        "equal-rows-other-offsets",
        problem_of([[1], [1]], Box([-1], [1]), [0, 0.25]),
        "US",
        [-0.25, 0.25],
        "z cancels",
    ),
    _known(
        "unequal-sides",
        problem_of([[1, 0], [0, 1], [0, 0]], Box([-1, -4], [2, 1]), [0, 0, 1.5]),
        "SUS",
        [0.5, -0.5, 2.5],
        "z₁ leads 1½ by ½ at z₁ = 2; z₂ ends ½ short of 1½; at (−1,−4) the constant leads z₁ by 2½ and z₂ by 5½",
    ),
    _known(
        "centre-of-a-square",
        problem_of([*_SQUARE, [0, 0]], Box([-1, -1], [1, 1])),
        "SSSSU",
        [2] * 4 + [0],
        "at its own corner a row has 2, its neighbours and the centre 0: λ = ½ on the neighbours bounds it by 2",
    ),
)

ELLIPSOID = (
    _known(
        "two-tokens",
        problem_of([[3, 0], [0, 4]], _ellipse([0, 0], [[1, 0], [0, 2]]), [0, -1]),
        "SS",
        [sqrt(73) + 1, sqrt(73) - 1],
        "against one competitor v = ±(3,−4), and the ellipse reaches ‖Lᵀv‖ = ‖(3,−8)‖ along it",
    ),
    _known(
        "leaning",
        problem_of([[1, 0], [0, 1]], _ellipse([0.5, 0], [[1, 0], [1, 1]], 2)),
        "SS",
        [2.5, 1.5],
        "Lᵀ(1,−1) = (0,−1): the set reaches 2 either way, and its middle leads by ½",
    ),
    _known(
        "away-from-zero",
        problem_of(_LINE, _ellipse([2], [[1]])),
        "UUS",
        [-2, -1, 3],
        "for 1 < z < 3 the order is fixed: −z is at best 2 behind z, 0 is at best 1 behind, z is 3 ahead at z = 3",
    ),
    _known(
        "two-tokens-touching",
        problem_of([[1, 0], [2, 0]], _ellipse([1, 0], [[1, 0], [0, 5]]), [0, -2]),
        "SU",
        [2, 0],
        "2z₁−2 > z₁ needs z₁ > 2, where the open ellipse ends",
    ),
    _known(
        "middle-lowered",
        problem_of(_LINE, _ellipse([1], [[2]]), [0, -0.5, 0]),
        "SUS",
        [1.5, -0.5, 3.5],
        "−1 < z < 3: half of each end is ½ above the middle everywhere; the ends lead it by 1 + ½ at −1, 3 + ½ at 3",
    ),
)

BALL_BOX = (
    _known(
        "corners-inside",
        problem_of(_AXES, _cut(4, [-1, -1], [1, 1])),
        "SSSS",
        [1] * 4,
        "all corners lie inside the ball of radius 2: the box alone",
    ),
    _known(
        "sphere-and-face",
        problem_of([[3, 4], [0, 0]], _cut(1, [-1, -1], [0.28, 1])),
        "SS",
        [4.68, 5],
        "where the face z₁ = 0.28 meets the unit circle, at (0.28, 0.96), row 0 has 0.84 + 3.84; the other way the "
        "circle alone holds, at (−0.6, −0.8)",
    ),
    _known(
        "neither-alone",
        problem_of([[3, 4], [0, 0]], _cut(1, [-1, -1], [0.28, 1]), [0, 4.75]),
        "US",
        [4.68 - 4.75, 9.75],
        "over the ball row 0 would reach 5, over the box 4.84; over both 4.68 < 4.75",
    ),
    _known(
        "away-from-zero",
        problem_of(_LINE, _cut(4, [1], [3])),
        "UUS",
        [-2, -1, 2],
        "for 1 ≤ z < 2 the order is fixed: −z is at best 2 behind z, 0 is at best 1 behind, z is 2 ahead at z = 2",
    ),
    _known(
        "unit-circle-centre-sunk",
        problem_of([*_AXES, [0, 0]], _cut(4, [-3, -3], [3, 3]), [0, 0, 0, 0, -0.25]),
        "SSSSU",
        [2, 2, 2, 2, -0.25],
        "the ball alone: the mean of opposite rows is always ¼ ahead of the centre",
    ),
)

ALL = (*FREE, *FREE_WITH_OFFSETS, *BALL, *BOX, *ELLIPSOID, *BALL_BOX)


def case_id(case: KnownAnswer) -> str:
    """For `pytest.mark.parametrize`."""
    return f"{case.problem.domain.describe().split(':')[0]}-{case.name}"
