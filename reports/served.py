"""What servers return that compute in a format, for the page and the summary."""

from __future__ import annotations

from dataclasses import dataclass

from reach.runs.schema import SERVED_NAMES
from reach.runs.served_summary import ServedCounts, served_counts, server_words
from reach.verdicts import Verdicts
from reports import plain

_SHOWN = 12


@dataclass(frozen=True)
class ServedRow:
    """One format: its name, and the counts of `ServedView.classes` in words."""

    arithmetic: str
    counts: tuple[str, ...]


@dataclass(frozen=True)
class ServedView:
    """What a run says of tokens as they are served.

    Attributes:
        server: which servers are meant.
        classes: titles of the columns.
        rows: one for each format; none where the run was not asked.
        further: sentences on tokens that a format silences, or lets out, and on what is open.
    """

    server: str = ""
    classes: tuple[str, ...] = ("In every order", "Only by a tie", "Depends on the order", "Never", "Undecided")
    rows: tuple[ServedRow, ...] = ()
    further: tuple[str, ...] = ()


def served_view(tokens: Verdicts) -> ServedView:
    """Say what servers return, as far as the run knows."""
    found = served_counts(tokens)
    if not found:
        return ServedView()
    rows = tuple(ServedRow(one.arithmetic, tuple(f"{one.classes[name]:,}" for name in SERVED_NAMES)) for one in found)
    further = [sentence for one in found for sentence in _sentences(tokens, one)]
    return ServedView(server_words(tokens), rows=rows, further=tuple(further))


def _sentences(tokens: Verdicts, one: ServedCounts) -> list[str]:
    said = []
    if len(one.let_out):
        count = plain.plural(len(one.let_out), "unspeakable token")
        said.append(f"{one.arithmetic} lets out {count}: {_names(tokens, one.let_out.tolist())}.")
    if len(one.silenced):
        count = plain.plural(len(one.silenced), "speakable token")
        said.append(
            f"{one.arithmetic} silences {count}, which nowhere have the largest logit alone: "
            f"{_names(tokens, one.silenced.tolist())}."
        )
    open_ = one.classes["undecided"]
    if open_:
        known = [
            f"{count:,} {word}"
            for count, word in (
                (one.returned, "come out somewhere, by a tie or in one order"),
                (one.at_best_tied, "can at best tie in every order"),
            )
            if count
        ]
        rest = f" Of these, {' and '.join(known)}." if known else ""
        said.append(f"{one.arithmetic}: {plain.plural(open_, 'token')} undecided.{rest}")
    return said


def _names(tokens: Verdicts, those: list[int]) -> str:
    names = ", ".join(tokens.label(token) for token in those[:_SHOWN])
    more = len(those) - _SHOWN
    return names + (f" and {more:,} more" if more > 0 else "")
