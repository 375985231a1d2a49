"""A comparison for a person at a terminal: the same numbers as its page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reach.compare.settings import CompareSettings


def comparison_lines(result: dict[str, Any]) -> list[str]:
    """The comparison for a person."""
    found = result["problems"]["model"]
    token_seconds = CompareSettings(**result["settings"]).token_seconds
    lines = [
        f"{result['model']}: {found['sample']['size']} tokens ({_listed(found['sample']['strata'])}), "
        f"{token_seconds:g} s per token, tolerance {result['settings']['tolerance']:g}",
        "",
        f"  {'backend':<22}{'given':>6}{'verified':>9}{'claims':>8}{'right':>7}{'false no':>9}{'false yes':>10}"
        f"{'limit':>7}{'failed':>7}{'median s':>10}",
    ]
    for g in sorted(found["grades"], key=lambda g: (-g["verified"] / g["given"], g["seconds_median"])):
        lines.append(
            f"  {g['backend']:<22}{g['given']:>6}{g['verified']:>9}{g['claims']:>8}{g['right']:>7}"
            f"{g['false_unspeakable']:>9}{g['false_speakable']:>10}{g['limit_hit']:>7}"
            f"{sum(g['failures'].values()):>7}{g['seconds_median']:>10.3g}"
        )
    liars = [g for g in found["grades"] if g["false_unspeakable"] or g["false_speakable"]]
    if liars:
        lines += ["", "  False claims (the proofs of the scan say otherwise):"]
        for g in sorted(liars, key=lambda g: -len(g["wrong_tokens"])):
            wrong = ", ".join(result["tokens"].get(str(t), f"#{t}") for t in g["wrong_tokens"][:8])
            lines.append(f"    {g['backend']}: {len(g['wrong_tokens'])} tokens, such as {wrong}")
        lines += ["", *(f"  {g['sentence']}" for g in liars if g["false_unspeakable"])]
    lines += _limit_lines(result.get("detection", [])) + _hidden_lines(result.get("hidden", []))
    return lines + _elsewhere_lines(result)


def _limit_lines(found: list[dict[str, Any]]) -> list[str]:
    """Detection limits: a line per backend and budget, a column per planted head."""
    if not found:
        return []
    heads = list(dict.fromkeys(head_words(one) for one in found))
    lines = [
        "",
        "  Detection limits: 99 % of planted speakable / unspeakable tokens are settled down to this relative margin",
        "  (–: nowhere; in brackets: how many plants were tried, where there was no time for all)",
        f"  {'backend':<22}{'budget':>14}"
        + "".join(f"{words:>{_COLUMN}}" for words in heads)
        + f"{'false claims':>14}",
    ]
    rows: dict[tuple[str, int | None], dict[str, dict[str, Any]]] = {}
    for one in found:
        rows.setdefault((one["backend"], one["iterations"]), {})[head_words(one)] = one
    order = list(dict.fromkeys(backend for backend, _ in rows))
    for (backend, iterations), by_head in sorted(rows.items(), key=lambda row: order.index(row[0][0])):
        budget = "its own" if iterations is None else f"{iterations} iterations"
        cells = "".join(f"{_limit_cell(by_head.get(words)):>{_COLUMN}}" for words in heads)
        wrong = sum(one["misclaimed"] for one in by_head.values())
        lines.append(f"  {backend:<22}{budget:>14}{cells}{wrong:>14}")
    return lines


def head_words(one: Mapping[str, Any]) -> str:
    """A planted head in words."""
    return f"{one['v']} × {one['d']}, {'with' if one['offsets'] else 'no'} offsets"


_COLUMN = 26


def _limit_cell(one: dict[str, Any] | None) -> str:
    if one is None:
        return "not able"
    sides = [one[kind] and one[kind]["limit"] for kind in ("speakable", "unspeakable")]
    words = " / ".join("–" if limit is None else f"{limit:.0e}" for limit in sides)
    return words if one["tried"] == one["plants"] else f"{words} ({one['tried']} of {one['plants']})"


def _hidden_lines(found: list[dict[str, Any]]) -> list[str]:
    """Hidden tokens: found, expected at least, and the truth."""
    if not found:
        return []
    lines = [
        "",
        "  Hidden tokens: how many the restarts found, how many there are at least by their estimate, and the truth",
        f"  {'method':<22}{'found':>8}{'at least':>10}{'95 % interval':>18}{'truth':>8}  {'budget'}",
    ]
    for one in found:
        best = one["estimates"][0] if one["estimates"] else None
        estimate = "–" if best is None else f"{best['estimate']:,.0f}"
        interval = "–" if best is None else f"{_end(best['low'])} to {_end(best['high'])}"
        holds = "" if best is None or best["holds_truth"] else "; the interval does not hold the truth"
        lines.append(
            f"  {one['method']:<22}{one['found']:>8,}{estimate:>10}{interval:>18}{one['truth']:>8,}  "
            f"{one['restarts']} × {one['budget']}{holds}"
        )
    return lines


def _elsewhere_lines(result: dict[str, Any]) -> list[str]:
    """The same head over other domains, and the random controls: how many tokens are unspeakable or hard to speak."""
    domains = result.get("domains", {})
    controls = {name: part["verdicts"] for name, part in result["problems"].items() if "verdicts" in part}
    lines = []
    for words, found, still in (
        ("Over other domains", domains.get("verdicts", {}), domains.get("open", {})),
        ("Beside random heads", controls if len(controls) > 1 else {}, {}),
    ):
        parts = [
            f"{name}: {counts.get('unspeakable', 0):,} unspeakable, {counts['hard-to-speak']:,} hard-to-speak"
            + (f", {still[name]:,} without a verdict for lack of time" if still.get(name) else "")
            for name, counts in found.items()
        ]
        lines += ["", f"  {words}: {'; '.join(parts)}"] if parts else []
    return lines


def _end(value: float | None) -> str:
    return "unbounded" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
