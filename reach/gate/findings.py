"""What the gate found, in words: the token, why it matters, what was proved, what follows, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reach.categories.roles import ASSISTANT, END_OF_TURN, EOS, TOOL_CALL
from reach.gate.asked import MUST, NEVER, Asked
from reach.gate.deciding import SPEAKABLE, TIED, UNDECIDED, UNSPEAKABLE, Decision
from reach.vocabulary import Vocabulary

THIN = "thin"
_MOST_SHOWN = 3
_MOST_ROLES = 2


@dataclass(frozen=True)
class Finding:
    """One failure: a token, or several of which the same is true.

    Attributes:
        tokens: their ids.
        side: `must` or `never`.
        kind: `unspeakable`, `tied`, `thin` or `undecided` of a token that must be said; `speakable`, `tied` or
            `undecided` of one that must not be.
        why: why it matters, and who says so.
        proved: what was proved.
        follows: what follows from it.
        do: what to do.
    """

    tokens: tuple[int, ...]
    side: str
    kind: str
    why: str
    proved: str
    follows: str
    do: str

    def line(self, vocabulary: Vocabulary) -> str:
        """All of it in one line."""
        return f"{names(self.tokens, vocabulary)}: {self.why}: {self.proved}; {self.follows}; {self.do}"


@dataclass(frozen=True)
class Judged:
    """A token that was asked about, what is proved of it, and what is wrong with that, if anything is."""

    asked: Asked
    decision: Decision
    kind: str | None


def judged(asked: Iterable[Asked], decisions: Mapping[int, Decision], margin: float) -> list[Judged]:
    """Which tokens fail, and how. Those that the model's own settings mask may win."""
    return [Judged(one, decisions[one.token], _kind(one, decisions[one.token], margin)) for one in asked]


def masked_ids(found: Iterable[Judged]) -> list[int]:
    """The ids that must be masked: those that must not come out, and can, or are not proved not to."""
    return [one.asked.token for one in found if one.asked.side == NEVER and one.kind is not None]


def findings(found: Sequence[Judged], vocabulary: Vocabulary, margin: float) -> list[Finding]:
    """The failures, tokens that must be said first. Of what must not come out, tokens with one reason and one
    outcome are one finding."""
    out = [_must_finding(one, vocabulary, margin) for one in found if one.asked.side == MUST and one.kind is not None]
    groups: dict[tuple[Any, ...], list[Judged]] = {}
    for one in found:
        if one.asked.side == NEVER and one.kind is not None:
            shared = one.decision.equal if one.kind == TIED else ()
            groups.setdefault((_why(one.asked), one.kind, shared, one.decision.reason), []).append(one)
    return [*out, *(_never_finding(group, vocabulary) for group in groups.values())]


def names(tokens: Sequence[int], vocabulary: Vocabulary) -> str:
    """A few tokens by name, or many by ranges of ids."""
    if len(tokens) <= _MOST_SHOWN:
        return ", ".join(map(vocabulary.show, tokens))
    return f"{len(tokens)} tokens ({ranges(tokens)})"


def ranges(tokens: Iterable[int]) -> str:
    """Ids as ranges, in the words of `--tokens`."""
    runs: list[list[int]] = []
    for token in sorted(tokens):
        if runs and runs[-1][1] == token - 1:
            runs[-1][1] = token
        else:
            runs.append([token, token])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _kind(asked: Asked, decision: Decision, margin: float) -> str | None:
    if asked.side == NEVER:
        fine = decision.verdict == UNSPEAKABLE or asked.masked is not None
        return None if fine else decision.verdict
    if decision.verdict == UNSPEAKABLE:
        return UNSPEAKABLE
    if not decision.alone:
        return TIED
    if decision.lower >= margin or (decision.verdict == SPEAKABLE and math.isinf(decision.upper) and margin == 0):
        return None
    if decision.best < margin:
        return THIN
    return UNDECIDED


def _why(asked: Asked) -> str:
    shown = [f"{role.name} ({role.where})" for role in asked.reasons[:_MOST_ROLES]]
    rest = len(asked.reasons) - len(shown)
    side = "must be said" if asked.side == MUST else "must not come out"
    return f"{side} as {', '.join(shown)}{f' and {rest} more' if rest else ''}"


def _must_finding(one: Judged, vocabulary: Vocabulary, margin: float) -> Finding:
    kind, decision = str(one.kind), one.decision
    proved = {
        UNSPEAKABLE: "it is never the argmax, whatever comes before the head (proved)",
        TIED: f"its row equals that of {_others(one, vocabulary)}, so it never leads alone (proved)",
        THIN: f"at best it leads by {_number(decision.best)} logits, less than {margin:g} (proved)",
        UNDECIDED: f"no proof was found in time ({_between(decision)})",
    }[kind]
    doing = {
        UNSPEAKABLE: "give it a row of its own and train it with the head unfrozen, or stretch it",
        TIED: "give it a row of its own and train it",
        THIN: "train its row with the head unfrozen, or stretch it",
        UNDECIDED: f"run `reach scan MODEL --tokens {one.asked.token}`, or give more --seconds",
    }[kind]
    follows = _follows(one.asked, certain=kind in (UNSPEAKABLE, THIN))
    return Finding((one.asked.token,), MUST, kind, _why(one.asked), proved, follows, doing)


def _follows(asked: Asked, *, certain: bool) -> str:
    names = {role.name for role in asked.reasons}
    if names & {EOS, END_OF_TURN}:
        what = "greedy generation does not stop by it", "greedy generation may not stop by it"
    elif TOOL_CALL in names:
        what = "tools are not called", "tools may not be called"
    elif ASSISTANT in names:
        what = "answers lack their markers", "answers may lack their markers"
    else:
        what = "greedy decoding does not return it", "greedy decoding may not return it"
    return what[0] if certain else what[1]


def _never_finding(group: Sequence[Judged], vocabulary: Vocabulary) -> Finding:
    first, tokens = group[0], tuple(one.asked.token for one in group)
    kind = str(first.kind)
    least = min(one.decision.lower for one in group)
    most = max(one.decision.upper for one in group)
    each = "each" if len(group) > 1 else "it"
    proved = {
        SPEAKABLE: f"{each} can be the argmax, by {_number(least)} logits or more (proved)",
        TIED: f"{each} can share the top with {_others(first, vocabulary)}, whose row is the same (proved)",
        UNDECIDED: f"no proof was found that {each} never wins"
        + (
            f" (it leads by {_number(most)} logits at most)" if math.isfinite(most) else f" ({first.decision.reason})"
        ),
    }[kind]
    what = "a text can hold what the tokenizer cannot spell" if _padding(first.asked) else "a text can hold it"
    if kind == UNDECIDED:
        what = what.replace(" can ", " may ")
    mask = "mask it" if len(group) == 1 else "mask them"
    return Finding(tokens, NEVER, kind, _why(first.asked), proved, what, f"{mask} (--paste FOLDER writes how)")


def _padding(asked: Asked) -> bool:
    return any(role.name == "padding row" for role in asked.reasons)


def _others(one: Judged, vocabulary: Vocabulary) -> str:
    rest = [token for token in one.decision.equal if token != one.asked.token]
    shown = ", ".join(map(vocabulary.show, rest[:_MOST_SHOWN]))
    return shown + (f" and {len(rest) - _MOST_SHOWN} more" if len(rest) > _MOST_SHOWN else "")


def _between(decision: Decision) -> str:
    bounds = f"its best lead lies between {_number(decision.lower)} and {_number(decision.best)} logits"
    known = math.isfinite(decision.lower) or math.isfinite(decision.best)
    return "; ".join(part for part in (decision.reason, bounds if known else None) if part)


def _number(value: float) -> str:
    return "−∞" if value == -math.inf else "∞" if value == math.inf else f"{value:.3g}"
