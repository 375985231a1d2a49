// Detection limits, hidden tokens and the performance profile.
const SOLVER_DASHES = ["solid", "dash", "dot"];
const SOLVER_SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x"];

// Colour, dash and symbol together tell up to 36 lines apart, also without colours.
function solverLook(look, at) {
  return { colour: look.colour(`run-${at % 6}`), dash: SOLVER_DASHES[Math.floor(at / 6) % 3], symbol: SOLVER_SYMBOLS[(at + Math.floor(at / 6)) % 6] };
}

// Lines of one margin stand side by side, so that their intervals can be told apart.
function detectionFigure(data, head, kind, look) {
  const mine = data.detection.filter((one) => one.head === head && one[kind]?.length);
  // Of a method with several budgets the largest counts here; the table has them all.
  const best = new Map();
  for (const one of mine) {
    const before = best.get(one.backend);
    if (!before || (one.iterations ?? Infinity) > (before.iterations ?? Infinity)) best.set(one.backend, one);
  }
  const traces = [...best.values()].map((one, at) => {
    const { colour, dash, symbol } = solverLook(look, at);
    const cells = [...one[kind]].sort((a, b) => a[0] - b[0]);
    return {
      type: "scatter", mode: "lines+markers", name: plotText(one.backend), hoverinfo: "text",
      x: cells.map(([level]) => level * 10 ** (0.4 * ((at + 0.5) / best.size - 0.5))), y: cells.map(([, rate]) => 100 * rate),
      error_y: {
        type: "data", symmetric: false, thickness: 1, width: 3, color: colour,
        array: cells.map(([, rate, , high]) => 100 * (high - rate)), arrayminus: cells.map(([, rate, low]) => 100 * (rate - low)),
      },
      hovertext: cells.map(([level, rate, low, high]) =>
        `${plotText(one.backend)}<br>margin ${level}: ${(100 * rate).toFixed(0)} %<br>95 % interval ${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)} %`),
      line: { color: colour, width: 1.8, dash }, marker: { color: colour, symbol, size: 7 },
    };
  });
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "v", x: 1.01, y: 1 },
    xaxis: { type: "log", fixedrange: true, title: { text: "planted margin, logits (log scale), backends side by side" }, exponentformat: "e" },
    yaxis: { range: [-3, 103], fixedrange: true, title: { text: "% settled" } },
  });
  return { traces, layout: narrowLegend(layout) };
}

function hiddenFigure(data, look) {
  const y = data.hidden.map((one) => plotText(one.method));
  const marker = (name, values, symbol, colour, extra = {}) => ({
    type: "scatter", mode: "markers", name, x: values, y, marker: { symbol, size: 11, color: look.colour(colour) }, ...extra,
    hovertemplate: `%{y}: %{x:,.0f}<extra>${name}</extra>`,
  });
  const ends = (pick) => data.hidden.map((one) => (one.estimate === null || one[pick] === null ? 0 : Math.abs(one[pick] - one.estimate)));
  const traces = [
    marker("found", data.hidden.map((one) => one.found), "circle-open", "own"),
    marker("estimate with 95 % interval", data.hidden.map((one) => one.estimate), "diamond", "hard-fill", {
      error_x: { type: "data", symmetric: false, array: ends("high"), arrayminus: ends("low"), color: look.colour("hard-fill"), thickness: 2 },
    }),
    marker("truth", data.hidden.map((one) => one.truth), "line-ns-open", "never", { marker: { symbol: "line-ns-open", size: 20, color: look.colour("never"), line: { width: 3 } } }),
  ];
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 130, r: 14, t: 34, b: 46 },
    xaxis: { fixedrange: true, title: { text: "tokens" }, tickformat: ",d" }, yaxis: { type: "category", fixedrange: true, autorange: "reversed", ticks: "" },
  });
  return { traces, layout };
}

function profileFigure(data, look) {
  const { tau, share } = data.profile;
  const traces = Object.entries(share).map(([name, values], at) => {
    const { colour, dash } = solverLook(look, at);
    return {
      type: "scatter", mode: "lines", name: plotText(name), x: tau, y: values.map((one) => 100 * one),
      line: { color: colour, dash, width: 1.8, shape: "hv" }, hovertemplate: `${plotText(name)}<br>within %{x:.3g} × the fastest: %{y:.0f} %<extra></extra>`,
    };
  });
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "v", x: 1.01, y: 1 },
    xaxis: { type: "log", fixedrange: true, title: { text: "times the fastest (log scale)" }, exponentformat: "e" },
    yaxis: { range: [-3, 103], fixedrange: true, title: { text: "% of tokens solved" } },
  });
  return { traces, layout: narrowLegend(layout) };
}

// Beside the plot there is no room for a legend on a phone.
function narrowLegend(layout) {
  if (matchMedia("(max-width: 760px)").matches) layout.legend = { orientation: "h", x: 0, y: -0.3 };
  return layout;
}
