"""The figure of docs/interference.md: the subspace model for n = 1e5, d = 1e4. Needs plotly and Chromium.

The plot is drawn by plotly.js in a headless browser and photographed. With `--table` the numbers are printed as the
Markdown table of the same page.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import plotly.graph_objects as go
import typer
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from reach.interference.packing import interference_uncorrected
from reach.interference.subspaces import SubspaceModel

ALPHAS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.2)
COLOURS = ("#1b63b8", "#3f8fd0", "#2b7a3f", "#7a9a1e", "#d08a1e", "#b3561e", "#b3261e", "#565962")
WIDTH, HEIGHT = 900, 820


def main(
    n: Annotated[float, typer.Option(help="Features.")] = 1e5,
    d: Annotated[float, typer.Option(help="Dimensions.")] = 1e4,
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("docs/images/interference-subspaces.png"),
    table: Annotated[bool, typer.Option("--table", help="Print the table instead.")] = False,
) -> None:
    model = SubspaceModel(n, d)
    if table:
        typer.echo(markdown(model))
        return
    photograph(figure(model), out)
    typer.echo(str(out))


def markdown(model: SubspaceModel) -> str:
    lines = ["| α | optimal k | L(k)/L(1) | ε at the optimum | ε without the cubic term |", "|---|---|---|---|---|"]
    for alpha in ALPHAS:
        best = model.optimum(alpha)
        root = interference_uncorrected(model.n / best.k, model.d / best.k)
        lines.append(f"| {alpha:g} | {best.k:.2f} | {best.loss:.4f} | {model.epsilon(best.k):.4f} | {root:.4f} |")
    return "\n".join(lines)


def figure(model: SubspaceModel) -> go.Figure:
    found = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    grid = [float(k) for k in model.grid(800)]
    for alpha, colour in zip(ALPHAS, COLOURS, strict=True):
        line = {"color": colour, "width": 2}
        loss, slope = ([part(k, alpha) for k in grid] for part in (model.loss, model.slope))
        found.add_scatter(x=grid, y=loss, line=line, name=f"α = {alpha:g}", row=1, col=1)
        found.add_scatter(x=grid, y=slope, line=line, showlegend=False, row=2, col=1)
        best = model.optimum(alpha)
        marker = {"color": colour, "size": 10, "line": {"color": "white", "width": 1.5}}
        found.add_scatter(x=[best.k], y=[best.loss], mode="markers", marker=marker, showlegend=False, row=1, col=1)
    found.add_hline(y=0, line={"color": "#888", "width": 1}, row=2, col=1)
    found.add_vline(x=model.k_end, line={"color": "#888", "width": 1, "dash": "dot"})
    found.update_yaxes(title="L(k) / L(1)", range=[0, 1.6], row=1, col=1)
    found.update_yaxes(title="derivative over k", range=[-0.12, 0.12], row=2, col=1)
    found.update_xaxes(title="number of orthogonal subspaces k", row=2, col=1)
    title = f"Splitting {model.d:,.0f} dimensions for {model.n:,.0f} features (dots: optima; dotted line: ε = 1)"
    font = {"family": "DejaVu Sans, Arial, sans-serif", "size": 14}
    found.update_layout(
        template="plotly_white", width=WIDTH, height=HEIGHT, font=font, title={"text": title, "x": 0.02}
    )
    return found


def photograph(drawn: go.Figure, out: Path) -> None:
    from playwright.sync_api import sync_playwright

    page_text = drawn.to_html(include_plotlyjs=False, config={"displayModeBar": False, "staticPlot": True})
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as browsers:
        file = Path(folder) / "figure.html"
        library = f"<meta charset='utf-8'><script>{get_plotlyjs()}</script>"
        file.write_text(page_text.replace("<head>", "<head>" + library, 1), encoding="utf-8")
        browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH + 20, "height": HEIGHT + 20}, device_scale_factor=1.5)
        page.goto(file.as_uri())
        page.wait_for_selector(".main-svg", timeout=60_000)
        out.parent.mkdir(parents=True, exist_ok=True)
        page.locator(".plotly-graph-div").first.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    typer.run(main)
