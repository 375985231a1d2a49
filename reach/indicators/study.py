"""All indicators of a model, held against a scan of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int

from reach.heads.head import Head
from reach.indicators.honesty import held_against
from reach.indicators.measure import Indicator, lengths, looks_untrained, output_indicators
from reach.interference.controls import gaussian
from reach.interference.matrices import EMBEDDING, FOLDED, OUTPUT, plain_rows, spaces_of
from reach.runs.columns import floats
from reach.runs.manifest import Indicators
from reach.runs.schema import SUSPECTS
from solvers.problem import ArgmaxProblem

_MOST_FRESH = 2**26
"""Numbers of a matrix beyond which no random one of its shape is made."""
_SUSPECT, _LEAST_SUSPECTS = 0.02, 20
"""The share of tokens that an indicator suspects most, and how many at least."""
_NO_UNUSED = "distances from unused rows: no token of this model is known to be unused"


@dataclass(frozen=True)
class Study:
    """What the indicators say.

    Attributes:
        untrained: ids of tokens whose rows look untrained.
        record: how well each tells what was proved; none where nothing was proved.
        suspects: the most suspect tokens of each (schema `SUSPECTS`).
    """

    untrained: Int[np.ndarray, " n"]
    record: Indicators | None
    suspects: pa.Table


def study(head: Head | None, problem: ArgmaxProblem, unused: Int[np.ndarray, " k"], verdicts: pa.Table) -> Study:
    """Measure the indicators, and hold them against the verdicts.

    Args:
        head: whose matrices are measured; none measures the rows of the problem alone.
        problem: with a row per token.
        unused: ids of tokens that are known to be unused.
        verdicts: the table of the scan.
    """
    left_out = [] if len(unused) else [_NO_UNUSED]
    verdict = np.array(verdicts.column("verdict").to_pylist(), dtype=object)
    own = np.array(verdicts.column("own_direction").to_pylist(), dtype=object) == True  # noqa: E712
    can, cannot = verdict == "speakable", verdict == "unspeakable"
    target, positive = ("unspeakable", cannot) if cannot.any() else ("hard-to-speak", can & ~own)
    asked = can | cannot
    margin = np.where(can, floats(verdicts, "margin_lower"), floats(verdicts, "margin_upper"))
    margin[~asked] = np.nan
    found, untrained = [], np.zeros(0, dtype=np.int64)
    suspects: list[pa.Table] = []
    for matrix, rows in _matrices(head, problem, left_out):
        small = rows.v * rows.d <= _MOST_FRESH
        fresh = _by_chance(matrix, rows.v, rows.d, tuple(unused.tolist())) if small else {}
        for one in _of(matrix, rows, unused):
            if one.key == "cosine-distance-pc":
                untrained = looks_untrained(one.values, unused)
            suspects.append(_most_suspect(one, matrix))
            found.append(
                held_against(
                    one.key, one.title, matrix, one.values, positive, asked, margin, fresh.get(one.key)
                )
            )  # fmt: skip
    record = Indicators(target, int(positive.sum()), int(asked.sum()), len(unused), found, left_out)
    table = pa.concat_tables([SUSPECTS.empty_table(), *suspects])
    return Study(untrained, record if asked.any() else None, table.sort_by("token_id"))


def _most_suspect(one: Indicator, matrix: str) -> pa.Table:
    """The tokens with the smallest values, a fixed share of all that have one."""
    known = np.flatnonzero(np.isfinite(one.values))
    ordered = known[np.argsort(one.values[known], kind="stable")]
    values = one.values[ordered]
    kept = min(len(ordered), max(_LEAST_SUSPECTS, round(_SUSPECT * len(ordered))))
    rank = 1 + np.searchsorted(values, values[:kept])  # how many are smaller, and one
    columns = (
        ordered[:kept], [one.title] * kept, [matrix] * kept, rank, np.full(kept, len(ordered)), values[:kept],
    )  # fmt: skip
    arrays = [pa.array(column, kind) for column, kind in zip(columns, SUSPECTS.types, strict=True)]
    return pa.table(arrays, schema=SUSPECTS)


def _matrices(head: Head | None, problem: ArgmaxProblem, left_out: list[str]) -> Iterator[tuple[str, ArgmaxProblem]]:
    """The folded matrix, the output matrix (where they are one, that alone), and an input embedding of its own."""
    if head is None:
        yield OUTPUT, problem
        return
    spaces = spaces_of(head)
    if OUTPUT in spaces.rows:
        yield FOLDED, problem
    yield OUTPUT, spaces.rows.get(OUTPUT, problem)
    if EMBEDDING in spaces.rows and spaces.rows[EMBEDDING].v == problem.v:
        yield EMBEDDING, spaces.rows[EMBEDDING]
    else:
        left_out.append(f"input embedding: {spaces.left_out.get(EMBEDDING, 'it has not one row for each token')}")


def _of(matrix: str, rows: ArgmaxProblem, unused: Int[np.ndarray, " k"]) -> Iterator[Indicator]:
    if matrix == FOLDED:
        yield lengths(rows, "folded-length", "length of the row that makes the logit")
    elif matrix == EMBEDDING:
        yield lengths(rows, "input-length", "length of the input embedding's row")
    else:
        yield lengths(rows, "output-length", "length of the output row")
        if len(unused):
            yield from output_indicators(rows, unused)


@lru_cache(maxsize=4)
def _by_chance(matrix: str, v: int, d: int, unused: tuple[int, ...]) -> dict[str, Float64[np.ndarray, " v"]]:
    """The indicators of random rows: the same for all checkpoints of a model."""
    rows = plain_rows(gaussian(v, d, seed=0))
    return {one.key: one.values for one in _of(matrix, rows, np.array(unused, dtype=np.int64))}
