"""`--fail-on`: which tokens meet a condition, which of them are new, and both as JUnit XML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Bool

from reach.classes import CLASSES, HARD
from reach.nearly_never import FORMAT_NAMES
from reach.runs.atomic import RUN_AGAIN, write_page
from reach.runs.folder import RunFolder
from reach.runs.schema import VERDICT_NAMES
from reach.terminal import harmless

if TYPE_CHECKING:
    from reports.tokens import Tokens

NEARLY_NEVER = "nearly-never"
CONDITIONS = (*VERDICT_NAMES, CLASSES[HARD], NEARLY_NEVER, *(f"{NEARLY_NEVER}-{name}" for name in FORMAT_NAMES))
"""Verdicts, the speakable tokens without a win along their own row, and those that are nearly never in any format, or
in a certain one."""

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
    from reports.tokens import read_tokens

    if not names:
        return []
    tokens = read_tokens(run)
    before = None if baseline is None else read_tokens(baseline)
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


def meeting(tokens: Tokens, condition: str) -> Bool[np.ndarray, " v"]:
    """Which tokens meet one of the `CONDITIONS`."""
    if condition in VERDICT_NAMES:
        return tokens.verdict == VERDICT_NAMES.index(condition)
    if condition == CLASSES[HARD]:
        return tokens.hard_to_speak
    named = condition.removeprefix(NEARLY_NEVER).lstrip("-")
    return (tokens.verdict == 0) & (tokens.nearly_never <= FORMAT_NAMES.index(named or FORMAT_NAMES[-1]))


def write_junit(file: Path, run: RunFolder, found: list[Finding]) -> None:
    """One test case per condition, as the collectors of test results read them.

    Raises:
        BadInput: the file cannot be written.
    """
    failed = sum(bool(finding.new) for finding in found)
    model = harmless(run.manifest["model"])
    suite = ElementTree.Element("testsuite", name="reach scan", tests=str(len(found)), failures=str(failed))
    for finding in found:
        case = ElementTree.SubElement(suite, "testcase", classname=model, name=f"no token is {finding.condition}")
        if finding.new:
            failure = ElementTree.SubElement(case, "failure", message=harmless(finding.words))
            failure.text = "\n".join(map(harmless, finding.names))
    text = ElementTree.tostring(suite, encoding="unicode", xml_declaration=False)
    write_page(file, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', force=True, again=RUN_AGAIN)


def _shown(tokens: Tokens, ids: tuple[int, ...]) -> tuple[str, ...]:
    from reports.pairing import name_of

    named = ((token, name_of(tokens, token)) for token in ids)
    return tuple(f"#{token}" if name is None else f"{name!r} (#{token})" for token, name in named)
