"""A page of each kind, of real runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import real_runs
import trace_family

from reports.trace_page import write_trace_page
from reports.write import write_reports

KINDS = ("scan", "margins", "bare head", "solvers", "search", "interference", "trace", "compare", "index")
TOKEN_OF = {"scan": 20, "margins": 20, "bare head": 39, "search": 20, "trace": 21}
"""A token with much to show, on pages that show single tokens."""


def _page(run: Path, name: str) -> Path:
    return next(one for one in write_reports([run]) if one.name == name)


@cache
def page_of(kind: str) -> Path:
    """The page of a kind, written once."""
    if kind == "scan":
        return _page(real_runs.compared(), "report.html")
    if kind == "margins":
        return _page(real_runs.scanned_with_margins(), "report.html")
    if kind == "bare head":
        return _page(real_runs.scanned_with_silencers(), "report.html")
    if kind == "solvers":
        return _page(real_runs.compared(), "solvers.html")
    if kind == "search":
        return _page(real_runs.searched(), "search.html")
    if kind == "interference":
        return _page(real_runs.measured(), "interference.html")
    if kind == "trace":
        return write_trace_page(trace_family.traced())
    runs = [real_runs.scanned_with_margins(), real_runs.scanned(), real_runs.scanned_in_no_time()]
    folder = real_runs.scanned().parent
    if kind == "compare":
        return write_reports(runs, folder / "compare.html")[0]
    return write_reports([], folder / "index.html", index=folder)[0]
