"""Grades: what a backend solved, claimed, and how often it was right. The judge is the checker, never a status."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Float64

from reach.compare.record import Apart, CalledUnspeakable, Disagreements, Grade, Profile, Rate, Row
from reach.strength.rates import wilson
from solvers.errors import BadInput

DEFAULT_SHIFT = 10.0
"""Seconds added before the logarithm, as Mittelmann's benchmarks and qpbenchmark do: keeps tiny times from ruling."""
_NO_FAILURE = ("witness", "no-witness", "gave-up", "unchecked", "limit")
_PROVED = ("speakable", "unspeakable")
_SHIFT_SECONDS = 0.01
_EXAMPLES = 10


def grade(records: list[Row], limit_seconds: float) -> list[Grade]:
    """One grade per backend from its records on one problem.

    A *claim* is the backend's own word: speakable or unspeakable. A search that gives up has made none. A claim is
    right when the proofs of the scan say so too (claims about tokens that are undecided count for nothing). *Solved
    and verified* means that the checkers accepted the backend's own certificate.

    Args:
        records: of one problem.
        limit_seconds: the budget per token, which every token that was not solved and verified is charged.
    """
    by_backend: dict[str, list[Row]] = defaultdict(list)
    for record in records:
        by_backend[record.backend].append(record)
    return [_grade(name, mine, limit_seconds) for name, mine in by_backend.items()]


def _grade(name: str, records: list[Row], limit_seconds: float) -> Grade:
    settled = [r for r in records if r.truth in _PROVED]
    claims = [r for r in settled if r.claim is not None]
    wrong = [r for r in claims if r.claim != r.truth]
    false_unspeakable = [r for r in wrong if r.claim == "unspeakable"]
    verified = [r for r in records if r.verified is not None]
    speakable = [r for r in settled if r.truth == "speakable"]
    seconds = np.array([r.seconds for r in records])
    solved = np.array([r.verified is not None for r in records])
    gaps = [r.upper - r.lower for r in records if r.lower is not None and r.upper is not None]
    failures = Counter(r.status for r in records if r.status not in _NO_FAILURE)
    return Grade(
        backend=name,
        version=records[0].version,
        given=len(records),
        verified=len(verified),
        verified_rate=_rate(len(verified), len(records)),
        claims=len(claims),
        right=len(claims) - len(wrong),
        right_rate=_rate(len(claims) - len(wrong), len(claims)),
        false_unspeakable=len(false_unspeakable),
        false_unspeakable_rate=_rate(len(false_unspeakable), len(speakable)),
        false_speakable=len(wrong) - len(false_unspeakable),
        limit_hit=sum(r.status == "limit" for r in records),
        failures=dict(failures),
        seconds_shifted_geometric_mean=shifted_geometric_mean(seconds, solved, limit_seconds, _SHIFT_SECONDS),
        seconds_median=charged_median(seconds, solved, limit_seconds),
        gap_median=float(np.median(gaps)) if gaps else None,
        bounds_given=len(gaps),
        work=_work(records),
        wrong_tokens=tuple(r.token_id for r in wrong),
        note=next((r.note for r in records if r.note), None),
        called_unspeakable=_by_truth([r for r in records if r.claim == "unspeakable"]),
        gave_up=_by_truth([r for r in records if r.status == "gave-up" and r.verified is None]),
    )


def _by_truth(records: list[Row]) -> CalledUnspeakable:
    tokens: dict[str, list[int]] = defaultdict(list)
    for r in records:
        tokens[r.truth if r.truth in _PROVED else "open"].append(r.token_id)
    return CalledUnspeakable(
        proved_speakable=tuple(tokens["speakable"]),
        proved_unspeakable=tuple(tokens["unspeakable"]),
        open=tuple(tokens["open"]),
    )


def _rate(count: int, of: int) -> Rate | None:
    """A rate with its 95 % interval, or None of nothing."""
    if of == 0:
        return None
    found = wilson(count, of)
    return Rate(rate=found.share, low=found.low, high=found.high, of=of)


def _work(records: list[Row]) -> dict[str, float | None]:
    """Mean of each counter over the calls (a batched call's counters are shared by its tokens)."""
    sums: dict[str, list[float]] = defaultdict(list)
    for text in {r.work for r in records if r.work}:
        for key, value in json.loads(text).items():
            sums[key].append(value)
    return {key: float(np.mean(values)) for key, values in sums.items()}


def disagreements(records: list[Row]) -> Disagreements:
    """For each pair of backends, the tokens that one claims speakable and the other unspeakable."""
    claims: dict[str, dict[int, str]] = defaultdict(dict)
    truth: dict[int, str] = {}
    for r in records:
        truth[r.token_id] = r.truth
        if r.claim is not None:
            claims[r.backend][r.token_id] = r.claim
    names = sorted({r.backend for r in records})
    counts = np.zeros((len(names), len(names)), dtype=int)
    compared = np.zeros_like(counts)
    for (i, a), (j, b) in combinations(enumerate(names), 2):
        shared = claims[a].keys() & claims[b].keys()
        compared[i, j] = compared[j, i] = len(shared)
        counts[i, j] = counts[j, i] = sum(claims[a][t] != claims[b][t] for t in shared)
    tokens = []
    for token in sorted(truth):
        said = {name: claims[name][token] for name in names if token in claims[name]}
        if len(set(said.values())) > 1:
            tokens.append(Apart(token_id=token, truth=truth[token], claims=said))
    return Disagreements(
        backends=tuple(names),
        counts=tuple(map(tuple, counts.tolist())),
        compared=tuple(map(tuple, compared.tolist())),
        tokens=tuple(tokens),
    )


def sentence(grade: Grade, names: dict[int, str]) -> str:
    """The sentence a reader wants: of what this backend called unspeakable or gave up on, how much is proved."""
    called, left = grade.called_unspeakable, grade.gave_up
    given = _tokens(grade.given)
    if left != CalledUnspeakable():
        missed, right, still = left.proved_speakable, left.proved_unspeakable, left.open
        said = (
            f"{grade.backend} gave up on {len(missed) + len(right) + len(still)} of its {given}, which claims "
            f"nothing: {_are(missed)} proved speakable (missed{_examples(missed, names)}), {_are(right)} proved "
            f"unspeakable (no optimiser can ever find them), {_are(still)} open."
        )
    elif not (total := sum(map(len, (called.proved_speakable, called.proved_unspeakable, called.open)))):
        said = f"{grade.backend} called none of its {given} unspeakable."
    else:
        wrong, right, still = called.proved_speakable, called.proved_unspeakable, called.open
        said = (
            f"Of the {_tokens(total)} that {grade.backend} called unspeakable, {_are(wrong)} proved speakable (its "
            f"errors{_examples(wrong, names)}), {_are(right)} proved unspeakable (no optimiser can ever find them), "
            f"{_are(still)} open."
        )
    if grade.false_speakable:
        said += f" It called {_tokens(grade.false_speakable)} speakable that {_is_or_are(grade.false_speakable)} not."
    return said


def _tokens(count: int) -> str:
    return f"{count:,} token{'' if count == 1 else 's'}"


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"


def _are(tokens: tuple[int, ...]) -> str:
    return f"{len(tokens):,} {_is_or_are(len(tokens))}"


def _examples(tokens: tuple[int, ...], names: dict[int, str]) -> str:
    """The first of some tokens by name, behind a colon."""
    some = ", ".join(names.get(token, f"#{token}") for token in tokens[:_EXAMPLES])
    return f": {some}" if some else ""


def profile(records: list[Row], limit_seconds: float) -> Profile:
    """Performance profile (Dolan & Moré 2002) over the tokens that every backend was given."""
    by_backend: dict[str, dict[int, Row]] = defaultdict(dict)
    for r in records:
        by_backend[r.backend][r.token_id] = r
    shared = sorted(set.intersection(*(set(mine) for mine in by_backend.values()))) if by_backend else []
    if not shared:
        return Profile(tau=(), share={}, tokens=0)
    seconds = {n: np.array([max(mine[t].seconds, 1e-7) for t in shared]) for n, mine in by_backend.items()}
    solved = {n: np.array([mine[t].verified is not None for t in shared]) for n, mine in by_backend.items()}
    tau, share = performance_profile(seconds, solved, limit_seconds)
    found = {name: tuple(one.tolist()) for name, one in share.items()}
    return Profile(tau=tuple(tau.tolist()), share=found, tokens=len(shared))


# --- times ---------------------------------------------------------------------------------------------------------


def charged(
    seconds: Float[np.ndarray, " n"], solved: Bool[np.ndarray, " n"], limit: float
) -> Float64[np.ndarray, " n"]:
    """Times with every failure charged the limit; what took longer than the limit counts as a failure.

    Raises:
        BadInput: lengths differ, there are none, the limit is not > 0, or a solved time is no number ≥ 0.
    """
    seconds, solved = np.asarray(seconds, dtype=np.float64), np.asarray(solved, dtype=bool)
    if seconds.shape != solved.shape or seconds.ndim != 1 or not len(seconds):
        raise BadInput("times need one solved flag each, and at least one of them")
    if not (np.isfinite(limit) and limit > 0):
        raise BadInput(f"a time limit must be a number > 0, not {limit:g}")
    # Finiteness first: NaN compares false with everything and would pass as fast.
    if not (np.isfinite(seconds[solved]).all() and (seconds[solved] >= 0).all()):
        raise BadInput("the time of a solved problem must be a number ≥ 0")
    return np.where(solved & (seconds <= limit), seconds, limit)


def shifted_geometric_mean(
    seconds: Float[np.ndarray, " n"], solved: Bool[np.ndarray, " n"], limit: float, shift: float = DEFAULT_SHIFT
) -> float:
    """exp(mean ln(t + shift)) − shift over all problems, failures charged the limit.

    The convention of Mittelmann's benchmarks and of qpbenchmark. Unlike a mean it is not ruled by the slowest
    problems; the shift keeps it from being ruled by the fastest.

    Raises:
        BadInput: as `charged`, or shift < 0, or a time of 0 without a shift.
    """
    if not (np.isfinite(shift) and shift >= 0):
        raise BadInput(f"a shift must be a number ≥ 0, not {shift:g}")
    times = charged(seconds, solved, limit) + shift
    if not (times > 0).all():
        raise BadInput("a geometric mean of times of 0 s needs a shift > 0")
    return float(np.exp(np.log(times).mean()) - shift)


def charged_median(seconds: Float[np.ndarray, " n"], solved: Bool[np.ndarray, " n"], limit: float) -> float:
    """Median time, failures charged the limit: the limit itself where more than half of the problems failed."""
    return float(np.median(charged(seconds, solved, limit)))


def performance_profile(
    seconds: Mapping[str, Float[np.ndarray, " n"]], solved: Mapping[str, Bool[np.ndarray, " n"]], limit: float
) -> tuple[Float64[np.ndarray, " k"], dict[str, Float64[np.ndarray, " k"]]]:
    """ρ_s(τ) of Dolan & Moré (2002), Mathematical Programming 91, of several solvers on the same problems.

    A failure has ratio ∞ and never counts; a problem that nobody solves stays in the denominator.

    Returns:
        Ratios τ to the fastest solver at which some curve steps up, of which the first is 1; and for each solver the
        share of all problems that it solved within τ times the fastest time.

    Raises:
        BadInput: no solvers, other problems per solver, or a solved time that is no number > 0 (no ratio to it).
    """
    names = tuple(seconds)
    if not names or set(names) != set(solved):
        raise BadInput("a profile needs times and solved flags of the same solvers, and at least one")
    if len({len(seconds[name]) for name in names}) != 1:
        raise BadInput("a profile needs the same problems for every solver")
    for name in names:
        charged(seconds[name], solved[name], limit)
    times = np.stack([np.asarray(seconds[name], dtype=np.float64) for name in names])
    done = np.stack([np.asarray(solved[name], dtype=bool) for name in names])
    if not (times[done] > 0).all():
        raise BadInput("a profile needs times > 0: the ratio to a time of 0 s means nothing")
    done &= np.where(done, times, np.inf) <= limit
    times = np.where(done, times, np.inf)
    fastest = times.min(axis=0)
    with np.errstate(invalid="ignore"):
        ratio = np.where(done, times / fastest, np.inf)
    tau = np.unique(np.concatenate([[1.0], ratio[np.isfinite(ratio)]]))
    share = (ratio[:, :, None] <= tau[None, None, :]).mean(axis=1)
    return tau, dict(zip(names, share, strict=True))
