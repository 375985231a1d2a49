"""The random control of a run: a random head of the same shape, to tell what the model's margins owe to chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from reach.runs.columns import UNKNOWN, Codes, Floats, codes
from reach.runs.folder import RunFolder
from reach.runs.schema import VERDICT_NAMES
from reports import plain
from reports.answer import Counts

_WORDS = {
    "gaussian": "a random head with rows of the same size",
    "covariance": "a random head with the same covariance and norms",
}


@dataclass(frozen=True)
class Control:
    """Its name for readers, its margins by group, and verdicts and bounds on margins of all rows with a verdict."""

    name: str
    groups: dict[str, npt.NDArray[np.float64]]
    verdict: Codes
    lower: Floats
    upper: Floats

    def words(self, counts: Counts) -> str:
        """What it is, and how many of its rows are what, beside the model's own `counts`."""
        never, hard, own = (len(self.groups[key]) for key in ("unspeakable", "hard", "speakable"))
        rows, tokens = plain.plural(len(self.verdict), "row"), plain.plural(counts.asked, "token")
        mine = counts.verdicts["unspeakable"], counts.hard_to_speak, counts.own_direction
        return (
            f"Dotted: {self.name}, in tokens like the bars. Of its {rows}, "
            f"{_shares((never, hard, own), len(self.verdict))}; of this model's {tokens}, "
            f"{_shares(mine, counts.asked)}."
        )


def _shares(counts: tuple[int, int, int], whole: int) -> str:
    never, hard, own = (f"{count:,} ({plain.share(count, whole)})" for count in counts)
    return f"{never} are unspeakable, {hard} hard-to-speak and {own} own-direction"


def read_control(run: RunFolder) -> Control | None:
    """The first control that the run holds; None where it has none.

    Raises:
        BadInput: the table of controls is damaged.
    """
    table = run.tables.controls
    if table is None or table.num_rows == 0:
        return None
    name = table.column("control").to_pylist()
    mine = np.array([one == name[0] for one in name])
    verdict = np.array(table.column("verdict").to_pylist(), dtype=object)[mine]
    own = np.array([bool(value) for value in table.column("own_direction").to_pylist()])[mine]
    lower, upper = (
        pc.fill_null(table.column(key), float("nan")).to_numpy()[mine] for key in ("margin_lower", "margin_upper")
    )
    speakable = verdict == "speakable"
    groups = {
        "unspeakable": upper[verdict == "unspeakable"],
        "hard": lower[speakable & ~own],
        "speakable": lower[speakable & own],
    }
    code = codes(table, "verdict", VERDICT_NAMES)[mine]
    told = code < UNKNOWN
    words = _WORDS.get(name[0] or "", f"the random control {name[0]}")
    return Control(words, groups, code[told], lower[told], upper[told])
