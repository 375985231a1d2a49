"""The summary of a run: totals for the manifest, lines for a person, a record for a program."""

from __future__ import annotations

from typing import Any

from reach.nearly_never import FORMAT_NAMES
from reach.runs.domain_words import domain_words
from reach.runs.manifest import NearlyNever, Totals
from reach.runs.schema import VERDICT_NAMES
from reach.verdicts import Verdicts

_SHOWN_TOKENS = 20
_SHOWN_BLOCKERS = 3


NEARLY_NEVER = "nearly-never"
CONDITIONS = (*VERDICT_NAMES, NEARLY_NEVER, *(f"{NEARLY_NEVER}-{name}" for name in FORMAT_NAMES))
"""What `--fail-on` knows: verdicts, and tokens that are nearly never in any format, or in a certain one."""


def conditions(totals: Totals) -> dict[str, int]:
    """How many tokens meet each of the `CONDITIONS`; where nearly-never ones are not known, none."""
    nearly = totals.nearly_never
    counts = {name: 0 if nearly is None else int(getattr(nearly, name)) for name in FORMAT_NAMES}
    return {
        **totals.verdicts,
        NEARLY_NEVER: counts[FORMAT_NAMES[-1]],
        **{f"{NEARLY_NEVER}-{name}": value for name, value in counts.items()},
    }


def summary_record(verdicts: Verdicts) -> dict[str, Any]:
    """What `--json` prints: totals, funnel, every token that is not speakable, and every nearly-never one."""
    manifest = verdicts.manifest.record()
    special = sorted([*verdicts.unspeakable.tolist(), *verdicts.tied.tolist(), *verdicts.undecided.tolist()])
    return {
        "run": str(verdicts.at),
        "model": manifest["model"],
        "domain": domain_words(manifest),
        **{name: manifest[name] for name in ("totals", "funnel", "seconds", "peak_memory_bytes", "warnings")},
        "tokens": [_special(verdicts, token) for token in special],
        "nearly_never": [_nearly(verdicts, token) for token in verdicts.nearly_never.tolist()],
    }


def _special(verdicts: Verdicts, token: int) -> dict[str, Any]:
    found = verdicts.of(token)
    entry: dict[str, Any] = {
        "token_id": token,
        "token": found.piece,
        "text": found.text,
        "verdict": found.verdict,
        "evidence": found.evidence,
        "margin_upper": found.margin_upper,
        "reason": found.reason,
        "argmax_id": found.equal_to,
    }
    if found.verdict == "unspeakable":
        entry["blockers"] = [{"token_id": one.token_id, "weight": one.weight} for one in found.blockers]
    return entry


def _nearly(verdicts: Verdicts, token: int) -> dict[str, Any]:
    found = verdicts.of(token)
    return {
        "token_id": token,
        "token": found.piece,
        "text": found.text,
        "margin_lower": found.margin_lower,
        "margin_upper": found.margin_upper,
        "winning_logit": found.winning_logit,
        "nearly_never": found.nearly_never,
    }


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
        "",
        "  proved: " + ", ".join(f"{count} {name}" for name, count in sums.evidence.items() if count),
    ]
    if sums.tokens < len(verdicts):
        lines.append(f"  {len(verdicts) - sums.tokens} tokens were not asked for")
    lines += ["", f"  {'stage':<20}{'rows in':>9}{'settled':>9}{'seconds':>9}"]
    lines += [
        f"  {row.stage:<20}{row.rows_in:>9}{row.settled or 0:>9}{row.seconds or 0:>9.2f}"
        for row in manifest.funnel
        if row.rows_in
    ]
    if manifest.seconds is not None:
        lines.append(f"  {'in all':<20}{'':>18}{manifest.seconds:>9.2f}")
    groups = (
        ("unspeakable tokens and their main blockers:", [f"{one} ← {mix}" for one, mix in _blocked(verdicts)]),
        ("nearly never (they win by less than a step of this number format):", _nearly_never_lines(verdicts)),
        ("tied tokens (argmax returns the first of those that share a row):", _tied(verdicts)),
        (
            "undecided (neither a witness nor a proof against one was found):",
            [f"{_shown(verdicts, t)}: {verdicts.reason.of(t)}" for t in verdicts.undecided.tolist()],
        ),
    )
    for title, entries in groups:
        if entries:
            lines += ["", f"  {title}", *(f"    {entry}" for entry in entries[:_SHOWN_TOKENS]), *_more(entries)]
    return lines


def _blocked(verdicts: Verdicts) -> list[tuple[str, str]]:
    return [(_shown(verdicts, token), _mix(verdicts, token)) for token in verdicts.unspeakable.tolist()]


def _nearly_never_line(counts: NearlyNever | None) -> list[str]:
    """How many of the speakable tokens are nearly never; nothing where a run does not know."""
    if counts is None:
        return []
    still = f"; not known of {counts.open} more" if counts.open else ""
    parts = f"of these, below a step of bfloat16; {counts.float32} below one of float32{still}"
    return [f"    {'nearly never':<12}{counts.bfloat16:>6}   ({parts})"]


def _nearly_never_lines(verdicts: Verdicts) -> list[str]:
    return [
        f"{_shown(verdicts, token)}: at most {verdicts.margin_upper[token]:.3g} logits at a logit of "
        f"{verdicts.winning_logit[token]:.3g} ({verdicts.of(token).nearly_never})"
        for token in verdicts.nearly_never.tolist()
    ]


def _tied(verdicts: Verdicts) -> list[str]:
    """Tied tokens class by class, the one that argmax returns first; runs of ids without a name as ranges."""
    classes: dict[int, list[int]] = {}
    for token in verdicts.tied.tolist():
        classes.setdefault(int(verdicts.first_of[token]), []).append(token)
    return [" = ".join(_ranges(verdicts, sorted({first, *those}))) for first, those in classes.items()]


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


def _more(items: list[Any]) -> list[str]:
    return [f"    … and {len(items) - _SHOWN_TOKENS} more (see the report)"] if len(items) > _SHOWN_TOKENS else []


def _mix(verdicts: Verdicts, token: int) -> str:
    blockers = verdicts.of(token).blockers
    shown = " + ".join(f"{one.weight:.2f} × {_shown(verdicts, one.token_id)}" for one in blockers[:_SHOWN_BLOCKERS])
    return shown + (f" + {len(blockers) - _SHOWN_BLOCKERS} more" if len(blockers) > _SHOWN_BLOCKERS else "")


def _shown(verdicts: Verdicts, token: int) -> str:
    """The token in quotes, with everything that could disturb a terminal escaped, and its id."""
    name = verdicts.name(token)
    return f"#{token}" if name is None else f"{_printable(name)} (#{token})"


def _printable(text: str, most: int = 40) -> str:
    shown = ascii(text) if not text.isprintable() else repr(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
