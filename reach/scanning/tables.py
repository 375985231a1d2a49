"""From the result of a scan to the tables of a run: the one place where rows become tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from reach.nearly_never import FORMAT_NAMES, finest_format
from reach.runs.inside import InsideProofs
from reach.runs.schema import EVIDENCE_NAMES, HULL_WEIGHTS, VERDICT_NAMES, VERDICTS
from reach.scanning.scan import EQUAL_ROWS_STAGE, ScanResult
from reach.scanning.state import NO_WITNESS, OPEN, SPEAKABLE, UNSPEAKABLE, WITNESS_KINDS, Hull
from reach.verdicts import RunTables
from reach.vocabulary import Vocabulary
from reach.witnesses import logits_at_witnesses
from solvers.problem import ArgmaxProblem


def verdict_names(result: ScanResult) -> np.ndarray:
    """`(v,)` the verdict of each token, None where it was not asked for. A token with an equal row can only tie."""
    merged, asked = result.merged, result.asked
    found = result.state.verdict[merged.row_of]
    tied = (merged.size > 1) & ((found == SPEAKABLE) | merged.everything_equal)
    members = (found == SPEAKABLE) & ~tied, tied, found == UNSPEAKABLE, (found == OPEN) & ~tied
    verdict = np.full(len(asked), None, dtype=object)
    for name, those in zip(VERDICT_NAMES, members, strict=True):
        verdict[asked & those] = name
    return verdict


def margins(result: ScanResult) -> tuple[np.ndarray, np.ndarray]:
    """`(v,)` lower and upper bounds on each token's margin, logits; ∓inf where none is known.

    A tied token meets its equal at every point, and is beaten by nobody else at the witness: its margin is 0.
    """
    tied, row_of = verdict_names(result) == "tied", result.merged.row_of
    return np.where(tied, 0.0, result.state.lower[row_of]), np.where(tied, 0.0, result.state.upper[row_of])


def build_tables(problem: ArgmaxProblem, result: ScanResult, vocabulary: Vocabulary) -> RunTables:
    """The tables for every token of the vocabulary."""
    state, asked, merged = result.state, result.asked, result.merged
    row_of, token_of = merged.row_of, merged.token_of
    verdict = verdict_names(result)
    tied, speakable, unspeakable, undecided = (
        verdict == name for name in ("tied", "speakable", "unspeakable", "undecided")
    )
    evidence = np.array([*EVIDENCE_NAMES, None], dtype=object)[state.evidence[row_of]]
    stages = np.array([*result.stages, None], dtype=object)[state.stage[row_of]]
    if merged.everything_equal:
        evidence[:], stages[:] = "exact", EQUAL_ROWS_STAGE
    has_witness = speakable | tied
    kinds = np.array(WITNESS_KINDS, dtype=object)[state.witness_kind[row_of]]
    lower, upper = margins(result)
    logit = _winning_logits(result)[row_of]
    nearly = np.where(speakable, finest_format(upper, logit), -1)
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
        "witness": _kept(kinds, has_witness | (unspeakable & (kinds != None)), pa.string()),  # noqa: E711
        "argmax_id": _kept(merged.first_of, tied, pa.int32()),
        "winning_logit": _kept(logit, has_witness & np.isfinite(logit), pa.float64()),
        "nearly_never": pa.array(np.array([*FORMAT_NAMES, None], dtype=object)[nearly], pa.string()),
    }
    verdicts = pa.table(columns, schema=VERDICTS)
    return RunTables(
        verdicts,
        _hull_table(result, unspeakable, state.hulls),
        _witnesses(result, has_witness | unspeakable),
        margin_weights=_margin_table(result, asked & ~tied & np.isfinite(upper)),
        inside=_inside(result, unspeakable),
    )


def _winning_logits(result: ScanResult) -> np.ndarray:
    """For every row of the problem that was scanned the logit at its witness; NaN without one."""
    state = result.state
    found = np.full(state.v, np.nan)
    rows = np.nonzero(state.witness_kind != NO_WITNESS)[0]
    found[rows] = logits_at_witnesses(result.merged.problem, state.kinds(rows), rows, state.certificates())
    return found


def _kept(values: np.ndarray, keep: np.ndarray, kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind, mask=~keep)


def _hull_table(result: ScanResult, members: np.ndarray, hulls: dict[int, Hull]) -> pa.Table:
    tokens, rows, weights = [], [], []
    for token in np.nonzero(members)[0].tolist():
        hull = hulls[int(result.merged.row_of[token])]
        tokens.append(np.full(len(hull.rows), token))
        rows.append(result.merged.token_of[hull.rows])
        weights.append(hull.weights)
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (tokens, rows, weights)]
    arrays = [
        pa.array(part.astype(kind.to_pandas_dtype()), kind)
        for part, kind in zip(joined, HULL_WEIGHTS.types, strict=True)
    ]
    return pa.table(arrays, schema=HULL_WEIGHTS)


def _margin_table(result: ScanResult, members: np.ndarray) -> pa.Table:
    """The weights that prove upper margins; of unspeakable tokens only where their hull proves less."""
    state, row_of, token_of = result.state, result.merged.row_of, result.merged.token_of
    alone = np.flatnonzero(members & (state.upper_by[row_of] >= 0))
    single = pa.table([alone, token_of[state.upper_by[row_of[alone]]], np.ones(len(alone))], names=HULL_WEIGHTS.names)
    several = _hull_table(result, members & np.isin(row_of, np.fromiter(state.bounds, np.int64)), state.bounds)
    table = pa.concat_tables([single.cast(HULL_WEIGHTS), several])
    return table.sort_by([("token_id", "ascending"), ("row_id", "ascending")])


def _inside(result: ScanResult, unspeakable: np.ndarray) -> InsideProofs | None:
    duals, token_of = result.state.duals, result.merged.token_of
    wanted = {int(result.merged.row_of[token]) for token in np.nonzero(unspeakable)[0]}
    rows = np.array(sorted(wanted & duals.keys()), dtype=np.int64)
    if not len(rows) or result.spread is None:
        return None
    return InsideProofs(token_of[result.spread], token_of[rows], np.stack([duals[row] for row in rows.tolist()]))


def _witnesses(result: ScanResult, has_witness: np.ndarray) -> dict[int, np.ndarray]:
    state = result.state
    wanted = {int(result.merged.row_of[token]) for token in np.nonzero(has_witness)[0]}
    return {int(result.merged.token_of[row]): point for row, point in state.witnesses.items() if row in wanted}
