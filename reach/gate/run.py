"""The gate from a head to its result: what is asked, what is proved, what fails."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reach.categories.roles import Role, Roles, read_roles
from reach.categories.settings import CONFIG, GENERATION
from reach.gate.asked import MUST, NEVER, Asked, what_is_asked
from reach.gate.deciding import decide
from reach.gate.findings import Finding, Judged, findings, judged, masked_ids
from reach.gate.settings import GateSettings
from reach.progress import Progress, silent
from reach.scanning.settings import ScanSettings

if TYPE_CHECKING:
    from reach.heads.head import Head
    from reach.vocabulary import Vocabulary


@dataclass(frozen=True)
class GateResult:
    """What came of it.

    Attributes:
        model: the model as the user named it.
        settings: what was asked.
        vocabulary: the tokens' names.
        judged: every token that was asked about.
        findings: the failures.
        warnings: one line each.
        seconds: what it took, from the head on.
    """

    model: str
    settings: GateSettings
    vocabulary: Vocabulary
    judged: list[Judged]
    findings: list[Finding]
    warnings: tuple[str, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return not self.findings

    @property
    def mask(self) -> list[int]:
        """The ids that must be masked."""
        return masked_ids(self.judged)

    def lines(self) -> list[str]:
        """For a person: a line for each failure, and a summary."""
        sides = [one.asked.side for one in self.judged]
        failed = {
            side: sum(one.kind is not None and one.asked.side == side for one in self.judged)
            for side in (MUST, NEVER)
        }
        summary = [
            f"must be said:      {_of(sides.count(MUST), failed[MUST])}",
            f"must not come out: {_of(sides.count(NEVER), failed[NEVER])}",
        ]
        lines = [f"FAIL {finding.line(self.vocabulary)}" for finding in self.findings]
        return [*lines, *([""] if lines else []), *summary, "failed" if self.findings else "ok"]

    def record(self) -> dict[str, Any]:
        """For a program."""
        return {
            "model": self.model,
            "ok": self.ok,
            "margin": self.settings.margin,
            "findings": [
                {
                    "tokens": list(one.tokens), "side": one.side, "kind": one.kind, "why": one.why,
                    "proved": one.proved, "follows": one.follows, "do": one.do,
                }
                for one in self.findings
            ],
            "mask": self.mask,
            "tokens": [_entry(one, self.vocabulary) for one in self.judged],
            "warnings": list(self.warnings),
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def run_gate(
    name: str,
    head: Head,
    vocabulary: Vocabulary,
    settings: GateSettings,
    *,
    warnings: tuple[str, ...] = (),
    progress: Progress = silent,
    note: Callable[[str], object] = lambda _: None,
) -> GateResult:
    """Decide what the gate asks of a head.

    Args:
        name: the model as the user named it.
        head: its head.
        vocabulary: its tokens.
        settings: what is asked.
        warnings: what is known already.
        progress: told how far the work is.
        note: told each further warning at once.

    Raises:
        BadInput: see `what_is_asked`; or a number of the head is not finite.
    """
    started = time.perf_counter()
    roles = roles_of_head(head, vocabulary)
    for warning in roles.warnings:
        note(warning)
    asked = what_is_asked(vocabulary, roles, must=settings.must, never=settings.never, only=settings.only)
    problem = head.problem()
    # The head's own factor is part of the logits that a server sees.
    margin = settings.margin / head.logit_scale if problem.margin_bounded else 0.0
    decisions = decide(
        problem, _ids(asked, MUST), _ids(asked, NEVER), margin=margin, seconds=settings.seconds, progress=progress,
        settings=ScanSettings(jobs=settings.jobs, device=settings.device),
    )  # fmt: skip
    found = judged(asked, decisions, margin)
    failures = findings(found, vocabulary, margin)
    said = (*warnings, *roles.warnings)
    return GateResult(name, settings, vocabulary, found, failures, said, time.perf_counter() - started)


def check_model(model: str, settings: GateSettings, *, tokenizer: Any = None) -> GateResult:
    """Run the gate on a model folder, GGUF file, bare head or Hub id.

    Args:
        model: what `reach scan` takes.
        settings: what is asked.
        tokenizer: of transformers, where the folder has none of its own.

    Raises:
        BadInput: see `reach.heads.load.load_head` and `run_gate`.
    """
    from reach.loading import load_again, what_to_load
    from reach.vocabulary import load_vocabulary

    name, loading = what_to_load(model)
    head = load_again(loading)
    vocabulary = head.vocabulary or load_vocabulary(head.folder, head.v)
    if tokenizer is None or any(piece is not None for piece in vocabulary.pieces):
        return run_gate(name, head, vocabulary, settings, warnings=(*head.notes, *vocabulary.warnings))
    with tempfile.TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        folder = Path(place)
        for file in (GENERATION, CONFIG):
            if head.folder is not None and (head.folder / file).is_file():
                shutil.copyfile(head.folder / file, folder / file)
        found = load_vocabulary(folder, head.v)
        return run_gate(name, replace(head, folder=folder), found, settings, warnings=(*head.notes, *found.warnings))


def roles_of_head(head: Head, vocabulary: Vocabulary) -> Roles:
    """The roles that the files of a head give its tokens."""
    return read_roles(head.folder, vocabulary.pieces, head.v)


def _ids(asked: list[Asked], side: str) -> np.ndarray:
    return np.array([one.token for one in asked if one.side == side], dtype=np.int64)


def _of(asked: int, failed: int) -> str:
    return f"{asked} tokens, {f'{failed} fail' if failed else 'none fails'}"


def _entry(one: Judged, vocabulary: Vocabulary) -> dict[str, Any]:
    decision, token = one.decision, one.asked.token
    return {
        "token": token,
        "text": vocabulary.texts[token] if vocabulary.texts[token] is not None else vocabulary.pieces[token],
        "side": one.asked.side,
        "roles": [_role(role) for role in one.asked.reasons],
        "masked": one.asked.masked,
        "verdict": decision.verdict,
        "margin_lower": decision.lower if math.isfinite(decision.lower) else None,
        "margin_upper": decision.upper if math.isfinite(decision.upper) else None,
        "equal_to": [other for other in decision.equal if other != token],
        "reason": decision.reason,
        "fails": one.kind,
    }


def _role(role: Role) -> dict[str, str]:
    return {"name": role.name, "where": role.where}
