"""Which markers of a chat template the assistant has to say, and which only the prompt holds.

The conversation up to the start of the assistant's turn is what a server sends; what the whole text has beyond it is
what the model said when the text was a training example. Markers there are the model's, all others the prompt's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reach.categories.rendering import ANSWER, USER, Case, conversations
from reach.categories.roles import ASSISTANT, END_OF_TURN, PROMPT, TEMPLATE, TOOL_CALL, Role
from reach.categories.special import SpecialTokens
from reach.categories.templates import Template

_RANK = (END_OF_TURN, ASSISTANT, TOOL_CALL, PROMPT, TEMPLATE)
_UNKNOWN = "which of its markers the assistant says is not known"


def template_roles(
    templates: list[Template], special: SpecialTokens, where: str, warnings: list[str]
) -> Iterator[Role]:
    """The roles of special and added tokens in chat templates.

    A tokenizer takes the text of such a token for the token wherever it stands, the longest first, and so does this.

    Args:
        templates: the templates.
        special: the tokens.
        where: the model, for messages.
        warnings: why a template could not be used joins them.
    """
    if not special.markers:
        return
    marker = _any_of(special.markers)
    for template, cases in zip(
        templates, conversations([one.text for one in templates], special.variables), strict=True
    ):
        found: dict[int, str] = {}
        for name, text in _occurrences(template, cases, marker, where, warnings):
            for match in marker.finditer(text):
                token = special.markers[match.group()]
                found[token] = min(found.get(token, name), name, key=_RANK.index)
        for token, name in found.items():
            yield Role(token, name, template.where)


def _occurrences(
    template: Template, cases: list[Case], marker: re.Pattern[str], where: str, warnings: list[str]
) -> Iterator[tuple[str, str]]:
    """Stretches of text, and the role that a marker in them has."""
    answers = [case for case in cases if not case.tool]
    if all(case.prompt is None or case.whole is None for case in answers):
        error = next((case.error for case in answers if case.error), "")
        warnings.append(f"{where}: {template.where} does not render ({error}): {_UNKNOWN}")
    elif not any(_end(case) is not None for case in answers):
        warnings.append(f"{where}: {template.where} leaves out what is said in a conversation: {_UNKNOWN}")
    for case in cases:
        for text in (case.prompt, case.whole):
            if text is not None:
                yield PROMPT, text
        turn = _turn(case, marker)
        if turn is None:
            continue
        end = _end(case)
        yield TOOL_CALL if case.tool else ASSISTANT, turn
        if end is not None:
            yield END_OF_TURN, end
    yield TEMPLATE, template.text


def _turn(case: Case, marker: re.Pattern[str]) -> str | None:
    """What the whole text has beyond the prompt, whole markers; none where that cannot be told."""
    if case.prompt is None or case.whole is None or USER not in case.prompt or USER not in case.whole:
        return None
    # Before the question the two may differ: some templates write the tools elsewhere once they are used.
    before = case.prompt[case.prompt.rindex(USER) :]
    whole = case.whole[case.whole.rindex(USER) :]
    pairs = enumerate(zip(before, whole, strict=False))
    start = next((at for at, (one, other) in pairs if one != other), min(len(before), len(whole)))
    begun = (match.start() for match in marker.finditer(whole) if match.start() < start < match.end())
    return whole[next(begun, start) :]


def _end(case: Case) -> str | None:
    """What follows the assistant's words; none where they are not in the text, or are a call of a tool."""
    if case.whole is None or ANSWER not in case.whole:
        return None
    return case.whole[case.whole.rindex(ANSWER) + len(ANSWER) :]


def _any_of(texts: Mapping[str, int]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)))
