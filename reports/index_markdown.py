"""The start page over runs as a table in Markdown."""

from __future__ import annotations

from reports import plain
from reports.index_page import IndexPage
from reports.index_runs import IndexedRun
from reports.index_series import Place
from reports.markdown import code, escape

_HEADS = (
    "run", "family", "V", "d", "tying", "norm", "dtype", "year", "domain", "tokens asked for", "unspeakable",
    "hard-to-speak", "nearly never, bfloat16", "nearly never, float32", "tied", "undecided", "must be said: fail",
    "scanned",
)  # fmt: skip
_WORDS = frozenset(["run", "family", "tying", "norm", "dtype", "domain", "scanned"])


def index_markdown(page: IndexPage) -> str:
    """The runs with the numbers of the page, each model or training run once, then all earlier checkpoints."""
    rows = list(zip(page.rows, page.places, strict=True))
    shown = [row for row in rows if row[0].problem is None and (row[1] is None or row[1].last)]
    earlier = [row for row in rows if row[0].problem is None and row[1] is not None and not row[1].last]
    lines = [f"## {escape(page.title)}", "", escape(page.lead), ""]
    for note in page.notes:
        lines += [escape(note), ""]
    lines += _table(shown)
    if earlier:
        lines += ["### Earlier checkpoints", "", *_table(earlier)]
    problems = [run for run in page.rows if run.problem is not None]
    if problems:
        lines += ["### Runs that cannot be shown", ""]
        lines += [f"- {code(run.name)}: {escape(run.problem or '')}" for run in problems] + [""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _table(rows: list[tuple[IndexedRun, Place | None]]) -> list[str]:
    if not rows:
        return []
    aligned = "|".join("---" if name in _WORDS else "---:" for name in _HEADS)
    return [
        f"| {' | '.join(_HEADS)} |",
        f"|{aligned}|",
        *(f"| {' | '.join(_cells(run))} |" for run, _ in rows),
        "",
    ]


def _cells(run: IndexedRun) -> list[str]:
    nearly = run.totals.nearly_never
    counts: tuple[int | None, ...] = (
        run.hard_to_speak, nearly.bfloat16 if nearly else None,
        nearly.float32 if nearly else None, run.verdicts.get("tied", 0),
        run.verdicts.get("undecided", 0), run.gate.failures if run.gate else None,
    )  # fmt: skip
    unspeakable = run.verdicts.get("unspeakable", 0)
    asked = f"{run.asked:,}" if run.whole else f"{run.asked:,} of {_number(run.v)}"
    return [
        code(run.name).replace("|", "\\|"),
        *(escape(one) if one else "–" for one in (run.family,)),
        _number(run.v),
        _number(run.d),
        *(escape(one) if one else "–" for one in (run.tying, run.norm or "none", run.dtype)),
        "unknown" if run.year is None else str(run.year),
        escape(run.domain),
        asked,
        f"{unspeakable:,} ({plain.share(unspeakable, run.asked)})",
        *map(_number, counts),
        escape(run.started),
    ]


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
