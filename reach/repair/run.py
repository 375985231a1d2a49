"""Repair of a head: tokens that are to win, tokens that are never to, and what the change costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from reach.heads.head import Head
from reach.repair.changed import changed
from reach.repair.parts import Change, Parts, Space
from reach.repair.silence import least_to_silence
from reach.repair.speak import least_to_speak
from reach.scanning.scan import scan
from reach.scanning.settings import ScanSettings
from reach.scanning.state import SPEAKABLE, UNSPEAKABLE
from reach.verdicts import Verdicts
from solvers.checks.witness import check_witnesses
from solvers.errors import BadInput
from solvers.parallel import threads

_BLOCK = 4096
_TIMES, _MOST_LOST = 5, 50
"""How often tokens that a change would silence are taken in, and how many at once beyond those asked for."""
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Asked:
    """What a repair is to achieve.

    Attributes:
        speak: ids of tokens that are to have a margin of at least `margin`, logits.
        silence: ids of tokens that are to stay at least `depth` logits behind, everywhere.
        margin, depth: see there.
        parts: what may change.
    """

    speak: Int[np.ndarray, " n"]
    silence: Int[np.ndarray, " m"]
    margin: float
    depth: float
    parts: Parts


@dataclass(frozen=True)
class Before:
    """What is known of the tokens of a head.

    Attributes:
        speakable: ids of those that win somewhere.
        witnesses: `(n, d)` points at which such tokens win; NaN where none is known.
        lower, upper: `(v,)` proved bounds on the margins, logits; NaN where none is known.
    """

    speakable: Int[np.ndarray, " s"]
    witnesses: Callable[[Int[np.ndarray, " n"]], Float64[np.ndarray, "n d"]]
    lower: Float64[np.ndarray, " v"]
    upper: Float64[np.ndarray, " v"]

    @classmethod
    def of(cls, verdicts: Verdicts, head: Head) -> Before:
        """What a scan of the head has proved."""
        problem = head.problem()
        return cls(
            verdicts.speakable, lambda tokens: verdicts.witnesses(tokens, problem), verdicts.margin_lower,
            verdicts.margin_upper,
        )  # fmt: skip


@dataclass(frozen=True)
class Repaired:
    """A head that was changed.

    Attributes:
        head: it, in the types that it is stored in.
        tokens: ids of all tokens that changed, ascending.
        spoken: which of them were to become speakable; the others were silenced.
        added: ids of those that no one asked for: the change of the others would have silenced them.
        size: Frobenius norm of each token's change, row and offset.
        least: no change of the token's numbers alone, with all others as they were, can do with less than this; 0
            where nothing is known, as for tokens that are to speak where others are silenced.
        row_norm: length of each token's row before.
    """

    head: Head
    tokens: Int[np.ndarray, " k"]
    spoken: Bool[np.ndarray, " k"]
    added: Int[np.ndarray, " a"]
    size: Float64[np.ndarray, " k"]
    least: Float64[np.ndarray, " k"]
    row_norm: Float64[np.ndarray, " k"]

    @property
    def norm(self) -> float:
        """Frobenius norm of the whole change."""
        return float(np.linalg.norm(self.size))


def repair(
    head: Head,
    asked: Asked,
    before: Before,
    *,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Repaired:
    """Change a head so that some tokens win and others never do, and no token that could win is lost.

    Args:
        head: the head.
        asked: what is to be achieved.
        before: what is known of its tokens. Speakable ones that would not be so any more are repaired along.
        jobs: cores.
        progress: told after each piece of work.

    Raises:
        BadInput: nothing is asked, a token is to speak and to be silent, or no change was found.
    """
    both = np.intersect1d(asked.speak, asked.silence)
    if len(both):
        raise BadInput(
            f"token {int(both[0])} is to be made speakable and silenced at once: take it out of one of them"
        )
    if not len(asked.speak) and not len(asked.silence):
        raise BadInput("there is nothing to repair: every token of this run is speakable; choose some with --silence")
    speak, silence = np.unique(asked.speak), np.unique(asked.silence)
    spoken = silenced = _nothing(head)
    for _ in range(_TIMES):
        if len(silence):
            base = changed(head, spoken, as_stored=True)
            silenced = least_to_silence(
                base, torch.from_numpy(silence), asked.depth, asked.parts, jobs=jobs, progress=progress
            )
        if len(speak):
            base = changed(head, silenced, as_stored=True)
            spoken = least_to_speak(
                base, torch.from_numpy(speak), asked.margin, asked.parts, jobs=jobs, progress=progress
            )
        after = changed(changed(head, silenced, as_stored=True), spoken, as_stored=True)
        lost, freed = _lost_and_freed(after, before, np.union1d(speak, silence), silence, jobs)
        progress(1)
        if not len(lost) and not len(freed):
            return _told(head, after, asked, np.union1d(speak, silence), before)
        if len(lost) > _MOST_LOST + len(asked.speak):
            break
        speak = np.union1d(speak, lost)
    if len(lost):
        raise BadInput(
            f"changing only {asked.parts.value} of these tokens silences {len(lost)} others, such as token "
            f"{int(lost[0])}: let more change (--change all), choose fewer, or ask for less"
        )
    raise BadInput(f"making the others speakable frees token {int(freed[0])}, again and again: choose fewer tokens")


def _nothing(head: Head) -> Change:
    return Change(
        torch.zeros(0, dtype=torch.int64), torch.zeros((0, head.d), dtype=torch.float64),
        torch.zeros(0, dtype=torch.float64),
    )  # fmt: skip


def _lost_and_freed(
    after: Head, before: Before, changed_too: Int[np.ndarray, " k"], silence: Int[np.ndarray, " m"], jobs: int
) -> tuple[Int[np.ndarray, " a"], Int[np.ndarray, " b"]]:
    """Speakable tokens that did not change themselves and are not speakable any more; silenced ones that are not so.

    Most win where they won before. A scan is for the others.
    """
    problem = after.problem()
    others = np.setdiff1d(before.speakable, changed_too)
    won = [np.zeros(0, dtype=bool)]
    with threads(jobs):
        for start in range(0, len(others), _BLOCK):
            part = others[start : start + _BLOCK]
            points = torch.from_numpy(before.witnesses(part)).to(torch.float32)
            won.append((check_witnesses(problem, torch.from_numpy(part), points).lower > 0).numpy())
    open_ = np.union1d(others[~np.concatenate(won)], silence)
    if not len(open_):
        return open_, open_
    result = scan(problem, ScanSettings(jobs=jobs), tokens=open_)
    rows = result.merged.row_of[open_]
    verdict = result.state.verdict[rows]
    speaks = (verdict == SPEAKABLE) & (result.merged.size[open_] == 1)
    silent = np.isin(open_, silence)
    return open_[~silent & ~speaks], open_[silent & (verdict != UNSPEAKABLE)]


def _told(head: Head, after: Head, asked: Asked, tokens: Int[np.ndarray, " k"], before: Before) -> Repaired:
    ids = torch.from_numpy(tokens)
    rows = after.weight[ids].double() - head.weight[ids].double()
    square = rows.square().sum(dim=1)
    if head.bias is not None and after.bias is not None:
        square = square + (after.bias[ids].double() - head.bias[ids].double()).square()
    spoken = ~np.isin(tokens, asked.silence)
    lower, upper = before.lower[tokens], before.upper[tokens]
    reach = Space(head, ids, asked.parts).reach(head.problem())
    lacking = np.where(spoken, asked.margin - upper, asked.depth + lower)
    lacking[spoken & bool(len(asked.silence))] = 0.0
    return Repaired(
        head=after,
        tokens=tokens,
        spoken=spoken,
        added=np.setdiff1d(tokens, np.union1d(asked.speak, asked.silence)),
        size=square.sqrt().numpy(),
        least=np.nan_to_num(np.maximum(lacking, 0.0), nan=0.0, posinf=0.0) / reach,
        row_norm=head.weight[ids].double().norm(dim=1).numpy(),
    )
