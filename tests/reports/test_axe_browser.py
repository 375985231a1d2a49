"""Every page by the rules of axe-core, best practices included: no violation, with all that folds or opens open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from every_page import KINDS, TOKEN_OF, page_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which defines `axe`."""
    base = pytest.importorskip("axe_playwright_python.base", reason="pip install -e '.[test]'")
    return base.AXE_SCRIPT


def violations(page: Page) -> list[str]:
    """What axe finds: rule, and the elements that break it."""
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run({ resultTypes: ['violations'] }).then((all) => all.violations)"
    )
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing(visit: Visit, axe: str, kind: str, scheme: str, width: int):
    size = {"width": width, "height": 900}
    fragment = f"#token={TOKEN_OF[kind]}" if kind in TOKEN_OF else ""
    page = visit(page_of(kind), fragment, viewport=size, color_scheme=scheme, reduced_motion="reduce")
    assert page.get_attribute("html", "data-theme") == scheme
    if page.locator("#plotly").count():
        page.locator("html[data-plots='drawn']").wait_for(state="attached")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert not fragment or page.locator("#panel, #picked").first.is_visible()
    page.evaluate(axe)
    assert violations(page) == []
