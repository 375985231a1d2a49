"""The summary of a run: totals for the manifest, lines for a person, a record for a program."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict
from typing import Any

import numpy as np

from reach.nearly_never import FORMAT_NAMES
from reach.runs.domain_words import domain_words
from reach.runs.inside import is_summary
from reach.runs.manifest import NearlyNever
from reach.runs.schema import VERDICT_NAMES
from reach.runs.served_summary import served_counts, served_lines
from reach.samplers import SamplerPoint, recorded_curve
from reach.terminal import harmless
from reach.verdicts import Verdicts

_SHOWN_TOKENS, _WIDTH = 20, 100
_LOW = (0.1, 0.01, 0.001)
"""Probabilities that ceilings are counted below."""
_SHOWN_BLOCKERS = 3
_NEARLY = ("token", "text", "margin_lower", "margin_upper", "winning_logit", "nearly_never")


def summary_record(verdicts: Verdicts) -> dict[str, Any]:
    """What `--json` prints: totals, funnel, every token that is not speakable, and every nearly-never one."""
    manifest = verdicts.manifest.record()
    curve = recorded_curve(verdicts) if _has_margins(verdicts) else None
    special = sorted([*verdicts.unspeakable.tolist(), *verdicts.tied.tolist(), *verdicts.undecided.tolist()])
    return {
        "run": str(verdicts.at),
        "model": manifest["model"],
        "domain": domain_words(manifest),
        **{name: manifest[name] for name in ("totals", "funnel", "seconds", "peak_memory_bytes", "warnings")},
        "causes": [cause.record() for cause in verdicts.causes],
        "tokens": [_special(verdicts, token) for token in special],
        **({"min_p": [asdict(point) for point in curve]} if curve is not None else {}),
        **({} if verdicts.tables.ceilings is None else {"ceilings": ceiling_record(verdicts)}),
        **({} if verdicts.tables.served is None else {"served": [one.record() for one in served_counts(verdicts)]}),
        "nearly_never": [verdicts.entry(token, *_NEARLY) for token in verdicts.nearly_never.tolist()],
    }


def _special(verdicts: Verdicts, token: int) -> dict[str, Any]:
    entry = verdicts.entry(token, "token", "text", "verdict", "evidence", "margin_upper", "reason", "argmax_id")
    if entry["verdict"] == "unspeakable":
        rows, weights = verdicts.hull.of(token)
        if is_summary(weights):
            entry["blockers_are_a_summary"] = True
        entry["blockers"] = [
            {"token_id": row, "weight": weight} for row, weight in zip(rows.tolist(), weights.tolist(), strict=True)
        ]
    if verdicts.categories is not None:
        entry["categories"] = [one.record() for one in verdicts.categories_of(token)]
    return entry


def summary_lines(verdicts: Verdicts) -> list[str]:
    """The summary for a person."""
    manifest, sums = verdicts.manifest, verdicts.totals
    counts = sums.verdicts
    lines = [
        f"{manifest.model}: {manifest.v} tokens × {manifest.d} dimensions, domain {domain_words(manifest.record())}",
        "",
        f"  {'speakable':<12}{counts['speakable']:>8}   ({sums.own_direction} own-direction, "
        f"{sums.hard_to_speak} hard-to-speak)",
        *_nearly_never_line(sums.nearly_never),
        *(f"  {name:<12}{counts[name]:>8}" for name in VERDICT_NAMES[1:]),
        *(line for cause in verdicts.causes for line in ("", *_wrapped(cause.sentence))),
        "",
        "  proved: " + ", ".join(f"{count} {name}" for name, count in sums.evidence.items() if count),
    ]
    lines += [f"  {line}" for line in _further_lines(verdicts)]
    if sums.tokens < len(verdicts):
        lines.append(f"  {len(verdicts) - sums.tokens} tokens were not asked for")
    lines += ["", f"  {'stage':<25}{'rows in':>9}{'settled':>9}{'seconds':>9}"]
    lines += [
        f"  {row.stage:<25}{row.rows_in:>9}{row.settled or 0:>9}{row.seconds or 0:>9.2f}"
        for row in manifest.funnel
        if row.rows_in
    ]
    if manifest.seconds is not None:
        lines.append(f"  {'in all':<25}{'':>18}{manifest.seconds:>9.2f}")
    groups = (
        ("unspeakable tokens and their main blockers:", verdicts.unspeakable, _mix),
        ("nearly never (they win by less than a step of this number format):", verdicts.nearly_never, _by_how_much),
    )
    for title, ids, say in groups:
        lines += _group(title, [say(verdicts, token) for token in ids[:_SHOWN_TOKENS].tolist()], len(ids))
    tied = _tied(verdicts)
    lines += _group("tied tokens (argmax returns the first of those that share a row):", tied, len(tied))
    why = [f"{_shown(verdicts, t)}: {verdicts.reason.of(t)}" for t in verdicts.undecided[:_SHOWN_TOKENS].tolist()]
    lines += _group("undecided (neither a witness nor a proof against one was found):", why, len(verdicts.undecided))
    return lines


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(
        harmless(sentence), _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )


def ceiling_record(verdicts: Verdicts) -> dict[str, Any] | None:
    """The ceilings in numbers, or None where there are none: how many, how many as close as asked, and how low."""
    if verdicts.tables.ceilings is None:
        return None
    lower, upper = verdicts.ceiling
    gap = verdicts.manifest.settings.get("ceilings")
    gap = gap if isinstance(gap, float | int) else math.inf
    known = ~np.isnan(upper)
    return {
        "gap": gap,
        "tokens": int(known.sum()),
        "within_gap": int((upper - lower <= gap).sum()),
        "at_most": {f"{p:g}": int((upper[known] <= math.log(p)).sum()) for p in _LOW},
    }


def _curve_words(curve: list[SamplerPoint]) -> str:
    """The counts as far as there are any, and for how many tokens a threshold is open."""
    words = []
    for point in curve:
        where = "greedily" if point.p == 1 else f"at {point.p:g}"
        words.append(f"{point.out_of_reach} {where}" + (f" ({point.open} open)" if point.open else ""))
        if not point.out_of_reach and not point.open:
            break
    return ", ".join(words)


def _has_margins(verdicts: Verdicts) -> bool:
    return verdicts.manifest.settings.get("margin_gap") is not None


def _further_lines(verdicts: Verdicts) -> list[str]:
    """What is known of ceilings and of tokens that single others silence; nothing where that was not asked for."""
    lines, found = [], ceiling_record(verdicts)
    if found is not None:
        low = ", ".join(f"{count} never above {100 * float(p):g} %" for p, count in found["at_most"].items())
        lines.append(
            f"ceilings: {found['within_gap']} of {found['tokens']} to {found['gap']:g} in ln p; of these tokens {low}"
        )
    curve = recorded_curve(verdicts) if _has_margins(verdicts) else None
    if curve is not None:
        lines.append(f"out of reach of min-p: {_curve_words(curve)}")
    silencers = verdicts.tables.silencers
    if silencers is not None and silencers.num_rows:
        lines.append(f"silenced by a single other token alone: {silencers.num_rows}")
    return lines + served_lines(verdicts)


def _group(title: str, entries: list[str], number: int) -> list[str]:
    """A title and the first of its entries, of which there are so many; nothing where there are none."""
    if not number:
        return []
    more = [f"    … and {number - _SHOWN_TOKENS} more (see the report)"] if number > _SHOWN_TOKENS else []
    return ["", f"  {title}", *(f"    {entry}" for entry in entries[:_SHOWN_TOKENS]), *more]


def _nearly_never_line(counts: NearlyNever | None) -> list[str]:
    """How many of the speakable tokens are nearly never; nothing where a run does not know."""
    if counts is None:
        return []
    still = f"; not known of {counts.open} more" if counts.open else ""
    parts = f"of these, below a step of bfloat16; {counts.float32} below one of float32{still}"
    return [f"    {'nearly never':<12}{counts.bfloat16:>6}   ({parts})"]


def _by_how_much(verdicts: Verdicts, token: int) -> str:
    return (
        f"{_shown(verdicts, token)}: at most {verdicts.margin_upper[token]:.3g} logits at a logit of "
        f"{verdicts.winning_logit[token]:.3g} ({FORMAT_NAMES[verdicts.nearly_never_in[token]]})"
    )


def _tied(verdicts: Verdicts) -> list[str]:
    """Tied tokens class by class, the one that argmax returns first; runs of ids without a name as ranges."""
    classes: dict[int, list[int]] = {}
    for token in verdicts.tied.tolist():
        classes.setdefault(int(verdicts.first_of[token]), []).append(token)
    found = [_ranges(verdicts, sorted({first, *those})) for first, those in classes.items()]
    return [
        " = ".join(parts) if len(parts) > 1
        else f"{parts[0]} equal" if "–" in parts[0]
        else f"{parts[0]} equals rows that were not asked for"
        for parts in found
    ]  # fmt: skip


def _ranges(verdicts: Verdicts, tokens: list[int]) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(tokens):
        end = at
        while verdicts.name(tokens[at]) is None and end + 1 < len(tokens) and tokens[end + 1] == tokens[end] + 1:
            if verdicts.name(tokens[end + 1]) is not None:
                break
            end += 1
        found.append(_shown(verdicts, tokens[at]) if end == at else f"#{tokens[at]}–{tokens[end]}")
        at = end + 1
    return found


def _mix(verdicts: Verdicts, token: int) -> str:
    rows, weights = verdicts.hull.of(token)
    pairs = list(zip(rows.tolist(), weights.tolist(), strict=True))
    if is_summary(weights):
        heaviest = ", ".join(_shown(verdicts, row) for row, _ in pairs[:_SHOWN_BLOCKERS])
        return f"{_shown(verdicts, token)} ← a mix of all other rows, the heaviest {heaviest}"
    shown = " + ".join(f"{weight:.2f} × {_shown(verdicts, row)}" for row, weight in pairs[:_SHOWN_BLOCKERS])
    more = f" + {len(pairs) - _SHOWN_BLOCKERS} more" if len(pairs) > _SHOWN_BLOCKERS else ""
    return f"{_shown(verdicts, token)} ← {shown}{more}"


def _shown(verdicts: Verdicts, token: int) -> str:
    """The token in quotes, with everything that could disturb a terminal escaped, and its id."""
    name = verdicts.name(token)
    return f"#{token}" if name is None else f"{_printable(name)} (#{token})"


def _printable(text: str, most: int = 40) -> str:
    shown = ascii(text) if not text.isprintable() else repr(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
