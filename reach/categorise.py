"""All categories of all tokens as the table of a run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reach.categories.catalogue import KEYS
from reach.categories.findings import Finding
from reach.categories.matrix import equal_findings, near_findings
from reach.categories.neighbourhood import neighbourhood
from reach.categories.roles import NO_ROLES, read_roles
from reach.categories.tokenizer import ENCODER_MISSING, has_tokens, tokenizer_findings
from reach.equal_rows import Merged
from reach.heads.head import Head
from reach.indicators.reference import known_unused
from reach.indicators.study import study
from reach.runs.manifest import CategoryRecord
from reach.runs.schema import CATEGORIES
from reach.vocabulary import Vocabulary
from solvers.problem import ArgmaxProblem


@dataclass(frozen=True)
class Told:
    """What tokens are.

    Attributes:
        categories: of every token (schema `CATEGORIES`).
        suspects: of the indicators of under-training (schema `SUSPECTS`).
        record: what has to be known to read them.
    """

    categories: pa.Table
    suspects: pa.Table
    record: CategoryRecord


def categories(
    problem: ArgmaxProblem,
    merged: Merged,
    vocabulary: Vocabulary,
    verdicts: pa.Table,
    head: Head | None = None,
    *,
    device: str = "cpu",
) -> Told:
    """What every token is.

    Args:
        problem: with a row per token.
        merged: the same with equal rows merged.
        vocabulary: the tokens.
        verdicts: the run's table of verdicts: those that are not own-direction are compared with all others first.
        head: whose files say which tokens have a role, and what the input embedding is; none where there are none.
        device: where to multiply.
    """
    started = time.perf_counter()
    notes = []
    named = has_tokens(vocabulary)
    folder = None if head is None else head.folder
    roles = read_roles(folder, vocabulary.pieces, problem.v) if named else NO_ROLES
    notes += list(roles.warnings)
    if named and vocabulary.encoder is None:
        notes.append(ENCODER_MISSING)
    found = list(tokenizer_findings(vocabulary, roles))
    unused = known_unused(vocabulary, found, roles)
    found += equal_findings(problem, merged)
    cosine: float | None = None
    if merged.problem.d > 1 and not merged.everything_equal:
        asked, plain = (
            np.array(verdicts.column(name).to_pylist(), dtype=object) for name in ("verdict", "own_direction")
        )
        asked = asked != None  # noqa: E711
        first = np.unique(merged.row_of[asked & (plain != True)])  # noqa: E712
        work = float(len(np.unique(merged.row_of[asked]))) * problem.v * problem.d
        near = neighbourhood(merged.problem, first, work=work, device=device)
        cosine = near.cosine
        if not near.whole:
            notes.append(
                f"{int((~near.compared).sum())} of {problem.v} rows were not compared with all others: clusters and "
                "bundles may be larger than they are said to be"
            )
        found += near_findings(merged, near, vocabulary.texts)
    indicators = study(head, problem, unused, verdicts)
    words = f"near the rows of {len(unused):,} tokens that are known to be unused"
    found += [Finding(token, "looks-untrained", words) for token in indicators.untrained.tolist()]
    record = CategoryRecord(time.perf_counter() - started, cosine, notes, indicators.record)
    return Told(as_table(found), indicators.suspects, record)


def as_table(findings: Iterable[Finding]) -> pa.Table:
    """Findings in the order of tokens and of the catalogue."""
    rank = {key: at for at, key in enumerate(KEYS)}
    ordered = sorted(findings, key=lambda one: (one.token, rank[one.category]))
    columns = (
        [one.token for one in ordered], [one.category for one in ordered], [one.detail for one in ordered],
        [one.group for one in ordered], [list(one.others) for one in ordered],
    )  # fmt: skip
    arrays = [pa.array(column, kind) for column, kind in zip(columns, CATEGORIES.types, strict=True)]
    return pa.table(arrays, schema=CATEGORIES)
