"""The plots of a start page: what scans of one question found, by family, against the shape and age of the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports import plain
from reports.charts.axes import Axis, linear_axis, log_axis, signed_axis
from reports.charts.chart import SYMBOLS, Chart, Dash, Line, Points, Symbol
from reports.charts.drawing import Drawing, Entry, draw
from reports.index_runs import IndexedRun

_COLOURS = 6
_MOST_FAMILIES = _COLOURS * len(SYMBOLS)
_OTHERS = "further families"
_TIES = ("tied", "untied")
_APART = 30.0
"""Shares that differ by more are shown on a logarithmic axis."""

Value = Callable[[IndexedRun], float | None]
_TRAJECTORY: tuple[tuple[str, Dash], ...] = (("never", "solid"), ("hard-fill", "dash"))
_MEASURES: tuple[tuple[str, str, Callable[[IndexedRun], int]], ...] = (
    ("unspeakable", "Unspeakable", lambda run: run.verdicts.get("unspeakable", 0)),
    ("hard", "Hard-to-speak", lambda run: run.hard_to_speak),
)
_AGAINST: tuple[tuple[str, str, Value], ...] = (
    ("v", "V, tokens", lambda run: run.v),
    ("d", "d, dimensions", lambda run: run.d),
    ("ratio", "V/d", lambda run: run.v / run.d if run.v and run.d else None),
    ("tying", "output matrix", lambda run: _TIES.index(run.tying) if run.tying in _TIES else None),
    ("year", "year", lambda run: run.year),
)


@dataclass(frozen=True)
class Measure:
    """One share against everything, a small chart each."""

    title: str
    charts: tuple[Drawing, ...]


@dataclass(frozen=True)
class Question:
    """The models whose scans ask the same, over one domain. `notes` say what the charts leave out, or all."""

    key: str
    title: str
    legend: tuple[Entry, ...]
    measures: tuple[Measure, ...]
    notes: tuple[str, ...]


def questions(models: Sequence[IndexedRun]) -> tuple[Question, ...]:
    """The plots of each domain, for readable runs: of a series its last checkpoint alone.

    Domains over which a single model was scanned have nothing to plot and share one entry.
    """
    groups: dict[str, list[IndexedRun]] = {}
    for run in models:
        groups.setdefault(run.group, []).append(run)
    marks = _marks(models)
    ordered = sorted(groups.items(), key=lambda one: (-len(one[1]), one[0]))
    found = [_question(f"domain-{at}", name, runs, marks) for at, (name, runs) in enumerate(ordered) if len(runs) > 1]
    alone = tuple(f"{runs[0].name}: over {name}." for name, runs in ordered if len(runs) == 1)
    if alone:
        found.append(Question("alone", "Domains of a single scan", (), (), alone))
    return tuple(found)


def trajectory(key: str, steps: Sequence[int], runs: Sequence[IndexedRun]) -> Drawing:
    """Shares of a series over its checkpoints."""
    shares = [[100 * count(run) / run.asked for run in runs] for _, _, count in _MEASURES]
    marks = tuple(
        Line(title.lower(), [float(step) for step in steps], values, colour, dash, symbol="circle")
        for (_, title, _), values, (colour, dash) in zip(_MEASURES, shares, _TRAJECTORY, strict=True)
    )
    title = f"Checkpoints {steps[0]:,} to {steps[-1]:,}"
    y = linear_axis("% of the tokens", [value for values in shares for value in values], zero=True, about=3)
    return draw(
        Chart(
            key, title, linear_axis("step", steps, whole=True, about=3), y, marks, small=True, summary=_ends(shares)
        )
    )


def _ends(shares: Sequence[Sequence[float]]) -> str:
    said = [
        f"{title}: {values[0]:.2g} % at first, {values[-1]:.2g} % at last."
        for (_, title, _), values in zip(_MEASURES, shares, strict=True)
    ]
    return " ".join(said)


def _marks(models: Sequence[IndexedRun]) -> dict[str, tuple[str, Symbol]]:
    """A colour and a symbol for each family, the same in all charts."""
    families = sorted({_family(run) for run in models})
    return {
        name: (f"run-{at % _COLOURS}", SYMBOLS[(at + at // _COLOURS) % len(SYMBOLS)])
        if at < _MOST_FAMILIES
        else ("soft", "bar")
        for at, name in enumerate(families)
    }


def _family(run: IndexedRun) -> str:
    return run.family or "family not known"


def _question(key: str, title: str, runs: Sequence[IndexedRun], marks: dict[str, tuple[str, Symbol]]) -> Question:
    whole = [run for run in runs if run.whole]
    years = [run for run in whole if run.year is not None]
    axes = [axis for axis in _AGAINST if any(axis[2](run) is not None for run in whole)] if whole else []
    measures = tuple(
        Measure(
            title, tuple(draw(_chart(f"{key}-{name}-{axis[0]}", title, count, axis, whole, marks)) for axis in axes)
        )
        for name, title, count in _MEASURES
    )
    notes = []
    if len(runs) > len(whole):
        rest = len(runs) - len(whole)
        notes.append(f"{plain.plural(rest, 'scan')} of a part of the vocabulary {_is(rest)} left out: see the table.")
    open_ones = sum(run.verdicts.get("undecided", 0) > 0 for run in whole)
    if open_ones:
        notes.append(f"{plain.plural(open_ones, 'model')} with undecided tokens: the share that is shown is proved.")
    if whole and len(years) < len(whole):
        rest = len(whole) - len(years)
        notes.append(
            f"The year is not known of {rest:,} of {plain.plural(len(whole), 'model')}: no file of theirs at hand "
            "names one."
        )
    odd = sum(run.tying not in _TIES for run in whole)
    if odd:
        notes.append(f"Whether the output matrix is tied is not known of {plain.plural(odd, 'model')}.")
    shown = {_family(run) for run in whole}
    heading = f"{plain.plural(len(runs), 'scan')} over {title}"
    return Question(key, heading, _legend(marks, shown), measures if axes else (), tuple(notes))


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _legend(marks: dict[str, tuple[str, Symbol]], shown: set[str]) -> tuple[Entry, ...]:
    """The families of a question, drawn as in its charts."""
    names: dict[tuple[str, Symbol], str] = {}
    for name, mark in marks.items():
        if name in shown:
            names[mark] = _OTHERS if mark == ("soft", "bar") else name
    line = Axis("", 0.0, 1.0)
    points = tuple(Points(name, (), (), *mark) for mark, name in names.items())
    return draw(Chart("legend", "", line, line, points)).legend


def _chart(
    key: str,
    title: str,
    count: Callable[[IndexedRun], int],
    against: tuple[str, str, Value],
    runs: Sequence[IndexedRun],
    marks: dict[str, tuple[str, Symbol]],
) -> Chart:
    kind, name, value = against
    places = [(run, found, 100 * count(run) / run.asked) for run in runs if (found := value(run)) is not None]
    xs, ys = [place[1] for place in places], [place[2] for place in places]
    points = tuple(Points(f"{_family(run)}, {run.name}", (x,), (y,), *marks[_family(run)]) for run, x, y in places)
    summary = f"{plain.plural(len(places), 'model')}, from {min(ys):.2g} to {max(ys):.2g} %."
    return Chart(
        key, f"{title} against {_short(kind)}", _across(kind, name, xs), _shares(ys), points, summary, legend=False,
        small=True,
    )  # fmt: skip


def _short(kind: str) -> str:
    return {"v": "V", "d": "d", "ratio": "V/d", "tying": "tying"}.get(kind, kind)


def _across(kind: str, name: str, values: Sequence[float]) -> Axis:
    if kind == "tying":
        return Axis(name, -0.6, len(_TIES) - 0.4, ticks=tuple((float(at), word) for at, word in enumerate(_TIES)))
    if kind == "year":
        years = sorted({int(value) for value in values})
        first, last = years[0] - 1, years[-1] + 1
        step = max(1, (last - first) // 4)
        return Axis(name, first, last, ticks=tuple((float(at), str(at)) for at in range(first, last + 1, step)))
    return log_axis(f"{name} (log)", values, room=0.06)


def _shares(values: Sequence[float]) -> Axis:
    sizes = [value for value in values if value > 0]
    if sizes and max(sizes) > _APART * min(sizes):
        return signed_axis("%", values)
    return linear_axis("%", values, zero=True, about=3, room=0.05)
