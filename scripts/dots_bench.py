"""Frames per second of the plot of dots, with as many dots as a large vocabulary has. Needs Chromium and playwright.

The page holds the reports' own scripts and nothing else; dots are moved and zoomed in every frame, as a hand would.
By default WebGL is drawn by the processor (SwiftShader), which is what a machine without a graphics card does.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from reports.render import asset, script

FILES = (
    "marks.js", "numbers.js", "scales.js", "dotspick.js", "dotsview.js", "dotsgl.js", "dotsflat.js", "dotshand.js",
    "dotslegend.js", "dots.js",
)  # fmt: skip
BY_PROCESSOR = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")

DRIVER = """
const count = COUNT;
const place = document.getElementById("plot");
const random = (seed) => () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
const next = random(1);
const bell = () => next() + next() + next() + next() - 2;
const [x, y, codes] = [new Float64Array(count), new Float64Array(count), new Uint8Array(count)];
for (let i = 0; i < count; i++) {
  codes[i] = next() < 0.9 ? 0 : 1 + Math.floor(4 * next());
  x[i] = bell() + 1.5 * Math.cos(codes[i]);
  y[i] = bell() + 1.5 * Math.sin(codes[i]);
}
const counts = [0, 0, 0, 0, 0];
for (const code of codes) counts[code] += 1;
const shapes = ["circle", "diamond", "square", "triangle", "cross"];
window.run = async (what, fewer, seconds) => {
  const dots = makeDots(place, { equal: true, fewer, fill() {}, open() {}, picked() {} });
  dots.setPlaces(x, y);
  const group = (shape, at) => ({ name: shape, colour: `cat-${at}`, shape, size: 4.5, count: counts[at] });
  dots.setGroups(shapes.map(group), codes);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  while (!place.dataset.dots) await frame();
  for (let at = 0; at < 20; at++) await frame();
  const stage = place.querySelector(".dots-stage");
  const box = stage.getBoundingClientRect();
  const [cx, cy] = [box.left + box.width / 2, box.top + box.height / 2];
  const told = { pointerId: 7, button: 0, bubbles: true, cancelable: true };
  const tell = (event) => stage.dispatchEvent(event);
  const pointer = (type, clientX, clientY) => tell(new PointerEvent(type, { ...told, clientX, clientY }));
  const wheel = (deltaY) => tell(new WheelEvent("wheel", { ...told, deltaY, clientX: cx, clientY: cy }));
  place.focus();
  const frames = [];
  let last = await frame();
  const started = last;
  if (what === "move") pointer("pointerdown", cx, cy);
  for (let at = 0; last - started < 1000 * seconds; at++) {
    const turn = at / 12;
    if (what === "move") pointer("pointermove", cx + 150 * Math.sin(turn), cy + 90 * Math.cos(turn) - 90);
    else wheel(at % 60 < 30 ? -60 : 60);
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  if (what === "move") pointer("pointerup", cx, cy);
  frames.sort((a, b) => a - b);
  const rate = (1000 * frames.length) / (last - started);
  return { painter: place.dataset.painter, rate, slow: frames[Math.floor(0.95 * frames.length)] };
};
"""


def page_of(dots: int) -> str:
    """A page with one plot, and a function that moves it."""
    scripts = str(script(*FILES)).replace('"use strict";', "", 1).removesuffix("})();")
    driver = DRIVER.replace("COUNT", str(dots))
    style = asset("report.css") + asset("dots.css")
    return (
        f'<!doctype html><html data-theme="light"><meta charset="utf-8"><style>{style}</style>'
        '<div class="plot" id="plot" tabindex="0" style="height:520px"></div>'
        f"<script>{scripts}{driver}}})();</script>"
    )


def main(
    dots: Annotated[int, typer.Option(help="How many.")] = 2**18,
    seconds: Annotated[float, typer.Option(help="How long to move and to zoom.")] = 5.0,
    card: Annotated[bool, typer.Option(help="Draw by the graphics card.")] = False,
    ratio: Annotated[float, typer.Option(help="Pixels of the screen for each of the page.")] = 1.0,
) -> None:
    """Print one line of JSON for each way to move."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise typer.BadParameter("no Chromium on the PATH")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "dots.html"
        file.write_text(page_of(dots), encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", *(() if card else BY_PROCESSOR)]
        )
        size = {"width": 1400, "height": 800}
        for what in ("move", "zoom"):
            for fewer in (False, True):
                page = browser.new_context(viewport=size, device_scale_factor=ratio).new_page()
                page.goto(file.as_uri())
                told = page.evaluate("([what, fewer, seconds]) => run(what, fewer, seconds)", [what, fewer, seconds])
                page.close()
                record = {
                    "dots": dots, "pixels": ratio, "hand": what, "all": not fewer, "painter": told["painter"],
                    "frames_per_second": round(told["rate"], 1), "slow_frame_ms": round(told["slow"], 1),
                }  # fmt: skip
                typer.echo(json.dumps(record))
        browser.close()


if __name__ == "__main__":
    typer.run(main)
