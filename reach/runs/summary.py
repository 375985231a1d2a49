"""The summary of a run: totals for the manifest, lines for a person, a record for a program."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from reach.nearly_never import FORMAT_NAMES, count
from reach.runs.domain_words import domain_words
from reach.runs.folder import RunFolder
from reach.runs.schema import EVIDENCE_NAMES, VERDICT_NAMES

_SHOWN_TOKENS = 20
_SHOWN_BLOCKERS = 3
_SHOWN_EQUAL = 4
_SHOWN_RANGES = 8


TOTAL_COLUMNS = (
    "verdict", "evidence", "own_direction", "margin_lower", "margin_upper", "winning_logit", "nearly_never",
)  # fmt: skip
"""What `totals` counts."""


def totals(columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Counts per verdict and evidence, own-direction, hard-to-speak and nearly-never tokens.

    Args:
        columns: the `TOTAL_COLUMNS` of a table of verdicts.
    """
    verdicts, evidence = Counter(columns["verdict"]), Counter(columns["evidence"])
    own = sum(
        1 for v, own in zip(columns["verdict"], columns["own_direction"], strict=True) if own and v == "speakable"
    )
    return {
        "tokens": len(columns["verdict"]) - verdicts[None],
        "verdicts": {name: verdicts[name] for name in VERDICT_NAMES},
        "evidence": {name: evidence[name] for name in EVIDENCE_NAMES},
        "own_direction": own,
        "hard_to_speak": verdicts["speakable"] - own,
        "nearly_never": nearly_never_counts(columns),
    }


def nearly_never_counts(columns: dict[str, list[Any]]) -> dict[str, int]:
    """The counts of `reach.nearly_never.count` for a table of verdicts."""
    speakable = np.array([verdict == "speakable" for verdict in columns["verdict"]], dtype=bool)
    finest = np.array([FORMAT_NAMES.index(name) if name in FORMAT_NAMES else -1 for name in columns["nearly_never"]])
    lower, upper, logit = (
        np.array([np.nan if value is None else value for value in columns[name]], dtype=np.float64)[speakable]
        for name in ("margin_lower", "margin_upper", "winning_logit")
    )
    return count(finest[speakable], lower, upper, logit)


def summary_record(run: RunFolder) -> dict[str, Any]:
    """What `--json` prints: totals, funnel, every token that is not speakable, and every nearly-never one."""
    shown = ["token_id", "token", "text", "verdict", "evidence", "margin_upper", "reason", "argmax_id"]
    table = run.verdicts().select(shown)
    special = [row for row in table.to_pylist() if row["verdict"] in ("unspeakable", "tied", "undecided")]
    blockers = _blockers(run)
    for row in special:
        if row["verdict"] == "unspeakable":
            row["blockers"] = [{"token_id": t, "weight": w} for t, w in blockers.get(row["token_id"], [])]
    manifest = run.manifest
    return {
        "run": str(run.path),
        "model": manifest["model"],
        "domain": domain_words(manifest),
        "totals": manifest["totals"],
        "funnel": manifest["funnel"],
        "seconds": manifest["seconds"],
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "warnings": manifest["warnings"],
        "tokens": special,
        "nearly_never": nearly_never_tokens(run),
    }


def summary_lines(run: RunFolder) -> list[str]:
    """The summary for a person."""
    manifest = run.manifest
    sums = manifest["totals"]
    counts, evidence = sums["verdicts"], sums["evidence"]
    names = _names(run)
    blockers = _blockers(run)
    lines = [
        f"{manifest['model']}: {manifest['v']} tokens × {manifest['d']} dimensions, domain {domain_words(manifest)}",
        "",
        f"  {'speakable':<12}{counts['speakable']:>8}   ({sums['own_direction']} own-direction, "
        f"{sums['hard_to_speak']} hard-to-speak)",
        *_nearly_never_line(sums.get("nearly_never")),
        *(f"  {name:<12}{counts[name]:>8}" for name in VERDICT_NAMES[1:]),
        "",
        "  proved: " + ", ".join(f"{count} {name}" for name, count in evidence.items() if count),
    ]
    if sums["tokens"] < manifest["v"]:
        lines.append(f"  {manifest['v'] - sums['tokens']} tokens were not asked for")
    lines += ["", f"  {'stage':<20}{'rows in':>9}{'settled':>9}{'seconds':>9}"]
    lines += [
        f"  {row['stage']:<20}{row['rows_in']:>9}{row['settled']:>9}{row['seconds']:>9.2f}"
        for row in manifest["funnel"]
        if row["rows_in"]
    ]
    lines.append(f"  {'in all':<20}{'':>18}{manifest['seconds']:>9.2f}")
    table = run.verdicts().select(["token_id", "verdict", "reason", "argmax_id"]).to_pylist()
    unspeakable = [row["token_id"] for row in table if row["verdict"] == "unspeakable"]
    if unspeakable:
        lines += ["", "  unspeakable tokens and their main blockers:"]
        lines += [f"    {names[t]} ← {_mix(blockers.get(t, []), names)}" for t in unspeakable[:_SHOWN_TOKENS]]
        lines += _more(unspeakable)
    lines += _nearly_never_lines(run, names)
    classes: dict[int, set[int]] = {}
    for row in table:
        if row["verdict"] == "tied":
            classes.setdefault(row["argmax_id"], {row["argmax_id"]}).add(row["token_id"])
    if classes:
        shown = [f"    {_equal(sorted(ids), names)}" for ids in list(classes.values())[:_SHOWN_TOKENS]]
        lines += ["", "  tied tokens (argmax returns the first of each line):", *shown, *_more(list(classes))]
    undecided = [row for row in table if row["verdict"] == "undecided"]
    if undecided:
        lines += ["", "  undecided (neither a witness nor a proof against one was found):"]
        lines += [f"    {names[row['token_id']]}: {row['reason']}" for row in undecided[:_SHOWN_TOKENS]]
        lines += _more(undecided)
    return lines


def _nearly_never_line(counts: dict[str, int] | None) -> list[str]:
    """How many of the speakable tokens are nearly never; nothing where a run does not know."""
    if counts is None:
        return []
    still = f"; not known of {counts['open']} more" if counts["open"] else ""
    parts = f"of these, below a step of bfloat16; {counts['float32']} below one of float32{still}"
    return [f"    {'nearly never':<12}{counts['bfloat16']:>6}   ({parts})"]


def nearly_never_tokens(run: RunFolder) -> list[dict[str, Any]]:
    """The nearly-never tokens of a run, the smallest margin relative to its logit first."""
    columns = ["token_id", "token", "text", "margin_lower", "margin_upper", "winning_logit", "nearly_never"]
    found = [row for row in run.verdicts().select(columns).to_pylist() if row["nearly_never"] is not None]
    return sorted(found, key=lambda row: row["margin_upper"] / max(abs(row["winning_logit"]), 1e-300))


def _nearly_never_lines(run: RunFolder, names: list[str]) -> list[str]:
    found = nearly_never_tokens(run)
    if not found:
        return []
    shown = [
        f"    {names[row['token_id']]}: at most {row['margin_upper']:.3g} logits at a logit of "
        f"{row['winning_logit']:.3g} ({row['nearly_never']})"
        for row in found[:_SHOWN_TOKENS]
    ]
    return ["", "  nearly never (they win by less than a step of this number format):", *shown, *_more(found)]


def _more(items: list[Any]) -> list[str]:
    return [f"    … and {len(items) - _SHOWN_TOKENS} more (see the report)"] if len(items) > _SHOWN_TOKENS else []


def _equal(ids: list[int], names: list[str]) -> str:
    """The tokens of one class of equal rows: one by one if they are few and have names, else as ranges of ids."""
    if 1 < len(ids) <= _SHOWN_EQUAL and not all(names[token].startswith("#") for token in ids):
        return " = ".join(names[token] for token in ids)
    every = set(ids)
    starts = [token for token in ids if token - 1 not in every]
    ends = [token for token in ids if token + 1 not in every]
    parts = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]
    more = len(parts) - _SHOWN_RANGES
    ranges = ", ".join(parts[:_SHOWN_RANGES]) + (f" and {more} more ranges" if more > 0 else "")
    first = "" if names[ids[0]].startswith("#") else f", the first is {names[ids[0]]}"
    return f"{ranges} equal{first}" if len(ids) > 1 else f"{names[ids[0]]} equals rows that were not asked for"


def _mix(blockers: list[tuple[int, float]], names: list[str]) -> str:
    shown = " + ".join(f"{weight:.2f} × {names[token]}" for token, weight in blockers[:_SHOWN_BLOCKERS])
    return shown + (f" + {len(blockers) - _SHOWN_BLOCKERS} more" if len(blockers) > _SHOWN_BLOCKERS else "")


def _names(run: RunFolder) -> list[str]:
    table = run.verdicts()
    pairs = zip(table.column("token").to_pylist(), table.column("text").to_pylist(), strict=True)
    return [
        f"#{i}" if piece is None else f"{_printable(text if text is not None else piece)} (#{i})"
        for i, (piece, text) in enumerate(pairs)
    ]


def _printable(text: str, most: int = 40) -> str:
    """The text in quotes with everything that could disturb a terminal escaped."""
    shown = ascii(text) if not text.isprintable() else repr(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _blockers(run: RunFolder) -> dict[int, list[tuple[int, float]]]:
    """Blockers of each unspeakable token, the heaviest first."""
    table = run.hull_weights()
    found: dict[int, list[tuple[int, float]]] = {}
    columns = (table.column(name).to_pylist() for name in ("token_id", "row_id", "weight"))
    for token, row, weight in zip(*columns, strict=True):
        found.setdefault(token, []).append((row, weight))
    return {token: sorted(pairs, key=lambda pair: -pair[1]) for token, pairs in found.items()}
