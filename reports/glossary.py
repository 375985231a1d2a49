"""What the words of a report mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word and its meaning."""

    word: str
    meaning: str


GLOSSARY = (
    Term(
        "head",
        "The last step of a language model: a final norm, then one row of weights and perhaps one offset per "
        "token. It turns the last hidden state into one logit per token.",
    ),
    Term(
        "domain",
        "The set of points that the head can be given. A final norm confines them to a ball; a tanh or sigmoid "
        "state to a box; without either, every point counts.",
    ),
    Term(
        "margin",
        "How far a token's logit can rise above all the others, at the best point of the domain. Positive: the "
        "token can win. It is known as two bounds in logits: at least (≥) from a point that was found, at most (≤) "
        "from weights that were found. Where the two agree to 5 %, or as closely as was asked for, one of them is "
        "shown without a sign: the one that proves the verdict. Where the domain is unbounded and the head has no "
        "offsets, the margin is taken over points of length at most 1.",
    ),
    Term(
        "speakable",
        "At some point of the domain this token has the highest logit, on its own. Proved by that point.",
    ),
    Term(
        "own-direction",
        "Speakable in the plainest way: it wins at a point that lies along its own row of weights.",
    ),
    Term(
        "hard-to-speak",
        "Speakable, but no win along its own row was proved: there, another token is ahead of it or too close to "
        "tell. It is known to win only at other points of the domain.",
    ),
    Term(
        "nearly never",
        "Speakable, but by less than a number format resolves: the largest lead that the token can have is smaller "
        "than the format's step, the distance between neighbouring numbers, at the logit with which it wins. True "
        "of real numbers; a head that computes in this format may never show it. Counted for float32 and, with "
        "steps 65,536 times as large, for bfloat16.",
    ),
    Term(
        "tied",
        "Another token has exactly the same row and offset. Together they can be on top, this one alone never.",
    ),
    Term(
        "unspeakable",
        "No point of the domain makes this token the single winner, whatever the layers below do. Proved by "
        "blockers.",
    ),
    Term(
        "undecided",
        "Neither was proved. The reason is given: a limit was reached, a solver failed, or the margin is too "
        "close to zero for the arithmetic that was used. A solver's own “infeasible” is never taken as a proof.",
    ),
    Term(
        "witness",
        "A point at which a token wins. Anyone can multiply it out and see: the proof of speakable.",
    ),
    Term(
        "blockers and hull weights",
        "A few other tokens with weights that add up to 1. Mixed with these weights, their logits are never below "
        "the token's at any point of the domain, so at least one of them always matches or beats it: the proof of "
        "unspeakable.",
    ),
    Term(
        "runner-up",
        "The closest competitor at the witness; for an unspeakable token, its heaviest blocker.",
    ),
    Term(
        "evidence",
        "How a proof was checked, apart from the solver that found it. float64: recomputed in double precision. "
        "rigorous: recomputed, and the margin is larger than all rounding errors could be. exact: in "
        "rational arithmetic; for a witness that means against the runner-up, and wherever a bound on the rounding "
        "leaves a comparison with another token open.",
    ),
)
