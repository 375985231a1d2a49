"""What a run says of tokens as they are served, in numbers and words: for the terminal, for programs, for pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from reach.runs.columns import ids
from reach.runs.schema import SERVED_NAMES
from reach.verdicts import Verdicts

EVERY_ORDER, TIE, ORDER, NEVER, UNDECIDED = range(len(SERVED_NAMES))
WORDS = ("in every order", "only by a tie", "depends on the order of summation", "never", "undecided")
"""What the names of the classes mean, for a person."""


@dataclass(frozen=True)
class ServedCounts:
    """The tokens of one format.

    Attributes:
        arithmetic: the format.
        tokens: how many were asked about.
        classes: how many are in each class of `SERVED_NAMES`.
        returned: of the undecided ones those that are returned somewhere nevertheless, by a tie or in one order.
        at_best_tied: of the undecided ones those that never have the largest logit alone.
        silenced: ids of speakable tokens that nowhere have the single largest logit in every order of this server.
        let_out: ids of unspeakable tokens that this server returns.
    """

    arithmetic: str
    tokens: int
    classes: dict[str, int]
    returned: int
    at_best_tied: int
    silenced: Int[np.ndarray, " n"]
    let_out: Int[np.ndarray, " m"]

    def record(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "arithmetic": self.arithmetic, "tokens": self.tokens, **self.classes,
            "undecided_returned": self.returned, "undecided_at_best_tied": self.at_best_tied,
            "silenced": self.silenced.tolist(), "let_out": self.let_out.tolist(),
        }  # fmt: skip


def served_counts(verdicts: Verdicts) -> list[ServedCounts]:
    """The counts of every format that the run was asked about; none where it was not asked."""
    served = verdicts.tables.served
    if served is None:
        return []
    names = np.array(served.table.column("arithmetic").to_pylist())
    returned, barred = (np.array(served.table.column(name).to_pylist(), object) for name in ("returned", "barred"))
    token = ids(served.table, "token_id")
    found = []
    for name, code in verdicts.served.items():
        mine = names == name
        comes = np.zeros(len(verdicts), dtype=bool)
        comes[token[mine & (returned != None)]] = True  # noqa: E711
        tied_at_best = np.zeros(len(verdicts), dtype=bool)
        tied_at_best[token[mine & ((barred == "not-alone") | (barred == "not-every-order"))]] = True
        open_ = code == UNDECIDED
        can = np.zeros(len(verdicts), dtype=bool)
        can[verdicts.speakable] = True
        cannot = np.zeros(len(verdicts), dtype=bool)
        cannot[verdicts.unspeakable] = True
        found.append(
            ServedCounts(
                name,
                int(mine.sum()),
                {word: int((code == at).sum()) for at, word in enumerate(SERVED_NAMES)},
                int((open_ & comes).sum()),
                int((open_ & tied_at_best).sum()),
                np.flatnonzero(can & ((code == NEVER) | tied_at_best)),
                np.flatnonzero(cannot & comes),
            )
        )
    return found


def server_words(verdicts: Verdicts) -> str:
    """Which servers the counts are about."""
    settings = verdicts.manifest.settings
    said = f"ties go to the {settings.get('ties')} id"
    head = verdicts.manifest.head
    if head is not None and "bias" in head.tensors:
        said += f", the bias is added {settings.get('bias_added')} the sum is rounded"
    if settings.get("norm_rounded") is not None:
        said += f", the norm is rounded {'once' if settings['norm_rounded'] == 'once' else 'in steps'}"
    return said


def served_lines(verdicts: Verdicts) -> list[str]:
    """The counts for a person."""
    found = served_counts(verdicts)
    if not found:
        return []
    lines = [f"as served ({server_words(verdicts)}), in every order of summation:"]
    for one in found:
        parts = [f"{one.classes['every-order']} come out"]
        between = ("tie", "only by a tie"), ("order", "in some orders")
        parts += [f"{one.classes[name]} {word}" for name, word in between if one.classes[name]]
        parts.append(f"{one.classes['never']} never")
        if one.classes["undecided"]:
            known = [
                f"{count} {word}"
                for count, word in ((one.returned, "come out somehow"), (one.at_best_tied, "at best tied"))
                if count
            ]
            parts.append(f"{one.classes['undecided']} undecided" + (f" ({', '.join(known)})" if known else ""))
        lines.append(f"  {one.arithmetic:<9} {', '.join(parts)}")
        changed = (
            (one.silenced, "speakable tokens are silenced by it"),
            (one.let_out, "unspeakable tokens are let out by it"),
        )
        lines += [f"  {'':<9} {len(those)} {word}" for those, word in changed if len(those)]
    return lines
