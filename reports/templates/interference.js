// Draws every plot of the interference page from plain data: bands, then lines, then points.
function bandTraces(band, look) {
  const colour = look.colour(band.colour);
  const edge = { type: "scatter", mode: "lines", x: band.x, hoverinfo: "skip", legendgroup: band.name };
  return [
    { ...edge, y: band.low, line: { color: colour, width: 1 }, showlegend: false },
    { ...edge, y: band.high, line: { color: colour, width: 1 }, fill: "tonexty", fillcolor: `${colour}40`, name: plotText(band.name) },
  ];
}

function lineTrace(line, look) {
  return {
    type: "scatter", mode: "lines", name: plotText(line.name), x: line.x, y: line.y,
    line: { color: look.colour(line.colour), width: line.colour === "text" ? 2.2 : 1.6, dash: line.dash ?? "solid" },
    hovertemplate: `${plotText(line.name)}<br>%{x:.4g}: %{y:.4g}<extra></extra>`,
  };
}

function pointTrace(points, look) {
  return {
    type: "scatter", mode: "markers", name: plotText(points.name), x: points.x, y: points.y, customdata: points.token,
    marker: { color: look.colour(points.colour), size: points.symbol ? 9 : 4, opacity: points.symbol ? 1 : 0.55, symbol: points.symbol ?? "circle" },
    hovertemplate: points.token ? "token %{customdata}<br>%{x:.4g}, margin %{y:.4g}<extra></extra>" : "%{x:.4g}, %{y:.4g}<extra></extra>",
  };
}

// Beside a wide plot, above a narrow one: below, it would lie on the axis title.
function legendFor(place) {
  const beside = place.closest(".wide") && !matchMedia("(max-width: 760px)").matches;
  return beside ? { orientation: "v", x: 1.01, y: 1 } : { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" };
}

function drawFigure(Plotly, figure) {
  const place = document.getElementById(figure.id);
  if (!place) return Promise.resolve();
  const look = looks();
  const traces = [
    ...figure.bands.flatMap((band) => bandTraces(band, look)),
    ...figure.lines.map((line) => lineTrace(line, look)),
    ...figure.points.map((points) => pointTrace(points, look)),
  ];
  const axis = ({ title, log }) => ({ title: { text: plotText(title) }, type: log ? "log" : "linear", fixedrange: true, exponentformat: "none" });
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: legendFor(place),
    xaxis: axis(figure.x), yaxis: axis(figure.y),
  });
  return drawPlot(Plotly, place, { traces, layout });
}

async function drawAll() {
  const figures = JSON.parse(new TextDecoder().decode(await inflate(document.getElementById("data").textContent)));
  const Plotly = await loadPlotly();
  const drawn = new Set();
  const draw = async (all) => {
    // A closed section has no width to draw in: its plots wait until it is opened.
    for (const figure of figures) {
      const hidden = document.getElementById(figure.id)?.closest("details:not([open])");
      if (hidden || (!all && drawn.has(figure.id))) continue;
      drawn.add(figure.id);
      await drawFigure(Plotly, figure);
    }
  };
  await draw(true);
  onTheme(() => draw(true));
  for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", () => draw(false));
}
