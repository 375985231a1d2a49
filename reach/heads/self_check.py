"""Does the head that was read from a file do what the live model does?

Three claims are put to the test: the matrix and the bias are those that the live model holds; on real forward passes
the head's logits equal the model's own; and the states that the model hands to its head lie in the domain that
verdicts are about.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from reach.heads.head import Head
from reach.heads.live import LastStages, LiveHead
from solvers.errors import BadInput
from solvers.rounding import UNIT_FLOAT32

_SLACK = 4
"""Tolerance as a multiple of the rounding that a float32 sum of d terms shows, √d·u (Higham and Mary 2019, *A New
Approach to Probabilistic Rounding Error Analysis*). The worst case, d·u, would let small faults of wide heads by."""


@dataclass(frozen=True)
class SelfCheckReport:
    """What a self-check found.

    Attributes:
        ok: all claims held.
        states: hidden states looked at.
        logit_deviation: largest |head's logit − model's logit| after scale and cap, logits.
        logit_tolerance: the tolerance at that logit (float32 rounding of the model's own sums), logits.
        logit_excess: largest deviation as a multiple of its tolerance; the claim holds up to 1.
        norm_excess: the same for γ ⊙ z + β against the output of the model's norm; 0 without a norm.
        domain_reach: largest ‖z‖ as a share of the ball's radius (below 1 inside), or of how far the box reaches; 0
            on `Free`.
        outside: states that lie outside the domain.
        same_argmax: share of states at which head and model choose the same token.
        sentence: the outcome for a person.
    """

    ok: bool
    states: int
    logit_deviation: float
    logit_tolerance: float
    logit_excess: float
    norm_excess: float
    domain_reach: float
    outside: int
    same_argmax: float
    sentence: str

    def record(self) -> dict[str, Any]:
        """What a manifest keeps of it."""
        return asdict(self)


def self_check(head: Head, model: str | Path, tokenizer: Any | None = None, seed: int = 0) -> SelfCheckReport:
    """Run the live model in float32 and compare.

    Args:
        head: the head as read from the files.
        model: the model's folder or Hub id.
        tokenizer: something with `encode`, to read a sentence beside the random tokens.
        seed: of the random tokens.

    Raises:
        MissingExtra: transformers is not installed.
        BadInput: transformers cannot load or run the model, or it has no head at all.
    """
    live = LiveHead(model, head)
    states = [_compare(head, stages) for stages in live.passes(head, tokenizer, seed)]
    return _report(head, states, live.faults(head), live.random_parts)


@dataclass(frozen=True)
class _Compared:
    """The comparison on one sequence of n states."""

    deviation: Float[Tensor, "n v"]
    tolerance: Float[Tensor, "n v"]
    norm_excess: float
    reach: Float[Tensor, " n"]
    agrees: Bool[Tensor, " n"]


# --- the comparison ------------------------------------------------------------------------------------------------


def _compare(head: Head, stages: LastStages) -> _Compared:
    before, after, entered, logits = stages.before, stages.after, stages.entered, stages.logits
    if logits.shape[1] != head.v:
        raise BadInput(f"the live model has {logits.shape[1]} logits, but the head has {head.v} rows")
    norm_excess = 0.0
    if head.norm is None:
        state, spread = entered, torch.ones(len(entered), dtype=torch.float64)
    else:
        if before is None or after is None or before.shape[1] != head.d:
            raise BadInput(
                f"the live model runs no norm of {head.d} dimensions before its head, but {head.norm} is claimed"
            )
        state, spread = before, _amplification(head, before)
    if state.shape[1] != head.d:
        raise BadInput(f"the live model's head reads {state.shape[1]} dimensions, but the head has {head.d}")
    z = head.normalise(state)
    normed = head.normed(z)
    worst = _SLACK * (math.sqrt(head.d) + 16) * UNIT_FLOAT32
    if head.norm is not None:
        assert after is not None
        # Each entry is off by the rounding of the whole state (its mean and variance), hence the vector's own length.
        allowed = worst * spread * _length(normed) + 1e-30
        norm_excess = float((_length(normed - after) / allowed).max())

    ours = _as_model(head, head.logits(z))
    row_norm = torch.cat([row.to(torch.float64).norm(dim=1) for row in head.weight.split(4096)])
    size = _length(normed)[:, None] * spread[:, None] * row_norm + (
        0 if head.bias is None else head.bias.abs().double()
    )
    # A cap has slope at most 1 and a scale stretches errors by itself.
    tolerance = worst * head.logit_scale * size + 1e-30
    if head.softcap is not None:
        tolerance = tolerance + 8 * UNIT_FLOAT32 * head.softcap
    return _Compared(
        (ours - logits).abs(),
        tolerance,
        norm_excess,
        head.domain.gauge(z),
        ours.argmax(dim=1) == logits.argmax(dim=1),
    )


def _as_model(head: Head, logits: Tensor) -> Tensor:
    """Logits after the model's own scale and soft cap."""
    scaled = logits * head.logit_scale
    return scaled if head.softcap is None else head.softcap * torch.tanh(scaled / head.softcap)


def _amplification(head: Head, before: Tensor) -> Tensor:
    """By how much the norm magnifies relative errors of its input: a large common mean cancels in a LayerNorm."""
    assert head.eps is not None
    centred = before - before.mean(dim=1, keepdim=True) if head.norm == "layernorm" else before
    scale = (centred.square().mean(dim=1) + head.eps).sqrt()
    return 1 + _length(before) / math.sqrt(head.d) / scale


def _length(rows: Tensor) -> Tensor:
    return rows.norm(dim=1)


def _report(
    head: Head, compared: list[_Compared], other_parts: list[str], random_parts: list[str]
) -> SelfCheckReport:
    deviation = torch.cat([part.deviation for part in compared])
    tolerance = torch.cat([part.tolerance for part in compared])
    reach = torch.cat([part.reach for part in compared])
    agrees = torch.cat([part.agrees for part in compared])
    norm_excess = max(part.norm_excess for part in compared)
    excess = deviation / tolerance
    finite = bool(torch.isfinite(excess).all()) and math.isfinite(norm_excess) and bool(torch.isfinite(reach).all())
    worst = int(excess.argmax())
    # Where eps is far below the variance, ‖z‖ rounds to the radius itself although it is below it.
    outside = int((reach > 1 + 1e-12).sum())
    logits_ok = finite and float(excess.max()) <= 1
    norm_ok = finite and norm_excess <= 1
    found = SelfCheckReport(
        ok=logits_ok and norm_ok and outside == 0 and not other_parts,
        states=len(reach),
        logit_deviation=float(deviation.flatten()[worst]),
        logit_tolerance=float(tolerance.flatten()[worst]),
        logit_excess=float(excess.max()),
        norm_excess=norm_excess,
        domain_reach=float(reach.max()),
        outside=outside,
        same_argmax=float(agrees.double().mean()),
        sentence="",
    )
    faults = [*other_parts]
    if not norm_ok:
        faults.append(f"the norm's output differs from the live model's by {found.norm_excess:.3g} × the tolerance")
    if not logits_ok:
        faults.append(f"{_deviation(found)}, {found.logit_excess:.3g} × the tolerance")
    if found.outside:
        faults.append(f"{found.outside} of {found.states} states lie outside the domain {head.domain.describe()}")
    return replace(found, sentence=_sentence(head, found, faults, random_parts))


def _deviation(found: SelfCheckReport) -> str:
    return (
        f"the logits differ from the live model's by at most {found.logit_deviation:.2g} "
        f"(tolerance {found.logit_tolerance:.2g}) over {found.states} states"
    )


def _sentence(head: Head, found: SelfCheckReport, faults: list[str], random_parts: list[str]) -> str:
    """The outcome in words."""
    if found.ok:
        return f"self-check passed: {_deviation(found)}, and every state lies in the domain {head.domain.describe()}"
    text = "self-check FAILED: " + "; ".join(faults)
    if random_parts:
        text += f"; transformers found no {', '.join(random_parts[:3])} in the files and made them up at random"
    return text
