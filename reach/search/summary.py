"""The summary of a search: lines for a person, a record for a program."""

from __future__ import annotations

from typing import Any


def summary_lines(record: dict[str, Any]) -> list[str]:
    """What is printed: the funnel, the check, and how strong the search was."""
    lines = [f"{record['model']}: {record['v']} tokens, searched for {record['search_seconds']:.0f} s"]
    top = max(1, record["funnel"][0]["tokens"])
    for row in record["funnel"]:
        lines.append(f"  {row['tokens']:>8} {100 * row['tokens'] / top:6.1f} %  {row['words']}")
    replay = record["replay"]
    lines.append(
        f"  {replay['replayed']} witnesses replayed alone in float32: {replay['failed']} failed and were taken back; "
        f"{replay['own_failed']} fail in {record['dtype']}"
    )
    repeat = record["repeat"]
    if repeat is not None and repeat["failed_all"] is not None:
        lines.append(f"  {repeat['failed_all']} of {repeat['asked']} tokens fail every form of the repeat test")
    for one in (record["strength"] or {}).get("runs", ()):
        if one["recall"] is not None:
            rate, unfound = one["recall"], one["unfound"]
            more = "" if unfound is None else f"; about {unfound['estimate']:.0f} reachable tokens still unfound"
            lines.append(
                f"  {one['level']}: one fresh run reaches {100 * rate['share']:.0f} % "
                f"({100 * rate['low']:.0f}–{100 * rate['high']:.0f} %) of what is known to be reachable{more}"
            )
    if record["incomplete"]:
        lines.append(f"  time ran out in: {'; '.join(record['incomplete'])}")
    lines.append("  not found is no proof: only the head's verdicts are")
    return lines


def contradiction_line(record: dict[str, Any]) -> str | None:
    """What is shouted when an input brought up a token that is proved unspeakable."""
    found = record["contradictions"]
    if not found:
        return None
    shown = ", ".join(f"{one['token_id']} ({one['level']})" for one in found[:10])
    return (
        f"CONTRADICTION: {len(found)} hits are of tokens that the head proves unspeakable: {shown}. The proof, the "
        "head that was read, or the live model is wrong; run 'reach verify' and 'reach scan --self-check'"
    )


def summary_record(record: dict[str, Any]) -> dict[str, Any]:
    """What `--json` prints: the record without curves and environment."""
    return {key: value for key, value in record.items() if key not in ("curve", "hardware", "versions")}
