"""One record per backend and token: what it claimed, what the judge could prove from it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from reach.compare.worker import Failure
from reach.scanning.judge import Judge
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, UNSPEAKABLE, ScanState
from solvers.attempt import Attempts, Status
from solvers.basis import candidate_supports
from solvers.problem import ArgmaxProblem

SOLVERS = pa.schema(
    [
        ("problem", pa.string()),  # model, gaussian, covariance
        ("backend", pa.string()),
        ("version", pa.string()),
        ("settings", pa.string()),  # digest of the settings
        ("token_id", pa.int32()),
        ("stratum", pa.string()),
        ("truth", pa.string()),  # speakable, unspeakable or undecided, from the scan's proofs
        ("status", pa.string()),  # the backend's own word, or how its process failed
        ("claim", pa.string()),  # speakable, unspeakable; null when it made none
        ("verified", pa.string()),  # what the checkers proved from its certificate; null for nothing
        ("lower", pa.float64()),  # bounds re-derived by the checkers, logits
        ("upper", pa.float64()),
        ("claimed_lower", pa.float64()),
        ("claimed_upper", pa.float64()),
        ("seconds", pa.float64()),
        ("work", pa.string()),  # JSON: the backend's own counters, for the call that held this token
        ("note", pa.string()),
    ]
)

_CLAIMS = {Status.WITNESS: "speakable", Status.NO_WITNESS: "unspeakable"}


def records_of(
    problem: ArgmaxProblem, rows: Int[Tensor, " n"], answer: Attempts | Failure, settings: ScanSettings
) -> list[dict[str, Any]]:
    """Judge one answer: a record for each row (without the columns that only the caller knows)."""
    n = len(rows)
    if isinstance(answer, Failure):
        share = answer.seconds / max(1, n)
        return [_record(status=answer.kind, seconds=share, note=answer.note) for _ in range(n)]
    if answer.rows.tolist() != rows.tolist():
        return [
            _record(status="error", seconds=answer.seconds / n, note="it answered about other rows") for _ in range(n)
        ]
    try:
        state = judged(problem, answer, settings)
    except (ValueError, IndexError, RuntimeError) as error:
        # What a backend hands over may be misshapen; that is its failure.
        note = f"its answer cannot be read: {' '.join(str(error).split())[:200]}"
        return [_record(status="error", seconds=answer.seconds / n, note=note) for _ in range(n)]
    work = json.dumps({key: float(value) for key, value in answer.work.items() if math.isfinite(value)})
    records = []
    for i, row in enumerate(rows.tolist()):
        verified = {SPEAKABLE: "speakable", UNSPEAKABLE: "unspeakable"}.get(int(state.verdict[row]))
        records.append(
            _record(
                status=str(answer.status[i]),
                claim=_CLAIMS.get(answer.status[i]),
                verified=verified,
                lower=_finite(state.lower[row]),
                upper=_finite(state.upper[row]),
                claimed_lower=_finite(float(answer.lower[i])),
                claimed_upper=_finite(float(answer.upper[i])),
                seconds=answer.seconds / n,
                work=work,
                note=answer.note or None,
            )
        )
    return records


def judged(problem: ArgmaxProblem, answer: Attempts, settings: ScanSettings) -> ScanState:
    """What the checkers prove from an answer's certificates alone, exact hull membership included."""
    state = ScanState(problem.v)
    judge = Judge(problem, state, settings)
    judge.witnesses(answer, 0, credit=False)
    judge.hulls(answer, 0)
    if problem.cone or not problem.margin_bounded:
        for row, hull in list(state.candidates.items()):
            any(judge.exact_hull(row, support, 0) for support in candidate_supports(problem, row, hull.rows))
    return state


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _record(**known: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(SOLVERS.names)
    return empty | known


def row_tensor(rows: list[int]) -> Int[Tensor, " n"]:
    """Row numbers as the backends take them."""
    return torch.tensor(rows, dtype=torch.int64)
