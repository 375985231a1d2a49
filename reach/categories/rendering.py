"""What a chat template makes of a few conversations."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER, ANSWER, THOUGHT = "Quuxquestion", "Quuxanswer", "Quuxthought"
"""What is said, in words that no template has itself."""
_WORKER = Path(__file__).with_name("render_worker.py")
_SECONDS = 60.0
_MOST_TEXT = 2**20
_TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks up a word.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string", "description": "The word."}},
            "required": ["word"],
        },
    },
}


@dataclass(frozen=True)
class Case:
    """One conversation, with and without what the assistant says at its end.

    Attributes:
        prompt: the text of the conversation before it, with the start of the assistant's turn; none if it failed.
        whole: the text with the assistant's turn; none if it failed.
        tool: whether the turn is a call of a tool.
        error: why one of them failed.
    """

    prompt: str | None
    whole: str | None
    tool: bool
    error: str | None


def conversations(templates: list[str], variables: Mapping[str, str]) -> list[list[Case]]:
    """Render each template over a few conversations, in a process of its own.

    Args:
        templates: their texts.
        variables: the special tokens by the names that templates know, such as `eos_token`.

    Returns:
        For each template its cases: a plain answer, one under a system's words, one after a thought, and two calls of
        a tool.
    """
    if not templates:
        return []
    told, user, system = dict(variables), _said("user", USER), _said("system", "Be brief.")
    prompts = [([user], []), ([system, user], []), ([user], []), ([user], [_TOOL]), ([user], [_TOOL])]
    answer = _said("assistant", ANSWER)
    thought = {**answer, "reasoning_content": THOUGHT, "thinking": THOUGHT}
    turns = [answer, answer, thought, _call({"word": "red"}), _call(json.dumps({"word": "red"}))]
    cases = []
    for (messages, tools), turn in zip(prompts, turns, strict=True):
        more = {"tools": tools} if tools else {"tools": None}
        cases.append({**told, **more, "messages": messages, "add_generation_prompt": True})
        cases.append({**told, **more, "messages": [*messages, turn], "add_generation_prompt": False})
    rendered = _render(templates, cases)
    return [
        [
            _case(one[at], one[at + 1], tool=turns[at // 2].get("tool_calls") is not None)
            for at in range(0, len(one), 2)
        ]
        for one in rendered
    ]


def _said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def _call(arguments: Any) -> dict[str, Any]:
    """A call of a tool; some templates take the arguments as an object, some as a text."""
    function = {"name": "look_up", "arguments": arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "abcdefghi", "type": "function", "function": function}],
    }


def _case(prompt: tuple[str, str], whole: tuple[str, str], *, tool: bool) -> Case:
    texts = [text if kind == "text" else None for kind, text in (prompt, whole)]
    errors = [text for kind, text in (prompt, whole) if kind == "error"]
    return Case(texts[0], texts[1], tool, errors[0] if errors else None)


def _render(templates: list[str], cases: list[dict[str, Any]]) -> list[list[tuple[str, str]]]:
    asked = json.dumps({"templates": templates, "cases": cases, "most": _MOST_TEXT})
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_WORKER)], input=asked, capture_output=True, text=True, encoding="utf-8",
            timeout=_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return [[(kind, text) for kind, text in one] for one in json.loads(done.stdout)]
        why = "it takes too long, or too much memory"
    except subprocess.TimeoutExpired:
        why = "it takes too long"
    if len(templates) > 1:  # one of them is to blame
        return [one for text in templates for one in _render([text], cases)]
    return [[("error", why)] * len(cases)]
