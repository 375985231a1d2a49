"""What a scan says of every token, and a stratified sample of them: solvers are compared where they differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64, Int, Int64

from reach.classes import HARD, OWN, classes_of
from reach.compare.rounds import Task
from reach.runs.schema import VERDICT_NAMES
from reach.scanning.scan import ScanResult
from reach.scanning.tables import margins, verdict_names
from solvers.errors import BadInput
from solvers.problem import ArgmaxProblem

STRATA = ("own-direction", "hard-to-speak", "nearly-tied", "unspeakable")
"""Their names, in the order of the sample."""


@dataclass(frozen=True)
class Judged:
    """What a finished scan says about each of v tokens.

    Attributes:
        verdict: `(v,)` "speakable", "tied", "unspeakable" or "undecided"; None for tokens that were not asked for.
        own_direction: `(v,)` whether a token wins at its own row.
        relative_margin: `(v,)` upper bound on the margin over the row norm; +inf where none is known. Logits per unit
            of row norm: only its order matters here, so the radius of a ball need not be divided out.
        first_of: `(v,)` lowest id with an equal row.
    """

    verdict: np.ndarray
    own_direction: Bool[np.ndarray, " v"]
    relative_margin: Float64[np.ndarray, " v"]
    first_of: Int64[np.ndarray, " v"]

    @property
    def open(self) -> int:
        """How many tokens nothing was asked about, or there was no time for."""
        return sum(verdict is None for verdict in self.verdict)

    @property
    def classes(self) -> Int[np.ndarray, " v"]:
        """The index into `reach.classes.CLASSES` of each token."""
        codes = {name: code for code, name in enumerate(VERDICT_NAMES)}
        verdict = np.array([codes.get(name, -1) for name in self.verdict])
        return classes_of(verdict, self.own_direction.astype(bool))

    @property
    def counts(self) -> dict[str, int]:
        """How many tokens of each verdict, own-direction and hard-to-speak ones among the speakable."""
        counts = Counter(str(verdict) for verdict in self.verdict if verdict is not None)
        classes = Counter(self.classes.tolist())
        return {**counts, "own-direction": classes[OWN], "hard-to-speak": classes[HARD]}

    def merged(self, token_of: Int64[np.ndarray, " m"]) -> Judged:
        """The same of a problem with equal rows merged, where no token is tied."""
        verdict = self.verdict[token_of].copy()
        verdict[verdict == "tied"] = "speakable"
        relative = self.relative_margin[token_of]
        return Judged(verdict, self.own_direction[token_of], relative, np.arange(len(token_of)))


def judged_from_table(table: pa.Table) -> Judged:
    """From the verdicts table of a run folder (a `pyarrow.Table` with the columns of `reach.runs.schema`)."""
    verdict = np.array(table.column("verdict").to_pylist(), dtype=object)
    own = np.array(table.column("own_direction").to_pylist(), dtype=bool)
    upper = [np.inf if value is None else float(value) for value in table.column("margin_upper").to_pylist()]
    norm = np.array(table.column("row_norm").to_pylist(), dtype=np.float64)
    first = [i if value is None else int(value) for i, value in enumerate(table.column("argmax_id").to_pylist())]
    return Judged(verdict, own, _relative(np.array(upper), norm), np.array(first, dtype=np.int64))


def judged_from_scan(problem: ArgmaxProblem, result: ScanResult) -> Judged:
    """From the result of a scan of this problem."""
    verdict, upper, merged = verdict_names(result), margins(result)[1], result.merged
    own = result.state.own_direction[merged.row_of] & result.asked
    relative = _relative(upper, problem.row_norm.numpy())
    return Judged(verdict, own, relative, np.asarray(merged.first_of, dtype=np.int64))


def _relative(upper: Float64[np.ndarray, " v"], norm: Float64[np.ndarray, " v"]) -> Float64[np.ndarray, " v"]:
    # A zero row whose margin is at most 0 is as tied as it gets.
    return np.where(upper <= 0, 0.0, upper / np.maximum(norm, np.finfo(np.float64).tiny))


@dataclass(frozen=True)
class Sample:
    """A sample of tokens.

    Attributes:
        tokens: `(n,)` ids, each once, grouped by stratum in the order of `STRATA`, ascending within.
        stratum: `(n,)` index into `STRATA`.
    """

    tokens: Int64[np.ndarray, " n"]
    stratum: Int64[np.ndarray, " n"]

    def of(self, name: str) -> Int64[np.ndarray, " k"]:
        """The tokens of one stratum."""
        return self.tokens[self.stratum == STRATA.index(name)]

    @property
    def sizes(self) -> dict[str, int]:
        """How many tokens of each stratum."""
        return {name: len(self.of(name)) for name in STRATA}


def stratified_sample(judged: Judged, size: int, seed: int = 0) -> Sample:
    """Draw `size` tokens, as equally from the four strata as their sizes allow.

    `unspeakable`, `own-direction` and `hard-to-speak` (speakable, but not at its own row) are drawn at random.
    `nearly-tied` takes undecided tokens and one of each class of tied ones (in random order), then the speakable
    tokens with the smallest relative margins that the other strata can spare; the remaining members of tied classes
    come last, since equal rows teach a comparison nothing new. Deterministic by seed.

    Raises:
        BadInput: size < 1, or larger than the number of tokens that were judged.
    """
    own, hard, sure, unspeakable = _members(judged)
    total = len(own) + len(hard) + len(sure) + len(unspeakable)
    if size < 1:
        raise BadInput(f"a sample needs at least 1 token, not {size}")
    if size > total:
        raise BadInput(f"a sample of {size} tokens was asked for, but only {total} were judged: ask for fewer")
    rng = np.random.default_rng(seed)
    quota = _quotas(size, len(own), len(hard), len(sure), len(unspeakable))
    near = _nearest(judged, own, hard, sure, quota, rng)
    taken = set(near.tolist())
    chosen = []
    for name, members in (("own-direction", own), ("hard-to-speak", hard), ("unspeakable", unspeakable)):
        rest = np.array([token for token in members.tolist() if token not in taken], dtype=np.int64)
        chosen.append((name, rng.choice(rest, size=quota[name], replace=False)))
    chosen.insert(2, ("nearly-tied", near))
    tokens = np.concatenate([np.sort(part) for _, part in chosen]).astype(np.int64)
    stratum = np.repeat(np.arange(len(STRATA)), [len(part) for _, part in chosen])
    return Sample(tokens, stratum.astype(np.int64))


def _members(judged: Judged) -> tuple[Int64[np.ndarray, " n"], ...]:
    """Ids of the speakable tokens that win at their own row, of the other speakable ones, of those tied or undecided,
    and of the unspeakable ones.
    """
    speakable = judged.verdict == "speakable"
    sure = (judged.verdict == "tied") | (judged.verdict == "undecided")
    parts = (speakable & judged.own_direction, speakable & ~judged.own_direction, sure)
    return tuple(np.nonzero(part)[0] for part in (*parts, judged.verdict == "unspeakable"))


def _quotas(size: int, own: int, hard: int, sure: int, unspeakable: int) -> dict[str, int]:
    """Token by token to the stratum that has the fewest and can still take one: max-min fair.

    `nearly-tied` may take from what own-direction and hard-to-speak leave over, so the three share one limit.
    """
    quota = dict.fromkeys(("nearly-tied", "hard-to-speak", "unspeakable", "own-direction"), 0)
    most = {"own-direction": own, "hard-to-speak": hard, "unspeakable": unspeakable, "nearly-tied": own + hard + sure}
    shared = ("own-direction", "hard-to-speak", "nearly-tied")
    for _ in range(size):
        room = {
            name: quota[name] < most[name]
            and (name == "unspeakable" or sum(quota[other] for other in shared) < own + hard + sure)
            for name in quota
        }
        quota[min((name for name in quota if room[name]), key=lambda name: quota[name])] += 1
    return quota


def _nearest(
    judged: Judged,
    own: Int64[np.ndarray, " a"],
    hard: Int64[np.ndarray, " b"],
    sure: Int64[np.ndarray, " c"],
    quota: dict[str, int],
    rng: np.random.Generator,
) -> Int64[np.ndarray, " n"]:
    """The nearly tied tokens: never so many of another stratum that its own quota could not be met."""
    repeat = (judged.verdict == "tied") & (judged.first_of != np.arange(len(judged.verdict)))
    key = judged.relative_margin.copy()
    key[sure] = -1.0  # before any margin that is known to be positive
    key[repeat] = np.inf
    candidates = np.concatenate([sure, own, hard])
    rng.shuffle(candidates)  # decides among equals
    # Repeats rank behind margins without a bound, too.
    order = candidates[np.lexsort((repeat[candidates], key[candidates]))]
    spare = {"own": len(own) - quota["own-direction"], "hard": len(hard) - quota["hard-to-speak"]}
    kind = dict.fromkeys(own.tolist(), "own") | dict.fromkeys(hard.tolist(), "hard")
    taken: list[int] = []
    for token in order.tolist():
        if len(taken) == quota["nearly-tied"]:
            break
        of = kind.get(token)
        if of is not None:
            if not spare[of]:
                continue
            spare[of] -= 1
        taken.append(token)
    return np.array(taken, dtype=np.int64)


# --- the sample as a task ---


def task_from_scan(name: str, problem: ArgmaxProblem, result: ScanResult, size: int, seed: int) -> Task:
    """A stratified sample of a scanned head, as a task over its merged rows."""
    judged = judged_from_scan(problem, result)
    return task_from(name, result.merged.problem, judged, result.merged.row_of, size, seed)


def task_from(name: str, merged: ArgmaxProblem, judged: Judged, row_of: np.ndarray, size: int, seed: int) -> Task:
    """A stratified sample of judged tokens, as a task over the problem with equal rows merged."""
    sample = stratified_sample(judged, size, seed)
    # Equal tokens share a row: each row is asked about once.
    rows, first = np.unique(row_of[sample.tokens], return_index=True)
    order = np.random.default_rng(seed).permutation(len(rows))
    tokens = sample.tokens[first][order]
    truth = ["speakable" if verdict == "tied" else str(verdict) for verdict in judged.verdict[tokens]]
    strata = [STRATA[int(i)] for i in sample.stratum[first][order]]
    return Task(merged, name, rows[order], tokens, strata, truth)
