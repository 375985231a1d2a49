"""A short summary in Markdown, fit for a model card."""

from __future__ import annotations

import re
from pathlib import Path

from reach.runs.atomic import write_page
from reach.runs.folder import RunFolder
from reports import plain
from reports.answer import answer, count_tokens
from reports.control import read_control
from reports.domain import domain_view
from reports.listing import Listing, Named, listings
from reports.marks import visible
from reports.method import method_view
from reports.min_p import SamplerView, sampler_view
from reports.scan_page import model_name
from reports.served import ServedView, served_view

_SHOWN = 30
_LONGEST = 40
# What Markdown or HTML would read as more than text.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&])")


def write_markdown(run: Path, out: Path | None = None, *, force: bool = True) -> Path:
    """Write the summary of a finished scan to `report.md` in its folder, or to `out`.

    Raises:
        BadInput: the run is unfinished, damaged, empty or of another schema, or the file cannot be written.
    """
    folder = RunFolder.open(run)
    file = folder.path / "report.md" if out is None else out
    write_page(file, markdown(folder), force=force)
    return file


def markdown(run: RunFolder) -> str:
    """The summary as text."""
    tokens = run.verdicts()
    manifest = tokens.manifest
    counts, domain = count_tokens(tokens), domain_view(manifest)
    model = plain.text(manifest.model)
    said = answer(counts, model_name(manifest.model), domain)
    method = method_view(manifest, run.path.resolve().name)
    lines = [
        "## Tokens that the model can never say",
        "",
        f"**{escape(said.lead)}** {escape(said.rest)}",
        "",
        f"{escape(said.domain)} {escape(said.evidence)}",
        *(line for note in said.notes for line in ("", escape(note))),
        "",
        "| | tokens |",
        "|---|---:|",
        *(f"| {tile.label} | {tile.value} |" for tile in said.tiles),
        "",
    ]
    for group in listings(tokens):
        lines += [*_group(group), ""]
    lines += _samplers(sampler_view(tokens, read_control(run)))
    lines += _served(served_view(tokens))
    lines += [
        f"Model {code(model)}, {plain.count(manifest.v)} × {plain.count(manifest.d)}, fingerprint "
        f"{code(plain.text(manifest.fingerprint))}.",
        "",
        "```sh",
        *(_one_line(command) for command in (method.command, f"{method.verify}   # proves every verdict again")),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _samplers(view: SamplerView) -> list[str]:
    """What samplers can return: sentences, and the curve of min-p where there is one."""
    lines = ["### What samplers can return", ""]
    for sentence in view.words:
        lines += [escape(sentence), ""]
    if view.rows:
        # The columns that a run has something in.
        columns = [("min-p", "p"), ("out of reach", "out")]
        columns += [("open", "open")] if view.open else []
        columns += [("control: out of reach", "control")] if view.control else []
        lines += [
            f"| {' | '.join(title for title, _ in columns)} |",
            "|---|" + "---:|" * (len(columns) - 1),
            *(f"| {' | '.join(getattr(row, name) for _, name in columns)} |" for row in view.rows),
            "",
            escape(f"Proved, at temperature 1. {view.control}".strip()),
            "",
        ]
    for sentence in view.further:
        lines += [escape(sentence), ""]
    return lines


def _served(view: ServedView) -> list[str]:
    """What servers return; nothing where the run was not asked."""
    if not view.rows:
        return []
    return [
        "### As served",
        "",
        escape(f"In whatever order float32 adds up the products; {view.server}."),
        "",
        f"| | {' | '.join(view.classes)} |",
        "|---|" + "---:|" * len(view.classes),
        *(f"| {row.arithmetic} | {' | '.join(row.counts)} |" for row in view.rows),
        *(line for sentence in view.further for line in ("", escape(sentence))),
        "",
    ]


def _group(group: Listing) -> list[str]:
    shown = group.tokens[:_SHOWN]
    more = len(group.tokens) + group.more - len(shown)
    names = ", ".join(_name(token) for token in shown)
    return [f"{group.title}: {names}" + (f", and {more:,} more." if more else ".")]


def _name(token: Named) -> str:
    return f"{code(_signs(token.text))} ({token.id})" if token.known else f"#{token.id}"


def _signs(text: str) -> str:
    found = visible(text, _LONGEST)
    shown = "".join(piece.text for piece in found.pieces) or "empty"
    return shown + ("…" if found.hidden else "")


def code(text: str) -> str:
    """A code span around any text: its fence is longer than any run of backticks inside."""
    text = _one_line(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{fence}{space}{text}{space}{fence}"


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(lambda found: found[0] if found[0] in "-.()" else "\\" + found[0], _one_line(text))


def _one_line(text: str) -> str:
    pieces = visible(text, 10_000).pieces
    return "".join(" " if piece.mark and piece.text == "␣" else piece.text for piece in pieces)
