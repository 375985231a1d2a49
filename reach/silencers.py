"""Pairs of tokens of which one never beats the other: on a ball R·‖a_t − a_j‖ + c_t − c_j ≤ 0 says so at once.

Token j then *silences* t all alone. A token that wins somewhere has no silencer, so only the others are looked at:
one blocked product of their rows with all. Where there are no offsets every such number is a length, and no row is
silenced by one that differs from it. Imports no solver.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float64, Int
from torch import Tensor

from reach.runs.columns import MISSING, ids
from reach.runs.schema import SILENCERS
from solvers.checks.equal_rows import equal_row_classes
from solvers.checks.exact import bound_by_weights
from solvers.checks.witness import single_competitor_bound
from solvers.domains import Ball
from solvers.problem import BLOCK_BYTES, ArgmaxProblem
from solvers.rounding import SECOND_ORDER, UNIT_FLOAT64, gamma, underflow

STRONGEST = 5
_MOST_EXACT = 4096
"""Pairs that touch within rounding and are decided in rational arithmetic; any beyond them are not counted."""
_MAY_HAVE = ("unspeakable", "undecided")
_AGREE = 1e-6


def silencer_table(problem: ArgmaxProblem, verdicts: pa.Table) -> pa.Table | None:
    """For each token that single others silence how many they are, and the strongest few (schema `SILENCERS`).

    Tokens of an equal row and offset are no silencers of each other: they are tied.

    Args:
        problem: with a row for every token.
        verdicts: of the run; tokens that win somewhere, or were not asked for, are left out.

    Returns:
        None where the domain is no ball or there are no offsets.
    """
    if not isinstance(problem.domain, Ball) or problem.zero_offset:
        return None
    verdict = np.array(verdicts.column("verdict").to_pylist(), dtype=object)
    tokens = np.flatnonzero(np.isin(verdict, _MAY_HAVE))
    counts, rivals, bounds = silencers(problem, torch.from_numpy(tokens))
    silenced = np.flatnonzero(counts)
    kept = [np.isfinite(bounds[at]) for at in silenced]
    few = ([part[at][keep].tolist() for at, keep in zip(silenced, kept, strict=True)] for part in (rivals, bounds))
    columns = (tokens[silenced], counts[silenced], *few)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SILENCERS.types, strict=True)]
    return pa.table(arrays, schema=SILENCERS)


def silencers(
    problem: ArgmaxProblem, tokens: Int[Tensor, " n"], *, limit: int = BLOCK_BYTES
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "n k"], Float64[np.ndarray, "n k"]]:
    """How many single tokens silence each of these, and the strongest: ids and what they bound its margin by.

    Args:
        problem: over a ball, with a row for every token.
        tokens: their ids.
        limit: bytes for one block of pairs.

    Returns:
        Counts; ids (−1 where there are fewer) and proved bounds, logits (+inf there), the lowest first.
    """
    few = min(STRONGEST, problem.v - 1)
    counts = np.zeros(len(tokens), dtype=np.int64)
    rivals = np.full((len(tokens), few), -1, dtype=np.int64)
    bounds = np.full((len(tokens), few), np.inf)
    if not len(tokens):
        return counts, rivals, bounds
    work = _Work(problem)
    step = max(1, limit // (8 * problem.v * 6))
    for start in range(0, len(tokens), step):
        block = slice(start, min(start + step, len(tokens)))
        counts[block], rivals[block], bounds[block] = work.block(tokens[block], few)
    return counts, rivals, bounds


def silencer_faults(problem: ArgmaxProblem, verdicts: pa.Table, recorded: pa.Table) -> Iterator[tuple[int, str]]:
    """Find the silencers of a run again; yields the tokens of which the record is wrong, and how."""
    expected = silencer_table(problem, verdicts)
    if expected is None:
        if recorded.num_rows:
            yield int(ids(recorded, "token_id")[0]), "it is recorded as silenced, but this head has no silencers"
        return
    found, true = (_by_token(table) for table in (recorded, expected))
    for token in sorted(found.keys() ^ true.keys()):
        yield token, f"single tokens {'silence' if token in true else 'do not silence'} it, which is not recorded"
    for token in sorted(found.keys() & true.keys()):
        (count, named, said), (others, _, best) = found[token], true[token]
        if count != others:
            yield token, f"it is recorded as silenced by {count} single tokens, but is by {others}"
        elif not len(named) == len(said) == len(best) or len(set(named.tolist())) != len(named):
            yield token, "its strongest silencers are not those that it has"
        elif ((named < 0) | (named >= problem.v)).any():
            yield token, "a silencer is named that does not exist"
        else:
            rows = torch.full((len(named),), token), torch.from_numpy(named)
            again = single_competitor_bound(problem, *rows).numpy()
            close = _AGREE * np.abs(best) + 1e-12 * float(problem.offset.abs().max())
            if not (np.abs(said - best) <= close).all():
                yield token, f"its silencers are recorded with margins of at most {said}, but have {best}"
            elif not (np.abs(np.minimum(again, 0.0) - said) <= close).all():
                yield token, "a token that is named as its silencer does not have the margin that is recorded"


def _by_token(table: pa.Table) -> dict[int, tuple[int, Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]]:
    columns = (table.column(name).to_pylist() for name in ("token_id", "count", "strongest", "bound"))
    return {
        MISSING if token is None else token: (count, _numbers(rivals, -1).astype(np.int64), _numbers(bounds, np.nan))
        for token, count, rivals, bounds in zip(*columns, strict=True)
    }


def _numbers(values: list[float | None] | None, missing: float) -> Float64[np.ndarray, " k"]:
    return np.array([missing if value is None else value for value in values or ()], dtype=np.float64)


class _Work:
    """What all blocks of pairs share."""

    def __init__(self, problem: ArgmaxProblem) -> None:
        assert isinstance(problem.domain, Ball)
        self.problem = problem
        self.radius = problem.domain.radius
        self.classes = equal_row_classes(problem)
        self.left = _MOST_EXACT

    def block(self, tokens: Int[Tensor, " b"], few: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The silencers of some tokens."""
        about, room = self._bounds(tokens)
        equal = self.classes[tokens][:, None] == self.classes[None, :]
        room[equal] = 0.0
        about[equal] = torch.inf
        silent = about + room < 0
        doubtful = ~silent & ~(about - room > 0)
        pairs = torch.nonzero(doubtful)
        for part in pairs.split(max(1, BLOCK_BYTES // (8 * self.problem.d * 6))):
            sure = single_competitor_bound(self.problem, tokens[part[:, 0]], part[:, 1]) < 0
            silent[part[sure, 0], part[sure, 1]] = True
            for i, j in part[~sure].tolist():
                silent[i, j] = self._exactly(int(tokens[i]), j)
        about[~silent] = torch.inf
        value, rivals = about.topk(few, dim=1, largest=False)
        proved = self._proved(tokens, rivals, torch.isfinite(value))
        order = proved.argsort(dim=1, stable=True)
        proved, rivals = proved.gather(1, order), rivals.gather(1, order)
        rivals[proved == torch.inf] = -1
        return silent.sum(dim=1).numpy(), rivals.numpy(), proved.numpy()

    def _bounds(self, tokens: Int[Tensor, " b"]) -> tuple[Float64[Tensor, "b v"], Float64[Tensor, "b v"]]:
        """R·‖a_t − a_j‖ + c_t − c_j for all pairs as products give it, and how far off that may be."""
        problem, d = self.problem, self.problem.d
        mine = problem.rows(tokens)
        size = problem.row_norm[tokens][:, None] + problem.row_norm[None, :]
        square = torch.empty((len(tokens), problem.v), dtype=torch.float64)
        for part in problem.blocks(8 * d * 4):
            rows = problem.rows(part)
            square[:, part] = (mine**2).sum(dim=1)[:, None] + (rows**2).sum(dim=1)[None, :] - 2 * mine @ rows.T
        # Sums of d products each, and their sums, against the squares of what is added.
        lost = SECOND_ORDER * (gamma(d + 8) * size**2 + underflow(4 * d, torch.float64))
        far, near = (square + lost).clamp(min=0).sqrt_(), (square - lost).clamp(min=0).sqrt_()
        row_error = problem.row_error[tokens][:, None] + problem.row_error[None, :]
        offset = problem.offset[tokens][:, None] - problem.offset[None, :]
        offset_error = problem.offset_error[tokens][:, None] + problem.offset_error[None, :]
        about = self.radius * (far + near) / 2 + offset
        room = self.radius * ((far - near) / 2 + row_error) + offset_error
        room += 16 * UNIT_FLOAT64 * (self.radius * size + problem.offset[tokens].abs()[:, None] + offset.abs())
        return about, SECOND_ORDER * room

    def _exactly(self, token: int, rival: int) -> bool:
        if self.problem.weight_error is not None or self.left <= 0:
            return False
        self.left -= 1
        return bound_by_weights(self.problem, token, np.array([rival]), np.ones(1))

    def _proved(
        self, tokens: Int[Tensor, " b"], rivals: Int[Tensor, "b k"], there: Bool[Tensor, "b k"]
    ) -> Float64[Tensor, "b k"]:
        """The proved bounds of the pairs that are kept; 0 where rational arithmetic says so."""
        found = torch.full(rivals.shape, torch.inf, dtype=torch.float64)
        at = torch.nonzero(there)
        if len(at):
            bound = single_competitor_bound(self.problem, tokens[at[:, 0]], rivals[at[:, 0], at[:, 1]])
            found[at[:, 0], at[:, 1]] = bound.clamp(max=0)
        return found
