// The curve of min-p: tokens proved out of reach by threshold, what is open above them as a band, and the control.
function samplerFigure({ p, out, open, listed, control, ticks }, look, width) {
  const isOpen = open.some((count) => count > 0);
  const name = (one) => (one === 1 ? "greedy" : `min-p ${Number(one.toPrecision(3))}`);
  const tokens = (count) => `${grouped(count)} ${count === 1 ? "token" : "tokens"}`;
  const words = p.map((one, at) =>
    `${name(one)}<br>${tokens(out[at])} out of reach` + (isOpen ? `<br>${tokens(open[at])} open` : ""));
  const colour = look.colour("never-fill");
  const traces = [];
  if (isOpen) {
    const top = out.map((count, at) => count + open[at]);
    traces.push({
      type: "scatter", mode: "lines", name: "open", x: [...p, ...[...p].reverse()], y: [...top, ...[...out].reverse()],
      fill: "toself", fillcolor: `${colour}50`, line: { width: 0 }, hoverinfo: "skip",
    });
  }
  traces.push({
    type: "scatter", mode: "lines", name: "this model", x: p, y: out, hovertext: words, hoverinfo: "text",
    line: { color: colour, width: 2 },
  }, {
    type: "scatter", mode: "markers", x: listed.map((at) => p[at]), y: listed.map((at) => out[at]), showlegend: false,
    hovertext: listed.map((at) => words[at]), hoverinfo: "text", marker: { color: colour, size: 7 },
  });
  if (control.length) {
    traces.push({
      type: "scatter", mode: "lines", name: "random control", x: p, y: control, hoverinfo: "skip",
      line: { color: look.colour("text"), width: 1.5, dash: "dot" },
    });
  }
  const end = Math.log10(p[p.length - 1]);
  // Labels that would touch are left out, but for the ends.
  const place = (value) => (Math.log10(value) / end) * (width - 100);
  const labels = [];
  for (const [at, [value, label]] of ticks.entries()) {
    const next = ticks[ticks.length - 1][0];
    const room = !labels.length || place(value) - place(labels[labels.length - 1][0]) >= 46;
    if (at === ticks.length - 1 || (room && (at === 0 || place(next) - place(value) >= 46))) labels.push([value, label]);
  }
  const highest = Math.max(...out.map((count, at) => count + open[at]), ...control);
  const layout = plotLayout(look, {
    dragmode: false, showlegend: isOpen || control.length > 0, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: {
      type: "log", range: [-end * 0.02, end * 1.03], fixedrange: true, showgrid: false, tickangle: 0,
      tickvals: labels.map(([value]) => value), ticktext: labels.map(([, label]) => label), title: { text: "min-p (log scale)" },
    },
    yaxis: { range: [-highest * 0.02, highest * 1.06], fixedrange: true, title: { text: "tokens" }, tickformat: ",d", zeroline: false, ...(highest < 6 ? { dtick: 1 } : {}) },
  });
  return { traces, layout };
}

function startSamplers(Plotly, figure) {
  if (figure === null) return Promise.resolve();
  const place = document.getElementById("plot-samplers");
  const draw = () => drawPlot(Plotly, place, samplerFigure(figure, looks(), place.clientWidth));
  onTheme(draw);
  return draw();
}
