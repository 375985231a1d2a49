"""The check of proofs over few blockers: what they say of a margin is bounded again from the weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from reach.runs.columns import floats, ids
from solvers.checks.hull import hull_upper_bound
from solvers.problem import ArgmaxProblem


def few_blockers_faults(problem: ArgmaxProblem, verdicts: pa.Table, table: pa.Table) -> Iterator[tuple[int, str]]:
    """Why short proofs prove less than they say, with their tokens."""
    verdict = verdicts.column("verdict").to_pylist()
    token, row = ids(table, "token_id"), ids(table, "row_id")
    weight, bound = floats(table, "weight"), floats(table, "margin_upper")
    for one in np.unique(token).tolist():
        mine = token == one
        if not 0 <= one < problem.v or verdict[one] != "unspeakable":
            yield one, "a short proof is stored for a token that is not unspeakable"
            continue
        proved = hull_upper_bound(problem, one, row[mine], weight[mine])
        # Another order of summation may round it otherwise.
        if not all(proved <= said + 1e-9 * abs(said) and said <= 0 for said in bound[mine].tolist()):
            yield one, f"its short proof bounds the margin by {proved:.9g} logits, not by {bound[mine].max():.9g}"
