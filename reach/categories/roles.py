"""Which tokens have a role, and which of a model's files says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

EOS, BOS, PAD, UNK = "eos", "bos", "pad", "unk"
END_OF_TURN, TOOL_CALL, ASSISTANT = "end of turn", "tool call", "assistant marker"
PROMPT, TEMPLATE = "prompt marker", "template marker"
SPECIAL, ADDED = "special", "added"


class Role(NamedTuple):
    """One role of a token.

    Attributes:
        token: its id.
        name: the role. Of the settings: `eos`, `bos`, `pad`, `unk`, `cls`, `sep`, `mask`, `decoder start`, `forced`,
            `suppressed`, `suppressed at first`, `placeholder`. Of a chat template: `end of turn` (after what the
            assistant says), `tool call` and `assistant marker` (within it), `prompt marker` (only the prompt holds
            it), `template marker` (in the template's text, but seen in no conversation). Of the tokenizer: `special`,
            `added`.
        where: who says so, such as `generation_config.json: eos_token_id`.
    """

    token: int
    name: str
    where: str


@dataclass(frozen=True)
class Roles:
    """The roles of a head's tokens.

    Attributes:
        by_token: the roles of each token that has any, each once, in the order in which they were found.
        absent: roles of ids that have no row in the head.
        warnings: one line each on what could not be read.
    """

    by_token: Mapping[int, tuple[Role, ...]]
    absent: tuple[Role, ...] = ()
    warnings: tuple[str, ...] = ()

    def of(self, token: int) -> tuple[Role, ...]:
        """The roles of a token; empty where it has none."""
        return self.by_token.get(token, ())

    def named(self, *names: str) -> dict[int, tuple[Role, ...]]:
        """The tokens that have one of these roles, in order, with those roles."""
        found = {token: tuple(role for role in roles if role.name in names) for token, roles in self.by_token.items()}
        return {token: found[token] for token in sorted(found) if found[token]}


NO_ROLES = Roles({})


def read_roles(folder: Path | None, pieces: Sequence[str | None], rows: int) -> Roles:
    """The roles that the files of a model folder give its tokens. Whatever is wrong with a file is a warning.

    Args:
        folder: the folder; none for a head without one.
        pieces: the tokens by their rows, none where a row has no token (`Vocabulary.pieces`).
        rows: rows of the head.
    """
    if folder is None:
        return NO_ROLES
    from reach.categories.settings import roles_in_settings
    from reach.categories.special import special_tokens
    from reach.categories.template_roles import template_roles
    from reach.categories.templates import folder_templates

    warnings: list[str] = []
    special = special_tokens(folder, pieces, warnings)
    templates = folder_templates(folder, warnings)
    found = [
        *roles_in_settings(folder, warnings),
        *special.named,
        *template_roles(templates, special, str(folder), warnings),
        *special.roles,
    ]
    return roles_in_rows(found, rows, str(folder), warnings)


def roles_in_rows(found: Iterable[Role], rows: int, where: str, warnings: list[str]) -> Roles:
    """Roles as those of the rows of a head.

    Args:
        found: the roles, of whatever ids.
        rows: rows of the head.
        where: the model, for messages.
        warnings: what is known already; a line on ids without a row joins it.
    """
    by_token: dict[int, dict[Role, None]] = {}
    absent: dict[Role, None] = {}
    for role in found:
        if 0 <= role.token < rows:
            by_token.setdefault(role.token, {})[role] = None
        else:
            absent[role] = None
    # Added tokens without a row are the vocabulary's own warning.
    said = [role for role in absent if role.name not in (SPECIAL, ADDED)]
    if said:
        shown = "; ".join(f"{role.where} is {role.token}" for role in said[:4])
        more = f" and {len(said) - 4} more" if len(said) > 4 else ""
        warnings.append(f"{where}: ids that have no row in the head of {rows}: {shown}{more}")
    ordered = {token: tuple(roles) for token, roles in sorted(by_token.items())}
    return Roles(ordered, tuple(absent), tuple(warnings))
