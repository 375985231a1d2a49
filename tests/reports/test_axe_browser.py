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


COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules on which the theme has a say."""


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds, by all rules or by these: rule, and the elements that break it."""
    options: dict[str, Any] = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found: list[dict[str, Any]] = page.evaluate("options => axe.run(options).then((all) => all.violations)", options)
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "margins"])
def test_axe_finds_nothing_wide_or_narrow_light_or_dark(visit: Visit, axe: str, kind: str):
    fragment = f"#token={TOKEN_OF[kind]}" if kind in TOKEN_OF else ""
    page = visit(page_of(kind), fragment, viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    see_plots(page)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert not fragment or page.locator("#panel").is_visible()
    page.evaluate(axe)
    for width, first, second in ((1400, "light", "dark"), (390, "dark", "light")):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.get_attribute("html", "data-theme") == first
        assert violations(page) == [], (width, first)
        page.evaluate("document.getElementById('theme').click()")
        assert page.get_attribute("html", "data-theme") == second
        assert violations(page, *COLOURS) == [], (width, second)
