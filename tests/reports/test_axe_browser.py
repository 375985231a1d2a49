"""Every page by the rules of axe-core, best practices included: no violation, with all that folds or opens open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import real_runs

from reports.write import write_reports

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]
Pages = dict[str, tuple[Path, str]]


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which defines `axe`."""
    base = pytest.importorskip("axe_playwright_python.base", reason="pip install -e '.[test]'")
    return base.AXE_SCRIPT


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """A page of each kind, and the fragment that opens what can be opened on it."""
    folder = tmp_path_factory.mktemp("axe")
    report, solvers = write_reports([real_runs.compared()])
    runs = [real_runs.scanned(), real_runs.scanned_in_no_time()]
    return {
        "scan": (report, "#token=20"),
        "bare head": (write_reports([real_runs.scanned_with_silencers()])[0], "#token=39"),
        "solvers": (solvers, ""),
        "search": (write_reports([real_runs.searched()])[1], "#token=20"),
        "interference": (write_reports([real_runs.measured()])[1], ""),
        "compare": (write_reports(runs, folder / "compare.html")[0], ""),
        "index": (write_reports([], folder / "index.html", index=runs[0].parent)[0], ""),
    }


KINDS = ["scan", "bare head", "solvers", "search", "interference", "compare", "index"]


def violations(page: Page) -> list[str]:
    """What axe finds: rule, and the elements that break it."""
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run({ resultTypes: ['violations'] }).then((all) => all.violations)"
    )
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(visit: Visit, pages: Pages, axe: str, kind: str, scheme: str, width: int):
    file, fragment = pages[kind]
    page = visit(
        file, fragment, viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    assert page.get_attribute("html", "data-theme") == scheme
    if page.locator("#plotly").count():
        page.locator("html[data-plots='drawn']").wait_for(state="attached")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert fragment == "" or page.locator("#panel, #picked").is_visible()
    page.evaluate(axe)
    assert violations(page) == []
