"""Tokens that win by less than a number format can tell apart: true of real numbers, and of hardly any machine.

The step of a format at a logit is the distance between neighbouring numbers there. A speakable token is *nearly
never* in a format if its margin is proved to be smaller than the step at its winning logit; docs/mathematics.md says
what that means, and what it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from solvers.checks.domains import enclosing_ball
from solvers.problem import ArgmaxProblem
from solvers.recipes import far_along
from solvers.rounding import UNIT_FLOAT32, gamma, row_lengths, underflow

_SMALLEST_EXPONENT = -126
_LARGEST_EXPONENT = 127


@dataclass(frozen=True)
class NumberFormat:
    """A binary floating-point format: its name, and the bits of its significand (the leading one included).

    Both formats here have the exponents of float32.
    """

    name: str
    bits: int

    def step(self, logit: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """The distance to the next number away from 0, at numbers of the size of these logits.

        That is 2u·2^⌊log₂|logit|⌋ with u the unit roundoff 2^−bits. It is 0 where a logit is too large for the
        format, and NaN where it is unknown.
        """
        exponent = np.where(logit == 0, _SMALLEST_EXPONENT, np.frexp(logit)[1] - 1)
        step = np.ldexp(1.0, np.maximum(exponent, _SMALLEST_EXPONENT) + 1 - self.bits)
        step = np.where(exponent > _LARGEST_EXPONENT, 0.0, step)
        return np.where(np.isfinite(logit), step, np.nan)


FLOAT32, BFLOAT16 = NumberFormat("float32", 24), NumberFormat("bfloat16", 8)
FORMATS = (FLOAT32, BFLOAT16)
"""From the finest to the coarsest: what is below a step of one is below that of all after it."""
FORMAT_NAMES = tuple(form.name for form in FORMATS)


def finest_format(upper: Float64[np.ndarray, " n"], logit: Float64[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The finest format in which each token is nearly never, as an index into `FORMATS`; −1 for none.

    Args:
        upper: `(n,)` proved upper bounds on the margins, logits; NaN or +inf where none is known.
        logit: `(n,)` winning logits; NaN where there is none.
    """
    found = np.full(len(upper), -1)
    for code in reversed(range(len(FORMATS))):
        with np.errstate(invalid="ignore"):
            found[upper < FORMATS[code].step(logit)] = code
    return found


def unresolved(
    lower: Float64[np.ndarray, " n"],
    upper: Float64[np.ndarray, " n"],
    logit: Float64[np.ndarray, " n"],
    formats: tuple[NumberFormat, ...] = FORMATS,
) -> Bool[np.ndarray, " n"]:
    """Which margins may or may not be below a step, as far as their bounds tell, in one of the formats at least.

    Args:
        lower, upper: `(n,)` proved bounds on the margins, logits; NaN or ∓inf where none is known.
        logit: `(n,)` winning logits; where there is none (NaN), nothing is asked.
        formats: those that are asked about.
    """
    lower, upper = np.nan_to_num(lower, nan=-np.inf), np.nan_to_num(upper, nan=np.inf)
    found = np.zeros(len(lower), dtype=bool)
    for form in formats:
        step = form.step(logit)
        with np.errstate(invalid="ignore"):
            found |= (lower < step) & ~(upper < step)
    return found


def count(
    finest: Int[np.ndarray, " n"],
    lower: Float64[np.ndarray, " n"],
    upper: Float64[np.ndarray, " n"],
    logit: Float64[np.ndarray, " n"],
) -> dict[str, int]:
    """How many tokens are nearly never in each format, and for how many (`open`) one of the formats is not settled.

    What is nearly never in float32 is so in bfloat16: the counts are nested.

    Args:
        finest: `(n,)` what `finest_format` gives; any other number than an index into `FORMATS` is none.
        lower, upper, logit: `(n,)` as `unresolved` takes them. All of speakable tokens.
    """
    nested = {form.name: int(((finest >= 0) & (finest <= at)).sum()) for at, form in enumerate(FORMATS)}
    return {**nested, "open": int(unresolved(lower, upper, logit).sum())}


def winning_logits(
    problem: ArgmaxProblem, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"]
) -> Float64[np.ndarray, " n"]:
    """The logit of each row at its witness, in float64.

    Without offsets a witness stands for its whole ray. The logit is then taken at the farthest point of the domain
    along it (on `Free` at length 1), where its margin is taken as well.
    """
    z = points.to(torch.float64)
    if problem.cone:
        z = far_along(problem, z)
    logits: Float64[np.ndarray, " n"] = ((problem.rows(rows) * z).sum(dim=1) + problem.offset[rows]).numpy()
    return logits


def largest_steps(problem: ArgmaxProblem) -> Float64[np.ndarray, " v"]:
    """For each row a bound on the step of the coarsest format at any logit that it has in the domain, logits."""
    centre, radius = enclosing_ball(problem)
    middle = problem.offset
    if bool(centre.any()):
        middle = middle + torch.cat([problem.rows(block) @ centre for block in problem.blocks(24 * problem.d)])
    largest: Float64[np.ndarray, " v"] = (middle.abs() + radius * problem.row_norm).numpy()
    return 2.0 ** (1 - FORMATS[-1].bits) * largest


def winning_logit_room(
    problem: ArgmaxProblem, rows: Int[Tensor, " n"], points: Float[Tensor, "n d"], *, recipe: bool
) -> Float64[np.ndarray, " n"]:
    """How far two computations of the same winning logits may lie apart by rounding alone, logits.

    Args:
        problem: the argmax problem.
        rows: `(n,)` row numbers.
        points: `(n, d)` their witnesses.
        recipe: the points were made anew from a recipe, and rounded to float32 then.
    """
    z = points.to(torch.float64)
    length = row_lengths(far_along(problem, z) if problem.cone else z)
    relative = gamma(2 * problem.d + 16) + (4 * UNIT_FLOAT32 if recipe else 0.0)
    size = length * (problem.row_norm[rows] + problem.row_error[rows])
    room = relative * (size + problem.offset[rows].abs()) + length * problem.row_error[rows]
    room += problem.offset_error[rows] + underflow(problem.d, torch.float64)
    found: Float64[np.ndarray, " n"] = (4 * room).numpy()
    return found
