"""Where a model's chat templates are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from reach.categories.files import MOST_TEMPLATE, json_object, template_text
from reach.categories.special import SETTINGS

TEMPLATE_FILE, TEMPLATE_FOLDER = "chat_template.jinja", "additional_chat_templates"
OLD_TEMPLATE_FILE = "chat_template.json"
_MOST_TEMPLATES = 16


class Template(NamedTuple):
    """A chat template in its own language.

    Attributes:
        where: the file, and its name there.
        text: the template.
    """

    where: str
    text: str


def folder_templates(folder: Path, warnings: list[str]) -> list[Template]:
    """The chat templates of a model folder, each text once. Those of own files win over one in the settings."""
    found = list(_of_files(folder, warnings))
    for file in (SETTINGS, OLD_TEMPLATE_FILE) if not found else ():
        found += of_entry(json_object(folder / file, []).get("chat_template"), f"{file}: chat_template", warnings)
    texts: dict[str, Template] = {}
    for one in found:
        texts.setdefault(one.text, one)
    if len(texts) > _MOST_TEMPLATES:
        warnings.append(f"{folder}: has {len(texts)} chat templates; only the first {_MOST_TEMPLATES} are read")
    return list(texts.values())[:_MOST_TEMPLATES]


def _of_files(folder: Path, warnings: list[str]) -> Iterator[Template]:
    text = template_text(folder / TEMPLATE_FILE, warnings)
    if text is not None:
        yield Template(TEMPLATE_FILE, text)
    for file in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja")):
        text = template_text(file, warnings)
        if text is not None:
            yield Template(f"{TEMPLATE_FOLDER}/{file.name}", text)


def of_entry(entry: Any, where: str, warnings: list[str]) -> list[Template]:
    """The templates of a `chat_template` entry: one text, or a list of named ones."""
    if entry is None:
        return []
    if isinstance(entry, str):
        found = [Template(where, entry)]
    elif isinstance(entry, list) and all(_is_named(one) for one in entry):
        found = [Template(f"{where} {one['name']!r}", one["template"]) for one in entry]
    else:
        warnings.append(f"{where} is neither a text nor a list of named ones: it is passed over")
        return []
    for one in found:
        if len(one.text) > MOST_TEMPLATE:
            warnings.append(f"{one.where} is too long to be read (at most {MOST_TEMPLATE} characters)")
    return [one for one in found if len(one.text) <= MOST_TEMPLATE]


def _is_named(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("template"), str)
