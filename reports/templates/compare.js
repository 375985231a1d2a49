// The page of several runs: margins overlaid, and one run's margins against another's.
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

function overlayFigure(drawn, look) {
  const { edges, negative } = drawn;
  const sign = negative ? "−" : "";
  const short = (size) => (size ? sign : "") + Number(size.toPrecision(3));
  const traces = drawn.series.map(({ label, counts, shares }, at) => ({
    type: "scatter", mode: "lines", name: plotText(label), hoverinfo: "text",
    line: { shape: negative ? "vh" : "hv", color: look.colour(`run-${at % 6}`), width: 2, dash: DASHES[at % 6] },
    x: edges, y: [...shares, shares[shares.length - 1]],
    hovertext: edges.map((edge, bin) => {
      const last = Math.min(bin, counts.length - 1);
      return `${plotText(label)}<br>${short(edges[last])} to ${short(edges[last + 1])} logits<br>` +
        `${grouped(counts[last])} tokens, ${shares[last].toPrecision(2)} %`;
    }),
  }));
  if (negative) for (const trace of traces) trace.line.shape = "hv";
  const ends = [edges[0], edges[edges.length - 1]].map((edge) => (drawn.log ? Math.log10(edge) : edge));
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 56, r: 14, t: 34, b: 46 },
    xaxis: {
      type: drawn.log ? "log" : "linear", range: negative ? ends.reverse() : ends, fixedrange: true, showgrid: false,
      tickvals: drawn.ticks.map(([value]) => value), ticktext: drawn.ticks.map(([, label]) => label),
      title: { text: drawn.axis + (drawn.log ? " (log scale)" : "") },
    },
    yaxis: { rangemode: "tozero", fixedrange: true, title: { text: "% of the tokens" } },
  });
  return { traces, layout };
}

function pairFigure(pair, look) {
  const every = Float64Array.from([...pair.x, ...pair.y]);
  const scale = helpfulLogScale(every) ?? linearScale();
  const [low, high] = extent(every).map(scale.to);
  const room = (high - low || 1) * 0.04;
  const range = [low - room, high + room];
  const where = (at) => [scale.to(pair.x[at]), scale.to(pair.y[at])];
  const groups = [
    { name: "same class", keep: (at) => !pair.changed[at], colour: "own-fill", symbol: "circle", size: 5, opacity: 0.6 },
    { name: "another class", keep: (at) => pair.changed[at], colour: "never-fill", symbol: "x", size: 8, opacity: 0.9 },
  ];
  const all = pair.x.map((_, at) => at);
  const traces = groups.map(({ name, keep, colour, symbol, size, opacity }) => {
    const mine = all.filter(keep);
    return {
      type: "scatter", mode: "markers", name, visible: mine.length > 0, hoverinfo: "text",
      x: mine.map((at) => where(at)[0]), y: mine.map((at) => where(at)[1]),
      hovertext: mine.map((at) =>
        `${plotToken(pair.name[at], pair.id[at])}<br>token ${pair.id[at]}<br>${plotText(pair.first)}: ${decimal(pair.x[at])}` +
        `<br>${plotText(pair.second)}: ${decimal(pair.y[at])}`
      ),
      marker: { color: look.colour(colour), symbol, size, opacity },
    };
  }).filter((trace) => trace.visible);
  const named = all.filter((at) => pair.named[at]);
  const annotations = named.map((at, turn) => ({
    x: where(at)[0], y: where(at)[1], text: plotToken(pair.name[at], pair.id[at], 16), showarrow: true, arrowhead: 0, arrowwidth: 1,
    arrowcolor: look.colour("soft"), ax: 26 + 14 * (turn % 3), ay: turn % 2 ? 24 + 10 * (turn % 5) : -24 - 10 * (turn % 5),
    font: { color: look.colour("text"), size: 12 },
  }));
  const ticks = scale.ticks(scale.back(range[0]), scale.back(range[1]));
  const axis = (label) => ({
    range: [...range], tickvals: ticks.map(scale.to), ticktext: ticks.map(tickText), zeroline: true,
    title: { text: `bound on the margin in ${plotText(label)}, logits`, standoff: 8 },
  });
  const line = { color: look.colour("soft"), width: 1, dash: "dot" };
  const layout = plotLayout(look, {
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", showlegend: true, annotations,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 62, r: 14, t: 34, b: 46 },
    shapes: [{ type: "line", layer: "below", x0: range[0], x1: range[1], y0: range[0], y1: range[1], line }],
    xaxis: axis(pair.first), yaxis: axis(pair.second),
  });
  return { traces, layout };
}

function namedWords(count) {
  if (!count) return "";
  return count === 1 ? "Named: the token whose margin has certainly moved. " : `Named: ${count} whose margins have certainly moved. `;
}

async function drawAll() {
  const data = JSON.parse(new TextDecoder().decode(await inflate(document.getElementById("data").textContent)));
  const Plotly = await loadPlotly();
  const config = { ...PLOT_CONFIG, doubleClick: "reset" };
  const draw = async () => {
    for (const drawn of data.overlays) {
      await drawPlot(Plotly, document.getElementById(`plot-${drawn.key}`), overlayFigure(drawn, looks()), config);
    }
    for (const pair of data.pairs) {
      const note = document.getElementById(`note-${pair.key}`);
      if (!note) continue;
      if (!pair.x.length) {
        note.textContent = "No token has a recorded margin in both runs.";
        continue;
      }
      await drawPlot(Plotly, document.getElementById(`plot-${pair.key}`), pairFigure(pair, looks()), config);
      note.textContent =
        `${grouped(pair.total)} tokens, ${grouped(pair.x.length)} dots drawn: lower bounds where a point was found, else upper ` +
        `bounds. How far a dot lies from the dotted line says nothing by itself. ${namedWords(pair.named.filter(Boolean).length)}` +
        "Drag a box to zoom, double-click to see all.";
    }
  };
  await draw();
  onTheme(draw);
}
