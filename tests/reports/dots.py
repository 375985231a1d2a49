"""Places on a plot of dots, for tests that point at them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

NO_WEBGL = """(() => {
  const real = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
    return kind.startsWith('webgl') ? null : real.call(this, kind, ...more);
  };
})()"""


def data_of(page: Page, plot: str) -> dict[str, str]:
    """What the plot says of itself."""
    found: dict[str, str] = page.evaluate("id => ({...document.getElementById(id).dataset})", plot.removeprefix("#"))
    return found


def view_of(page: Page, plot: str) -> dict[str, list[float]]:
    """What is in sight: the ends of both directions, once the plot has come to rest."""
    before = None
    for _ in range(40):
        now = data_of(page, plot).get("view")
        if now is not None and now == before:
            break
        before = now
        page.wait_for_timeout(80)
    found: dict[str, list[float]] = json.loads(str(before))
    return found


def area_of(page: Page, plot: str) -> dict[str, Any]:
    """The plotting area in pixels, brought into sight."""
    page.locator(plot).scroll_into_view_if_needed()
    box = page.locator(f"{plot} .dots-stage").bounding_box()
    assert box is not None
    return dict(box)


def pixel_of(page: Page, plot: str, x: float, y: float) -> tuple[float, float]:
    """Where a place of the plot's own measure is on the screen."""
    box, view = area_of(page, plot), view_of(page, plot)
    (left, right), (low, high) = view["x"], view["y"]
    return box["x"] + (x - left) / (right - left) * box["width"], box["y"] + (high - y) / (high - low) * box["height"]


def drag(page: Page, plot: str, *shares: tuple[float, float]) -> None:
    """Drag from place to place, in shares of the plotting area from its top left."""
    box = area_of(page, plot)
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def painted(page: Page, plot: str) -> int:
    """Pixels of the plot's canvas that are not empty."""
    found: int = page.evaluate(
        """id => {
          const seen = [...document.querySelectorAll(`${id} canvas`)].find((one) => !one.hidden);
          const copy = Object.assign(document.createElement('canvas'), {width: seen.width, height: seen.height});
          const pen = copy.getContext('2d');
          pen.drawImage(seen, 0, 0);
          const parts = pen.getImageData(0, 0, copy.width, copy.height).data;
          return parts.filter((part, at) => at % 4 === 3 && part > 0).length;
        }""",
        plot,
    )
    return found
