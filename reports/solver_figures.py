"""The plots of the solver page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reach.compare.record import Comparison, Detection, Estimate, Hidden, Limit, Profile
from reports import plain
from reports.charts.axes import Axis, linear_axis, log_axis, named_axis
from reports.charts.chart import SYMBOLS, Band, Chart, Dash, Line, Points
from reports.charts.drawing import Drawing, draw

_DASHES: tuple[Dash, ...] = ("solid", "dash", "dot")
_PERCENT = Axis("", 0.0, 100.0, ticks=((0.0, "0"), (50.0, "50"), (100.0, "100")))


@dataclass(frozen=True)
class Limits:
    """Detection limits on one planted head for tokens of one kind: a small chart for each backend."""

    head: str
    kind: str
    charts: tuple[Drawing, ...]


@dataclass(frozen=True)
class PairCell:
    """How often two backends disagree, of how many tokens, and how much that is: 0 nothing, 1 to 4 its strength."""

    words: str
    count: int
    shade: int
    same: bool


def detection_figures(found: Sequence[Detection]) -> tuple[Limits, ...]:
    """Shares of planted tokens settled by margin, for each head and kind."""
    views: list[Limits] = []
    for head in dict.fromkeys(one.head for one in found):
        for kind in ("speakable", "unspeakable"):
            # Of a method with several budgets the largest counts here; the table has them all.
            best: dict[str, Detection] = {}
            for one in found:
                side = _side(one, kind)
                if one.head != head or side is None or not side.recall:
                    continue
                before = best.get(one.backend)
                if before is None or (one.iterations or float("inf")) > (before.iterations or float("inf")):
                    best[one.backend] = one
            sides = {name: side for name, one in best.items() if (side := _side(one, kind)) is not None}
            levels = [cell.level for side in sides.values() for cell in side.recall]
            axis = log_axis("planted margin, logits (log)", levels, room=0.05)
            charts = tuple(
                draw(_detection(f"detection-{len(views)}-{at}", name, side, axis))
                for at, (name, side) in enumerate(sides.items())
            )
            views.append(Limits(head, kind, charts))
    return tuple(views)


def _side(one: Detection, kind: str) -> Limit | None:
    return one.speakable if kind == "speakable" else one.unspeakable


def _detection(key: str, backend: str, side: Limit, axis: Axis) -> Chart:
    cells = sorted(side.recall, key=lambda cell: cell.level)
    x = [cell.level for cell in cells]
    ends = [100 * cell.low for cell in cells], [100 * cell.high for cell in cells]
    rates = [100 * cell.rate for cell in cells]
    marks = (Band("", x, *ends, "own-fill"), Line("% settled", x, rates, "own", symbol="circle", thick=True))
    return Chart(key, backend, axis, _PERCENT, marks, legend=False, small=True)


def hidden_figure(found: Sequence[Hidden]) -> Drawing | None:
    """What each search found, its estimate with the interval, and the truth."""
    if not found:
        return None
    rows = [float(at) for at in range(len(found))]
    best = [one.best for one in found]
    estimates = [None if one is None else one.estimate for one in best]
    ends = tuple(
        None
        if one is None
        else (one.estimate if one.low is None else one.low, one.estimate if one.high is None else one.high)
        for one in best
    )
    truths = [float(one.truth) for one in found]
    values = [0.0, *(float(one.found) for one in found), *truths, *(one for one in estimates if one is not None)]
    values += [end for pair in ends if pair is not None for end in pair]
    marks = (
        Points("found", [float(one.found) for one in found], rows, "own", "open-circle", large=True),
        Points("estimate with 95 % interval", estimates, rows, "hard-fill", "diamond", ends=ends, large=True),
        Points("truth", truths, rows, "never", "bar", large=True),
    )
    across = linear_axis("tokens", values, zero=True, whole=True, room=0.03)
    down = named_axis("", [one.method for one in found])
    return draw(Chart("hidden", "Found, estimated and true", across, down, marks, wide=True))


def _ends(one: Estimate) -> tuple[float, float]:
    return (one.estimate if one.low is None else one.low, one.estimate if one.high is None else one.high)


def profile_figure(profile: Profile) -> Drawing | None:
    """Shares of tokens solved within so many times the time of the fastest backend."""
    if not profile.tau:
        return None
    marks = tuple(
        Line(
            name, profile.tau, [100 * one for one in values], f"run-{at % 6}", _DASHES[at // 6 % 3], "after",
            SYMBOLS[(at + at // 6) % 6] if at >= 18 else None, thick=True,
        )
        for at, (name, values) in enumerate(profile.share.items())
    )  # fmt: skip
    across = log_axis("times the fastest (log scale)", profile.tau)
    down = Axis("% of tokens solved", 0.0, 103.0, ticks=tuple((float(at), str(at)) for at in range(0, 101, 20)))
    return draw(Chart("profile", "Performance profile", across, down, marks, wide=True))


def profile_note(profile: Profile) -> str:
    """Of how many tokens the profile is."""
    if not profile.tau:
        return "No token was given to every backend, so there is no profile."
    few = (
        " Too few to read much into: give slow backends more time, or leave them out." if profile.tokens < 10 else ""
    )
    return f"Tokens that every backend was given: {profile.tokens:,}.{few}"


def pair_cells(found: Comparison) -> tuple[tuple[str, tuple[PairCell, ...]], ...]:
    """How often each two backends disagree, a row for each."""
    apart = found.main.disagreements
    top = max((count for row in apart.counts for count in row), default=0)
    rows = []
    for a, name in enumerate(apart.backends):
        cells = []
        for b, other in enumerate(apart.backends):
            count, of = apart.counts[a][b], apart.compared[a][b]
            words = f"{name} and {other} disagree on {count:,} of {plain.plural(of, 'token')}"
            cells.append(PairCell(words, count, -(-4 * count // top) if top else 0, a == b))
        rows.append((name, tuple(cells)))
    return tuple(rows)
