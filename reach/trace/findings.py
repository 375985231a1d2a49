"""What a trace found, in words: each finding with its interval and its control."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reach.runs.manifest import Span
from reach.trace.association import Overlap, RankCorrelation
from reach.trace.factors import without_seed
from reach.trace.naming import SEED
from reach.trace.record import FactorRecord, GroupRecord, LevelRecord, PairRecord, SeriesRecord, TraceRecord


@dataclass(frozen=True)
class Finding:
    """A question and its answer: a few lines, each with its interval and its control."""

    key: str
    title: str
    lines: tuple[str, ...]


def findings(record: TraceRecord) -> tuple[Finding, ...]:
    """Everything that the trace can say, the question that is asked most first."""
    return tuple(
        Finding(key, title, lines)
        for key, title, make in (
            ("seed", "Is it the token or the seed?", _token_or_seed),
            ("sets", "Do seeds agree on which tokens are unspeakable?", _same_sets),
            ("start", "What of the end is there at initialisation?", _from_start),
            ("when", "When do tokens become speakable, or stop?", _when),
            ("sudden", "Smoothly or at once?", _sudden),
            ("back", "Do tokens go back and forth?", _back_and_forth),
            ("factors", "Does it matter how the model is trained?", _factors),
        )
        if (lines := tuple(make(record)))
    )


# --- token and seed -------------------------------------------------------------------------------------------------


def _token_or_seed(record: TraceRecord) -> Iterator[str]:
    for group in record.groups:
        split = group.split
        if split is None:
            continue
        ranks = None if group.ranked is None else group.ranked.token
        yield (
            f"{_group(group)}: {_answer(split.token, ranks)}. Of the variance of the margins the token explains "
            f"{percent(split.token)}, the seed as such {percent(split.seed)}, and what a seed does to single tokens, "
            f"with whatever else differs, {percent(split.rest)} ({count(split.tokens, 'token')}, intervals over "
            f"draws of them). Control: shuffled tokens give the token up to {_share(split.shuffled_token)}"
            + (f", the initialised models give it {percent(group.initial.token)}" if group.initial else "")
            + (f"; of the ranks of the margins it explains {percent(group.ranked.token)}" if group.ranked else "")
            + (f"; with one seed left out {_shares(split.without)}" if split.without else "")
            + "."
        )
    for words, pairs in _kinds(record.pairs):
        known = [one.rho for one in pairs if one.rho is not None]
        if not known:
            continue
        before = [one.initial for one in pairs if one.initial is not None]
        yield (
            f"Margins of two series that differ in {words}: rank correlation {_correlations(known)}"
            + (f"; of their initialised models {_correlations(before)}" if before else "")
            + f"; shuffled tokens {_shuffled(known)}."
        )


def _answer(margins: Span, ranks: Span | None) -> str:
    """The question answered; where a few large margins make the answer, the order of the others gives its own."""
    in_logits, in_order = _side(margins), _side(margins if ranks is None else ranks)
    if in_logits == in_order:
        return in_logits
    return f"in logits, where large margins count most, {in_logits}; in the order of the margins {in_order}"


def _side(token: Span) -> str:
    if token.low > 0.5:
        return "it is more the token"
    if token.high < 0.5:
        return "it is less the token than what this seed does to it"
    return "it is about as much the token as what this seed does to it"


def _kinds(pairs: Iterable[PairRecord]) -> list[tuple[str, list[PairRecord]]]:
    """Pairs by the factors in which they differ, the fewest first."""
    of: dict[tuple[str, ...], list[PairRecord]] = {}
    for one in pairs:
        of.setdefault(tuple(one.differ), []).append(one)
    return [
        (f"the {' and '.join(words(one) for one in differ)}" if differ else "no factor that is known", of[differ])
        for differ in sorted(of, key=lambda differ: (differ != (SEED,), len(differ), differ))
    ]


def _same_sets(record: TraceRecord) -> Iterator[str]:
    for group in record.groups:
        if not group.unspeakable:
            continue
        seeds, ever = len(group.series), sum(group.unspeakable[1:])
        if not ever:
            yield f"{_group(group)}: no token is unspeakable under any seed."
            continue
        yield (
            f"{_group(group)}: of {count(ever, 'token')} that {_are(ever)} unspeakable under some seed "
            f"{group.unspeakable[-1]:,} {_are(group.unspeakable[-1])} so under all {seeds}; were the seeds "
            f"independent, {group.by_chance[-1]:.2g} would be."
        )
    for words, pairs in _kinds(record.pairs):
        known = [
            one.unspeakable for one in pairs if one.unspeakable is not None and one.unspeakable.kappa is not None
        ]
        if not known or not words.endswith("seed"):
            continue
        beyond = sum(one.p < 0.05 for one in known)
        kappas = [one.kappa for one in known if one.kappa is not None]
        yield (
            f"Two series that differ in {words} agree on the unspeakable tokens with Cohen's κ {_spans(kappas)}; the "
            f"overlap is larger than chance allows (p < 0.05) in {beyond} of {count(len(known), 'pair')}."
        )


# --- over the steps -------------------------------------------------------------------------------------------------


def _from_start(record: TraceRecord) -> Iterator[str]:
    for words, series in _alike(record.series):
        known = [one for one in series if one.from_first is not None]
        if not known:
            continue
        first = {one.steps[0].step for one in known}
        what = "the initialised model (step 0)" if first == {0} else (
            f"the first checkpoint (step {', '.join(map(str, sorted(first)))}; the initialised model is not among "
            "the runs)"
        )  # fmt: skip
        correlations = [one.from_first for one in known if one.from_first is not None]
        kept = _kept_sets([one.unspeakable_from_first for one in known if one.unspeakable_from_first is not None])
        yield (
            f"{words}: the margins of {what} and of the last checkpoint have a rank correlation of "
            f"{_correlations(correlations)} (shuffled tokens {_shuffled(correlations)}){kept}."
        )
        yield from _settled(words, known)
        for one in known:
            if one.control is not None:
                yield (
                    f"{one.name}: of {one.control.rows:,} rows of a random head of the same shape "
                    f"({one.control.name}) {_share(one.control.unspeakable / max(1, one.control.rows))} are "
                    f"unspeakable; of its own at the end {_share(_unspeakable(one, -1) / max(1, one.tokens))}."
                )


def _settled(words: str, series: Sequence[SeriesRecord]) -> Iterator[str]:
    """From which step on half of the final order is there: a rank correlation with the last checkpoint above 0.5."""
    found = []
    for one in series:
        if len(one.steps) > 3 and all(step.with_last is not None for step in one.steps):
            late = [at for at, step in enumerate(one.steps) if (step.with_last or 0.0) <= 0.5]
            found.append(one.steps[max(late, default=-1) + 1].step)
    if found:
        low, high = (f"{value:,}" for value in (min(found), max(found)))
        which = f"step {low}" if low == high else f"steps {low} to {high}, by series"
        yield f"{words}: the order of the margins correlates with the last one by more than 0.5 from {which}."


def _kept_sets(sets: Sequence[Overlap]) -> str:
    if not sets:
        return ""
    both, last = sum(one.both for one in sets), sum(one.other for one in sets)
    if not last:
        return "; no token is unspeakable at the end"
    return (
        f"; of {last:,} unspeakable at the end {both:,} {_were(both)} so then "
        f"({sum(one.expected for one in sets):.2g} by chance)"
    )


def _when(record: TraceRecord) -> Iterator[str]:
    for words, series in _alike(record.series):
        many = [one for one in series if len(one.steps) > 1]
        if not many:
            continue
        first, last = ([_unspeakable(one, at) for one in many] for at in (0, -1))
        ends = [one.steps[at].step for one in many[:1] for at in (0, -1)]
        said = (
            f"{words}: {_range(first)} unspeakable at step {ends[0]:,} and {_range(last)} at step {ends[1]:,}; "
            f"{_range([one.became for one in many])} became speakable in between and stayed so, "
            f"{_range([one.stopped for one in many])} stopped"
        )
        sums: dict[tuple[int, int], list[int]] = {}
        for one in many:
            for part in one.intervals:
                pair = sums.setdefault((part.after, part.by), [0, 0])
                pair[0] += part.became
                pair[1] += part.stopped
        for at, what in enumerate(("became speakable", "stopped")):
            whole = sum(pair[at] for pair in sums.values())
            if whole >= 5:
                place = max(sums, key=lambda one: sums[one][at])
                said += (
                    f"; most that {what} did so between steps {place[0]:,} and {place[1]:,} ({sums[place][at]:,} of "
                    f"{whole:,})"
                )
        yield said + "."
    if any(len(one.steps) > 1 for one in record.series):
        yield "Between two checkpoints nobody has seen when, or whether it happened more than once."


def _sudden(record: TraceRecord) -> Iterator[str]:
    for words, series in _alike(record.series):
        known = [one.sudden for one in series if one.sudden is not None]
        if not known:
            continue
        tested, sudden = sum(one.tested for one in known), sum(one.sudden for one in known)
        yield (
            f"{words}: the middle token makes {_shares(one.share[1] for one in known)} of its movement in its one "
            f"largest interval, the common path {_shares(one.common for one in known)} in its own. Beyond the common "
            f"path {sudden:,} of {tested:,} trajectories leap (false discoveries held at {_share(known[0].rate)}); "
            f"p < 0.05 for {_shares(one.below for one in known)} of them, where tokens shuffled within each interval "
            "give 5 %."
        )
    if all(one.sudden is None for one in record.series) and record.series:
        yield "Nothing can be said with fewer than four checkpoints at which margins are known."


def _back_and_forth(record: TraceRecord) -> Iterator[str]:
    for words, series in _alike(record.series):
        many = [one for one in series if len(one.steps) > 2]
        if not many:
            continue
        turned, back = sum(one.turned for one in many), sum(one.oscillating for one in many)
        yield (
            f"{words}: of {count(turned, 'trajectory', 'trajectories')} with a change between speakable and not "
            f"{back:,} {'goes' if back == 1 else 'go'} back on it ({_share(back / turned)})."
            if turned
            else f"{words}: no token changes between speakable and not."
        )


def _factors(record: TraceRecord) -> Iterator[str]:
    for factor in record.factors:
        yield _factor(factor)


def _factor(factor: FactorRecord) -> str:
    first = factor.levels[0]
    levels = "; ".join(_level(one, first) for one in factor.levels)
    along = (
        f" {words(factor.name).capitalize()} and {' and '.join(map(words, factor.along))} change together and cannot "
    )
    return f"{words(factor.name).capitalize()}, at step {factor.step:,}: {levels}." + (
        f"{along}be told apart here." if factor.along else ""
    )


def _level(one: LevelRecord, first: LevelRecord) -> str:
    margins = [margin for margin in one.median_margin if margin is not None]
    said = (
        f"{one.level} ({count(len(one.series), 'series', 'series')}): {_range(one.unspeakable)} unspeakable, median "
        f"margin {_numbers(margins)} logits"
    )
    if one.against is None:
        return said
    margin = "" if one.margin_against is None else f", {span(one.margin_against, '+.3g')} logits"
    return (
        f"{said} ({span(one.against, '+.3g')} tokens{margin} against {first.level} over {count(one.pairs, 'pair')} "
        "of the same seed, t intervals)"
    )


# --- words ----------------------------------------------------------------------------------------------------------


def _alike(series: Sequence[SeriesRecord]) -> list[tuple[str, list[SeriesRecord]]]:
    """Series that differ in their seed alone, under one name; without known factors each by itself."""
    of: dict[object, list[SeriesRecord]] = {}
    for one in series:
        of.setdefault(without_seed(one.factors) if SEED in one.factors else one.name, []).append(one)
    return [
        (some[0].name if len(some) == 1 else _called(dict(without_seed(some[0].factors)), len(some)), some)
        for some in of.values()
    ]


def _group(group: GroupRecord) -> str:
    called = _called(group.factors, len(group.series))
    return called if group.step is None else f"{called}, step {group.step:,}"


def _called(factors: dict[str, str], seeds: int) -> str:
    told = ", ".join(value if key == "optimizer" else f"{words(key)} {value}" for key, value in factors.items())
    return f"{told}, {seeds} seeds" if told else f"{seeds} seeds"


def words(factor: str) -> str:
    """A factor's name in a sentence."""
    return {"optimizer": "optimiser"}.get(factor, factor.replace("_", " "))


def count(value: int, one: str, many: str | None = None) -> str:
    """A number and its noun."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def percent(value: Span) -> str:
    """A share with its interval."""
    return f"{_share(value.value)} (95 %: {_share(value.low).removesuffix(' %')} to {_share(value.high)})"


def span(value: Span, form: str = ".2f") -> str:
    """A number with its interval."""
    low, middle, high = (_number(one, form) for one in (value.low, value.value, value.high))
    return f"{middle} (95 %: {low} to {high})"


def _share(value: float) -> str:
    percents = 100 * value
    return f"{percents:.0f} %" if percents == 0 or percents >= 9.95 else f"{percents:.1f} %"


def _shares(values: Iterable[float]) -> str:
    known = sorted(values)
    low, high = _share(known[0]), _share(known[-1])
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _number(value: float, form: str = ".2f") -> str:
    said = format(value, form)
    return (said if float(said) else said.removeprefix("-")).replace("-", "−")


def _numbers(values: Sequence[float]) -> str:
    if not values:
        return "not known"
    low, high = _number(min(values), ".3g"), _number(max(values), ".3g")
    return low if low == high else f"{_number(statistics.median(values), '.3g')} ({low} to {high})"


def _range(values: Sequence[int]) -> str:
    return f"{min(values):,}" if min(values) == max(values) else f"{min(values):,} to {max(values):,}"


def _correlations(known: Sequence[RankCorrelation]) -> str:
    return _spans([one.rho for one in known])


def _spans(known: Sequence[Span]) -> str:
    if len(known) == 1:
        return span(known[0])
    values = [one.value for one in known]
    low, high = _number(min(values)), _number(max(values))
    middle = _number(statistics.median(values))
    spread = f"all {len(known)}" if low == high else f"the middle of {len(known)} from {low} to {high}"
    return (
        f"{middle} ({spread}; 95 % intervals within {_number(min(one.low for one in known))} to "
        f"{_number(max(one.high for one in known))})"
    )


def _shuffled(known: Sequence[RankCorrelation]) -> str:
    low, high = min(one.shuffled_low for one in known), max(one.shuffled_high for one in known)
    return f"{_number(low)} to {_number(high)}"


def _unspeakable(one: SeriesRecord, at: int) -> int:
    return one.steps[at].classes.get("unspeakable", 0)


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
