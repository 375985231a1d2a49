"""What the terminal shows of a search: a bar while it runs, lines for a person, a record for a program."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tqdm import tqdm

from reach.search.record import SearchRecord, Unfound
from reach.search.unfound import unfound_of
from reach.terminal import harmless


def summary_lines(record: SearchRecord) -> list[str]:
    """What is printed: the funnel, the check, and how strong the search was."""
    lines = [f"{record.model}: {record.v} tokens, searched for {record.search_seconds:.0f} s"]
    top = max(1, record.funnel[0].tokens)
    for row in record.funnel:
        lines.append(f"  {row.tokens:>8} {100 * row.tokens / top:6.1f} %  {row.words}")
    replay = record.replay
    lines.append(
        f"  {replay.replayed} witnesses replayed alone in float32: {replay.failed} failed and were taken back; "
        f"{replay.own_failed} fail in {record.dtype}"
    )
    if replay.unchecked:
        lines.append(f"  {unchecked_words(replay.unchecked)}")
    repeat = record.repeat
    if repeat is not None and repeat.failed_all is not None:
        lines.append(f"  {repeat.failed_all} of {repeat.asked} tokens fail every form of the repeat test")
    lines += _strength_lines(record)
    if record.incomplete:
        lines.append(f"  time ran out in: {'; '.join(record.incomplete)}")
    lines.append("  not found is no proof: only the head's verdicts are")
    return lines


def _strength_lines(record: SearchRecord) -> list[str]:
    """By level: what one fresh run reaches, and what is still unfound."""
    runs = {one.level: one.recall for one in (record.strength.runs if record.strength else ())}
    lines = []
    for one in unfound_of(record):
        rate = runs.get(one.level)
        reach = ""
        if rate is not None:
            share, low, high = (100 * end for end in (rate.share, rate.low, rate.high))
            reach = f"one fresh run reaches {share:.0f} % ({low:.0f}–{high:.0f} %) of what is known to be reachable; "
        lines.append(f"  {one.level}: {reach}{unfound_words(one)}")
    return lines


def unfound_words(one: Unfound) -> str:
    """What can be said of the tokens of one level that can be reached and were not found."""
    if one.at_least is None:
        return f"still unfound: too weak to say ({one.too_weak})"
    if one.at_least:
        return f"still unfound: at least {one.at_least} (95 %: at least {one.low})"
    return "still unfound: none" if one.by is None else "still unfound: at least 0, no sign of more"


def unchecked_words(count: int) -> str:
    """What became of witnesses that there was no time to run again."""
    return f"{count} witnesses were not run again for lack of time, and count for nothing: a larger --budget helps"


def contradiction_line(record: SearchRecord) -> str | None:
    """What is shouted when an input brought up a token that is proved unspeakable."""
    found = record.contradictions
    if not found:
        return None
    shown = ", ".join(f"{one.token_id} ({one.level})" for one in found[:10])
    return (
        f"CONTRADICTION: {len(found)} hits are of tokens that the head proves unspeakable: {shown}. The proof, the "
        "head that was read, or the live model is wrong; run 'reach verify' and 'reach scan --self-check'"
    )


def summary_record(record: SearchRecord) -> dict[str, Any]:
    """What `--json` prints: the record without curves and environment."""
    return {key: value for key, value in record.plain().items() if key not in ("curve", "hardware", "versions")}


# --- while it runs --------------------------------------------------------------------------------------------------


class SearchBar:
    """One line on stderr: what is being done, hits over all levels, hits per second, inputs tried."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def __enter__(self) -> SearchBar:
        """Begin."""
        self._bar = tqdm(desc="search", unit=" hits", disable=self._quiet, dynamic_ncols=True, delay=0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._bar.close()

    def show(self, what: str, hits: int, inputs: int) -> None:
        """Bring the line up to date."""
        self._bar.set_description_str(harmless(what), refresh=False)
        self._bar.set_postfix_str(f"{inputs:,} inputs", refresh=False)
        # Hits can be taken back; the bar then only stands still.
        self._bar.update(max(0, hits - int(self._bar.n)))
