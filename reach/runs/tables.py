"""From the result of a scan to the tables of a run folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reach.nearly_never import FORMAT_NAMES, finest_format
from reach.runs.schema import EVIDENCE_NAMES, HULL_WEIGHTS, VERDICTS
from reach.scan.scan import EQUAL_ROWS_STAGE, ScanResult
from reach.scan.state import NO_WITNESS, OPEN, SPEAKABLE, UNSPEAKABLE, WITNESS_KINDS, Hull
from reach.scan.witnesses import logits_at_witnesses
from reach.vocabulary import Vocabulary
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class RunTables:
    """The tables, and the stored witnesses by the token that they belong to. Tables that are None are not written."""

    verdicts: pa.Table
    hull_weights: pa.Table
    witnesses: dict[int, np.ndarray]
    margin_weights: pa.Table | None = None
    nearest: pa.Table | None = None


def build_tables(problem: ArgmaxProblem, result: ScanResult, vocabulary: Vocabulary) -> RunTables:
    """The tables for every token of the vocabulary."""
    state, row_of, token_of = result.state, result.row_of, result.token_of
    everything_equal = len(token_of) < 2
    size = np.bincount(result.first_of, minlength=problem.v)[result.first_of]
    verdict_of = state.verdict[row_of]
    asked = result.asked
    tied = asked & (size > 1) & ((verdict_of == SPEAKABLE) | everything_equal)
    speakable = asked & ~tied & (verdict_of == SPEAKABLE)
    unspeakable = asked & (verdict_of == UNSPEAKABLE)
    undecided = asked & (verdict_of == OPEN) & ~tied
    verdict = np.full(problem.v, None, dtype=object)
    for name, members in (
        ("speakable", speakable), ("tied", tied), ("unspeakable", unspeakable), ("undecided", undecided),
    ):  # fmt: skip
        verdict[members] = name
    evidence = np.array([*EVIDENCE_NAMES, None], dtype=object)[state.evidence[row_of]]
    stages = np.array([*result.stages, None], dtype=object)[state.stage[row_of]]
    if everything_equal:
        evidence[:], stages[:] = "exact", EQUAL_ROWS_STAGE
    has_witness = speakable | tied
    kinds = np.array(WITNESS_KINDS, dtype=object)[state.witness_kind[row_of]]
    # A tied token meets its equal at every point, and is beaten by nobody else at the witness: its margin is 0.
    lower = np.where(tied, 0.0, state.lower[row_of])
    upper = np.where(tied, 0.0, state.upper[row_of])
    logit = _winning_logits(result)[row_of]
    nearly = np.where(speakable, finest_format(upper, logit), -1)
    # The journal of an earlier version may hold a bound without its weights: that proves nothing any more.
    bare = (nearly >= 0) & ~np.isin(row_of, np.fromiter(state.bounds, dtype=np.int64))
    upper[bare], nearly[bare] = np.inf, -1
    runner_up = state.runner_up[row_of]
    runner_up = np.where(runner_up >= 0, token_of[np.clip(runner_up, 0, None)], -1)
    reasons = [
        state.reasons.get(int(row_of[t]), "no stage has settled it") if undecided[t] else None
        for t in range(problem.v)
    ]
    columns = {
        "token_id": pa.array(np.arange(problem.v), pa.int32()),
        "token": pa.array(vocabulary.pieces, pa.string()),
        "text": pa.array(vocabulary.texts, pa.string()),
        "verdict": pa.array(verdict, pa.string()),
        "evidence": _kept(evidence, has_witness | unspeakable, pa.string()),
        "own_direction": pa.array(state.own_direction[row_of] & asked),
        "margin_lower": _kept(lower, asked & np.isfinite(lower), pa.float64()),
        "margin_upper": _kept(upper, asked & np.isfinite(upper), pa.float64()),
        "stage": _kept(stages, has_witness | unspeakable, pa.string()),
        "runner_up_id": _kept(runner_up, asked & (runner_up >= 0), pa.int32()),
        "row_norm": pa.array(problem.row_norm.numpy(), pa.float64()),
        "reason": pa.array(reasons, pa.string()),
        "witness": _kept(kinds, has_witness, pa.string()),
        "argmax_id": _kept(result.first_of, tied, pa.int32()),
        "winning_logit": _kept(logit, has_witness & np.isfinite(logit), pa.float64()),
        "nearly_never": pa.array(np.array([*FORMAT_NAMES, None], dtype=object)[nearly], pa.string()),
    }
    verdicts = pa.table(columns, schema=VERDICTS)
    return RunTables(
        verdicts,
        _hull_table(result, unspeakable, state.hulls),
        _witnesses(result, has_witness),
        _hull_table(result, nearly >= 0, state.bounds) if (nearly >= 0).any() else None,
    )


def _winning_logits(result: ScanResult) -> np.ndarray:
    """For every row of the problem that was scanned the logit at its witness; NaN without one."""
    found = np.full(result.problem.v, np.nan)
    rows = np.nonzero(result.state.witness_kind != NO_WITNESS)[0]
    found[rows] = logits_at_witnesses(result.problem, result.state, rows)
    return found


def _kept(values: np.ndarray, keep: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.array([value if kept else None for value, kept in zip(values.tolist(), keep, strict=True)], kind)


def _hull_table(result: ScanResult, members: np.ndarray, hulls: dict[int, Hull]) -> pa.Table:
    tokens, rows, weights = [], [], []
    for token in np.nonzero(members)[0].tolist():
        hull = hulls[int(result.row_of[token])]
        tokens.append(np.full(len(hull.rows), token))
        rows.append(result.token_of[hull.rows])
        weights.append(hull.weights)
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (tokens, rows, weights)]
    arrays = [
        pa.array(part.astype(kind.to_pandas_dtype()), kind)
        for part, kind in zip(joined, HULL_WEIGHTS.types, strict=True)
    ]
    return pa.table(arrays, schema=HULL_WEIGHTS)


def _witnesses(result: ScanResult, has_witness: np.ndarray) -> dict[int, np.ndarray]:
    state = result.state
    wanted = {int(result.row_of[token]) for token in np.nonzero(has_witness)[0]}
    return {int(result.token_of[row]): point for row, point in state.witnesses.items() if row in wanted}
