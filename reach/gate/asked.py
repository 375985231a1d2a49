"""Which tokens a model must be able to say, which it must never say, and who says so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reach.categories.roles import ASSISTANT, END_OF_TURN, EOS, PAD, TOOL_CALL, UNK, Role, Roles
from reach.categories.settings import CONFIG, GENERATION
from reach.token_choice import choose_tokens
from reach.vocabulary import Vocabulary
from solvers.errors import BadInput

MUST, NEVER = "must", "never"
PADDING, RESERVED = "padding row", "reserved"
SUPPRESSED = "suppressed"
_OPTIONS = {MUST: "--must", NEVER: "--never"}
_MOST_SHOWN = 4
_RESERVED = re.compile(
    r"[<\[]\|?((reserved|unused|dummy|placeholder)(_?special)?(_?token)?|special)_?\d+\|?[>\]]|<\|extra_\d+\|>"
    r"|madeupword\d+",
    re.IGNORECASE,
)
"""Names of rows that are kept for later. T5's `<extra_id_0>` and the like are said, and are not among them."""


@dataclass(frozen=True)
class Asked:
    """One token that the gate is about.

    Attributes:
        token: its id.
        side: `must` or `never`.
        reasons: the roles that put it there: those of `Role`, `padding row`, `reserved`, or what a person named.
        masked: where the model's own settings keep it from being returned, or none.
    """

    token: int
    side: str
    reasons: tuple[Role, ...]
    masked: str | None = None


def what_is_asked(
    vocabulary: Vocabulary, roles: Roles, *, must: str | None = None, never: str | None = None, only: bool = False
) -> list[Asked]:
    """The tokens to be decided, in order.

    What a person names wins over what the model's files say. Of what these say, a token that must be said is no token
    that must not be: many models pad with the token that ends their text.

    Args:
        vocabulary: the tokens' names.
        roles: what the model's files say of them.
        must, never: choices of a person in the words of `--tokens`.
        only: leave out what the files say.

    Raises:
        BadInput: a choice cannot be read, both name a token, or there is nothing to decide.
    """
    rows = len(vocabulary.pieces)
    named = {side: _named(side, spec, vocabulary, rows) for side, spec in ((MUST, must), (NEVER, never))}
    both = sorted(named[MUST].keys() & named[NEVER].keys())
    if both:
        shown = ", ".join(map(vocabulary.show, both[:_MOST_SHOWN]))
        more = f" and {len(both) - _MOST_SHOWN} more" if len(both) > _MOST_SHOWN else ""
        raise BadInput(f"--must and --never both name {shown}{more}: take them out of one of the two")
    files_must = {} if only else must_by_files(roles)
    files_never = {} if only else never_by_files(vocabulary.pieces, roles)
    sides: dict[int, tuple[str, tuple[Role, ...]]] = {}
    for side, found in (
        (NEVER, files_never), (MUST, files_must), (NEVER, named[NEVER]), (MUST, named[MUST]),
    ):  # fmt: skip
        for token, reasons in found.items():
            before = sides.get(token)
            sides[token] = (side, (*reasons, *(before[1] if before is not None and before[0] == side else ())))
    if not sides:
        raise BadInput(
            "there is nothing to decide: no file names a token that generation needs or must not return; name tokens "
            "with --must and --never"
        )
    masked = roles.named(SUPPRESSED)
    return [
        Asked(token, side, reasons, masked[token][0].where if token in masked else None)
        for token, (side, reasons) in sorted(sides.items())
    ]


def must_by_files(roles: Roles) -> dict[int, tuple[Role, ...]]:
    """What generation stops by, and what the assistant's part of a chat template holds."""
    found = roles.named(END_OF_TURN, TOOL_CALL, ASSISTANT)
    for token, reasons in _ends(roles).items():
        found[token] = (*reasons, *found.get(token, ()))
    return found


def never_by_files(pieces: Sequence[str | None], roles: Roles) -> dict[int, tuple[Role, ...]]:
    """Rows without a token, tokens whose names say that they are reserved, and those that only pad or stand in."""
    found: dict[int, tuple[Role, ...]] = dict(roles.named(PAD, UNK))
    known = any(piece is not None for piece in pieces)
    for token, piece in enumerate(pieces):
        if piece is None and known:
            found[token] = (Role(token, PADDING, "no entry in the tokenizer"), *found.get(token, ()))
        elif piece is not None and _RESERVED.fullmatch(piece):
            found[token] = (Role(token, RESERVED, "its name"), *found.get(token, ()))
    return found


def _ends(roles: Roles) -> dict[int, tuple[Role, ...]]:
    """The ids that end a text: those of the generation config, else of the config, else of the tokenizer."""
    said = roles.named(EOS)
    for file in (GENERATION, CONFIG):
        of_file = {
            token: tuple(role for role in reasons if role.where.startswith(f"{file}:"))
            for token, reasons in said.items()
        }
        if any(of_file.values()):
            return {token: reasons for token, reasons in of_file.items() if reasons}
    return said


def _named(side: str, spec: str | None, vocabulary: Vocabulary, rows: int) -> Mapping[int, tuple[Role, ...]]:
    if spec is None:
        return {}
    option = _OPTIONS[side]
    chosen = choose_tokens(spec, vocabulary, rows, option=option)
    return {token: (Role(token, "named", option),) for token in chosen.tolist()}
