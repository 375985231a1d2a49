"""The summary of a measurement: lines for a person, a record for a program."""

from __future__ import annotations

from typing import Any

from reach.interference.packing import levenshtein_bound, orthoplex_bound, sidelnikov_bound, welch_bound
from reach.interference.record import Band, Interference, Roc, Speakability
from reach.interference.speakability import indicator_title

_SHOWN = (
    "mean",
    "q999",
    "mean_strongest",
    "coherence",
    "dimensionality",
    "effective_rank",
    "mean_share",
    "k_moments",
)


_BOUNDS = {
    "Levenshtein bound": levenshtein_bound,
    "orthoplex bound": orthoplex_bound,
    "Welch bound": welch_bound,
    "Welch bound of a higher order": sidelnikov_bound,
}
_MOST_Z = 100
"""A z-score is not told beyond this: a few draws do not say by how many of their deviations."""


def crowding(record: Interference) -> str:
    """How crowded the rows are: tokens per dimension; the floor of the largest |cos|, chance, and the model."""
    said = f"{record.v:,} token directions share {record.d:,} dimensions: {record.v / record.d:.3g} per dimension."
    case = next((case for case in record.cases if case.rows == "A" and not case.centred), None)
    own, chance = (None, None) if case is None else (case.statistics.get("coherence"), case.chance.get("coherence"))
    if case is None or own is None:
        return said
    floors = {name: bound(case.n, case.d) for name, bound in _BOUNDS.items()}
    name = max(floors, key=lambda one: floors[one])
    floor = f"at least {floors[name]:.3f} in every arrangement ({name})" if floors[name] else ""
    parts = [floor or "0 if all are orthogonal, for which there is room"]
    parts += [] if chance is None else [f"{chance:.3f} expected of random directions"]
    return f"{said} The largest |cos| of two of them is {', '.join(parts)}, and {own:.3f} in this model."


def z_words(z: float) -> str:
    """A z-score for a person."""
    if abs(z) > _MOST_Z:
        return f"> {_MOST_Z}" if z > 0 else f"< −{_MOST_Z}"
    return f"{z:+.1f}".replace("-", "−")


def summary_lines(record: Interference) -> list[str]:
    """What is printed: the folded matrix beside chance, and how well indicators predict."""
    lines = [f"{record.model}: {record.v} tokens × {record.d} dimensions", f"  {crowding(record)}"]
    titles = {statistic.key: statistic.title for statistic in record.statistics}
    packing = record.theory.packing
    if packing.epsilon is not None:
        lines.append(f"  random projection guarantees: Johnson–Lindenstrauss interference {packing.epsilon:.3f}")
    for case in record.cases:
        if case.rows != "A":
            continue
        lines += ["", f"  {case.title}"]
        heads = "".join(f"{kind[:12] + ' z':>17}" for kind in case.controls)
        lines.append(f"    {'':<24}{'model':>10}{'chance':>10}{heads}")
        for key in _SHOWN:
            if key not in case.statistics:
                continue
            zs = "".join(f"{_z(control.statistics.get(key)):>17}" for control in case.controls.values())
            value, random = case.statistics[key], case.chance.get(key)
            lines.append(f"    {titles[key]:<24}{_number(value):>10}{_number(random):>10}{zs}")
    lines += ["", *_speakability_lines(record.speakability)]
    return lines


def summary_record(record: Interference) -> dict[str, Any]:
    """What `--json` prints: the record without the curves that only a page draws."""
    short = record.plain()
    for name in ("statistics", "hardware", "versions"):
        del short[name]
    for case in short["cases"]:
        del case["shapes"]
        case["controls"] = {kind: control["statistics"] for kind, control in case["controls"].items()}
    short["speakability"].pop("scatter", None)
    return short


def _speakability_lines(found: Speakability) -> list[str]:
    if found.counts is None:
        return [f"  not compared with verdicts: {found.reason}"]
    lines = [
        f"  area under the ROC for unspeakable ({found.counts.unspeakable}) and hard-to-speak "
        f"({found.counts.hard_to_speak}) tokens; rank correlation with the margin"
    ]
    for row in found.indicators:
        rho = row.correlation
        lines.append(
            f"    {indicator_title(row):<46}{_area(row.unspeakable):>22}{_area(row.hard_to_speak):>22}"
            f"{'-' if rho is None else format(rho.rho, '+.2f'):>8}"
        )
    return lines


def _area(found: Roc | None) -> str:
    return "-" if found is None else f"{found.auc:.2f} ({found.low:.2f}–{found.high:.2f})"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4g}"


def _z(found: Band | None) -> str:
    if found is None:
        return "-"
    return "no spread" if found.z is None else z_words(found.z)
