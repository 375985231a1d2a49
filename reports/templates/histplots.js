// Histograms whose bins were counted when the page was made. A click on a bar shows its tokens in the table.
const HISTOGRAM_COLOURS = { unspeakable: "never-fill", hard: "hard-fill", speakable: "own-fill" };
const HISTOGRAM_FILTERS = { unspeakable: "verdict-unspeakable", hard: "category-hard", speakable: "category-own" };

// Labels that would touch: every second one, so that the largest size keeps its own.
function spaced(ticks, width) {
  const every = ticks.length * 48 > width - 80 ? 2 : 1;
  return ticks.map(([, label], at) => ((ticks.length - 1 - at) % every ? "" : label));
}

function histogramFigure(hist, look, width) {
  const { edges, counts, negative } = hist;
  const sign = negative ? "−" : "";
  const short = (size) => (size ? sign : "") + Number(size.toPrecision(3));
  const words = counts.map((count, at) => {
    const [from, to] = negative ? [edges[at + 1], edges[at]] : [edges[at], edges[at + 1]];
    return `${short(from)} to ${short(to)} logits<br>${grouped(count)} ${count === 1 ? "token" : "tokens"}`;
  });
  const traces = [
    {
      type: "bar", name: "this model", x: counts.map((_, at) => (edges[at] + edges[at + 1]) / 2), y: counts,
      width: counts.map((_, at) => edges[at + 1] - edges[at]), hovertext: words, hoverinfo: "text",
      marker: { color: look.colour(HISTOGRAM_COLOURS[hist.key]), line: { color: look.colour("card"), width: 1 } },
    },
  ];
  if (hist.control.length) {
    traces.push({
      type: "scatter", mode: "lines", name: "random control", hoverinfo: "skip",
      line: { shape: "hv", color: look.colour("text"), width: 1.5, dash: "dot" },
      x: edges, y: [...hist.control, hist.control[hist.control.length - 1]],
    });
  }
  const [low, high] = [edges[0], edges[edges.length - 1]];
  const range = hist.log ? [Math.log10(low), Math.log10(high)] : [low, high];
  const layout = plotLayout(look, {
    dragmode: false, bargap: 0, showlegend: hist.control.length > 0, legend: { orientation: "h", y: 1.12, x: 0 },
    xaxis: {
      type: hist.log ? "log" : "linear", range: negative ? range.reverse() : range, fixedrange: true, showgrid: false,
      tickvals: hist.ticks.map(([value]) => value), ticktext: spaced(hist.ticks, width), tickangle: 0,
      title: { text: hist.axis + (hist.log ? " (log scale)" : "") },
    },
    yaxis: { rangemode: "tozero", fixedrange: true, title: { text: "tokens" }, tickformat: ",d" },
  });
  return { traces, layout };
}

function startHistogram(Plotly, hist, { show }) {
  const place = document.getElementById(`plot-${hist.key}`);
  if (!place || !hist.counts.length) return Promise.resolve();
  const draw = () => drawPlot(Plotly, place, histogramFigure(hist, looks(), place.clientWidth));
  onTheme(draw);
  place.hidden = false;
  return draw().then(() => {
    place.on("plotly_click", ({ points }) => {
      const at = points[0].pointIndex;
      const [from, to] = [at === 0 ? 0 : hist.edges[at], hist.edges[at + 1]];
      show(HISTOGRAM_FILTERS[hist.key], { margin: hist.negative ? [-to, -from] : [from, to], norm: [null, null] });
    });
  });
}
