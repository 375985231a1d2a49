"""A comparison for a person at a terminal: the same numbers as its page."""

from __future__ import annotations

from reach.compare.ranking import ranked, strongest_words
from reach.compare.record import Comparison, Detection, Domains, Hidden


def comparison_lines(result: Comparison) -> list[str]:
    """The comparison for a person."""
    found, settings = result.main, result.settings
    lines = [
        f"{result.model}: {found.sample.size} tokens ({_listed(found.sample.strata)}), "
        f"{settings.token_seconds:g} s per token, tolerance {settings.tolerance:g}",
        "",
        f"  {'backend':<22}{'given':>6}{'verified':>9}{'claims':>8}{'right':>7}{'false no':>9}{'false yes':>10}"
        f"{'missed':>8}{'limit':>7}{'failed':>7}{'median s':>10}",
    ]
    for g in ranked(found.grades):
        lines.append(
            f"  {g.backend:<22}{g.given:>6}{g.verified:>9}{g.claims:>8}{g.right:>7}"
            f"{g.false_unspeakable:>9}{g.false_speakable:>10}{g.missed:>8}{g.limit_hit:>7}"
            f"{sum(g.failures.values()):>7}{g.seconds_median or 0.0:>10.3g}"
        )
    lines += ["", f"  {strongest_words(found.grades)}"]
    liars = [g for g in found.grades if g.false_unspeakable or g.false_speakable]
    if liars:
        lines += ["", "  False claims (the proofs of the scan say otherwise):"]
        for g in sorted(liars, key=lambda g: -len(g.wrong_tokens)):
            wrong = ", ".join(result.tokens.get(str(t), f"#{t}") for t in g.wrong_tokens[:8])
            lines.append(f"    {g.backend}: {len(g.wrong_tokens)} tokens, such as {wrong}")
    telling = [g for g in found.grades if g.false_unspeakable or g.missed]
    lines += ["", *(f"  {g.sentence}" for g in telling)] if telling else []
    lines += _limit_lines(result.detection or ()) + _hidden_lines(result.hidden or ())
    return lines + _elsewhere_lines(result)


def _limit_lines(found: tuple[Detection, ...]) -> list[str]:
    """Detection limits: a line per backend and budget, a column per planted head."""
    if not found:
        return []
    heads = list(dict.fromkeys(one.head for one in found))
    lines = [
        "",
        "  Detection limits: 99 % of planted speakable / unspeakable tokens are settled down to this relative margin",
        "  (–: nowhere; in brackets: how many plants were tried, where there was no time for all)",
        f"  {'backend':<22}{'budget':>14}"
        + "".join(f"{words:>{_COLUMN}}" for words in heads)
        + f"{'false claims':>14}",
    ]
    rows: dict[tuple[str, str], dict[str, Detection]] = {}
    for one in found:
        rows.setdefault((one.backend, one.budget), {})[one.head] = one
    order = list(dict.fromkeys(backend for backend, _ in rows))
    for (backend, budget), by_head in sorted(rows.items(), key=lambda row: order.index(row[0][0])):
        cells = "".join(f"{_limit_cell(by_head.get(words)):>{_COLUMN}}" for words in heads)
        wrong = sum(one.misclaimed for one in by_head.values())
        lines.append(f"  {backend:<22}{budget:>14}{cells}{wrong:>14}")
    return lines


_COLUMN = 26


def _limit_cell(one: Detection | None) -> str:
    if one is None:
        return "not able"
    sides = [side and side.limit for side in (one.speakable, one.unspeakable)]
    words = " / ".join("–" if limit is None else f"{limit:.0e}" for limit in sides)
    return words if one.tried == one.plants else f"{words} ({one.tried} of {one.plants})"


def _hidden_lines(found: tuple[Hidden, ...]) -> list[str]:
    """Hidden tokens: found, expected at least, and the truth."""
    if not found:
        return []
    lines = [
        "",
        "  Hidden tokens: how many the restarts found, how many there are at least by their estimate, and the truth",
        f"  {'method':<22}{'found':>8}{'at least':>10}{'95 % interval':>18}{'truth':>8}  {'budget'}",
    ]
    for one in found:
        best = one.best
        estimate = "–" if best is None else f"{best.estimate:,.0f}"
        holds = "" if best is None or best.holds_truth else "; the interval does not hold the truth"
        lines.append(
            f"  {one.method:<22}{one.found:>8,}{estimate:>10}{'–' if best is None else best.interval:>18}"
            f"{one.truth:>8,}  {one.restarts} × {one.budget}{holds}"
        )
    return lines


def _elsewhere_lines(result: Comparison) -> list[str]:
    """The same head over other domains, and the random controls: how many tokens are unspeakable or hard to speak."""
    domains = result.domains or Domains()
    controls = {name: part.verdicts for name, part in result.problems.items() if part.verdicts}
    lines = []
    for words, found, still in (
        ("Over other domains", domains.verdicts, domains.open),
        ("Beside random heads", controls if len(controls) > 1 else {}, {}),
    ):
        parts = [
            f"{name}: {counts.get('unspeakable', 0):,} unspeakable, {counts.get('hard-to-speak', 0):,} hard-to-speak"
            + (f", {still[name]:,} without a verdict for lack of time" if still.get(name) else "")
            for name, counts in found.items()
        ]
        lines += ["", f"  {words}: {'; '.join(parts)}"] if parts else []
    return lines


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
