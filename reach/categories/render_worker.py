"""A process of its own that renders chat templates, so that one that never ends can be ended. Needs jinja2 alone.

Reads `{"templates": [text], "cases": [variables], "most": characters}` from standard input, and writes for each
template, and for each case of it, `["text", what came]` or `["error", why not]`.
"""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

_MEMORY, _SECONDS = 2**31, 20


class Generation(jinja2.ext.Extension):
    """The block that marks what the assistant says; here it is what is in it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        """The statements up to `endgeneration`."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """An environment in which templates find what transformers gives them."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def _to_json(value: Any, ensure_ascii: bool = False, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **how)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _limit() -> None:
    """What one process may take, where the system can limit it."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, _SECONDS)):
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _rendered(template: Any, case: dict[str, Any], most: int) -> tuple[str, str]:
    try:
        parts, length = [], 0
        for part in template.generate(**case):
            parts.append(part)
            length += len(part)
            if length > most:
                return "error", "what it writes has no end"
        return "text", "".join(parts)
    except Exception as error:  # whatever a template makes Python raise
        return "error", _words(error)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def main() -> None:
    """Render what standard input asks for."""
    asked = json.load(sys.stdin)
    _limit()
    environment, out = _environment(), []
    for text in asked["templates"]:
        try:
            template = environment.from_string(text)
        except Exception as error:  # of the language, or of its nesting
            out.append([("error", _words(error))] * len(asked["cases"]))
            continue
        out.append([_rendered(template, case, asked["most"]) for case in asked["cases"]])
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
