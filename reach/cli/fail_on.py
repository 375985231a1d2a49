"""`--fail-on`: which tokens meet a condition, which of them are new, and both as JUnit XML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool

from reach.classes import CLASSES, HARD
from reach.nearly_never import FORMAT_NAMES
from reach.runs.atomic import RUN_AGAIN, write_page
from reach.runs.folder import RunFolder
from reach.runs.schema import SERVED_NAMES, VERDICT_NAMES
from reach.terminal import harmless
from reach.verdicts import Verdicts
from solvers.errors import BadInput
from solvers.formats import FORMATS

NEARLY_NEVER = "nearly-never"
SERVED_CONDITIONS = {
    f"{name}-{form.name}": (name, form.name) for form in FORMATS for name in ("never", "tie", "order")
}
"""By condition, a class of tokens as they are served, and the format."""
CONDITIONS = (
    *VERDICT_NAMES, CLASSES[HARD], NEARLY_NEVER, *(f"{NEARLY_NEVER}-{name}" for name in FORMAT_NAMES),
    *SERVED_CONDITIONS,
)  # fmt: skip
"""Verdicts, the speakable tokens without a win along their own row, those that are nearly never in any format, or
in a certain one, and those that a server of `--arithmetic` never returns, or not in every order alone."""

_SHOWN_TOKENS = 50


@dataclass(frozen=True)
class Finding:
    """The tokens that meet one condition.

    Attributes:
        condition: of `CONDITIONS`.
        tokens: ids of all that meet it.
        new: ids of those that did not meet it in the baseline, or were not there; of all without a baseline.
        names: of the new ones, each with its id.
        baseline: the run held against, or none.
    """

    condition: str
    tokens: tuple[int, ...]
    new: tuple[int, ...]
    names: tuple[str, ...]
    baseline: Path | None

    @property
    def words(self) -> str:
        """How many there are, and the first of those that count."""
        count = f"{len(self.tokens)} {'token is' if len(self.tokens) == 1 else 'tokens are'} {self.condition}"
        if self.baseline is not None:
            count += f", {len(self.new)} of them not in {self.baseline}"
        more = len(self.new) - _SHOWN_TOKENS
        return f"{count}: {', '.join(self.names[:_SHOWN_TOKENS])}" + (f" and {more} more" if more > 0 else "")


def findings(run: RunFolder, names: tuple[str, ...], baseline: RunFolder | None) -> list[Finding]:
    """What a finished run says of each condition; tokens are those of the baseline by id, or by string.

    Raises:
        BadInput: a table of one of the runs cannot be read.
    """
    from reports.pairing import pair

    if not names:
        return []
    tokens = run.verdicts()
    before = None if baseline is None else baseline.verdicts()
    pairing = None if before is None else pair(before, tokens)
    found = []
    for name in names:
        now = meeting(tokens, name)
        new = now.copy()
        if before is not None and pairing is not None:
            new[pairing.second[meeting(before, name)[pairing.first]]] = False
        path = None if baseline is None else baseline.path
        ids = tuple(np.flatnonzero(now).tolist()), tuple(np.flatnonzero(new).tolist())
        found.append(Finding(name, *ids, _shown(tokens, ids[1]), path))
    return found


def meeting(verdicts: Verdicts, condition: str) -> Bool[np.ndarray, " v"]:
    """Which tokens meet one of the `CONDITIONS`."""
    met = np.zeros(len(verdicts), dtype=bool)
    if condition in SERVED_CONDITIONS:
        name, arithmetic = SERVED_CONDITIONS[condition]
        code = verdicts.served.get(arithmetic)
        if code is None:
            raise BadInput(
                f"--fail-on {condition}: {verdicts.at} says nothing about {arithmetic}; scan with --arithmetic "
                f"{arithmetic}"
            )
        met[code == SERVED_NAMES.index(name)] = True
    elif condition.startswith(NEARLY_NEVER):
        named = condition.removeprefix(NEARLY_NEVER).lstrip("-") or FORMAT_NAMES[-1]
        found = verdicts.nearly_never
        met[found[verdicts.nearly_never_in[found] <= FORMAT_NAMES.index(named)]] = True
    else:
        met[verdicts.ids(condition)] = True
    return met


def write_junit(file: Path, run: RunFolder, found: list[Finding]) -> None:
    """One test case per condition, as the collectors of test results read them.

    Raises:
        BadInput: the file cannot be written.
    """
    failed = sum(bool(finding.new) for finding in found)
    model = harmless(run.record.model)
    suite = ElementTree.Element("testsuite", name="reach scan", tests=str(len(found)), failures=str(failed))
    for finding in found:
        case = ElementTree.SubElement(suite, "testcase", classname=model, name=f"no token is {finding.condition}")
        if finding.new:
            failure = ElementTree.SubElement(case, "failure", message=harmless(finding.words))
            failure.text = "\n".join(map(harmless, finding.names))
    text = ElementTree.tostring(suite, encoding="unicode", xml_declaration=False)
    write_page(file, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', force=True, again=RUN_AGAIN)


def _shown(verdicts: Verdicts, ids: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(verdicts.label(token) for token in ids)
