// Detection limits, hidden tokens and the performance profile.
const SOLVER_DASHES = ["solid", "dash", "dot"];
const SOLVER_SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x"];

// Colour, dash and symbol together tell up to 36 lines apart, also without colours.
function solverLook(look, at) {
  return { colour: look.colour(`run-${at % 6}`), dash: SOLVER_DASHES[Math.floor(at / 6) % 3], symbol: SOLVER_SYMBOLS[(at + Math.floor(at / 6)) % 6] };
}

// One small panel for each backend, all with the same axes; the shade is the 95 % interval.
function detectionFigure(data, head, kind, look, width) {
  const mine = data.detection.filter((one) => one.head === head && one[kind]?.length);
  // Of a method with several budgets the largest counts here; the table has them all.
  const best = new Map();
  for (const one of mine) {
    const before = best.get(one.backend);
    if (!before || (one.iterations ?? Infinity) > (before.iterations ?? Infinity)) best.set(one.backend, one);
  }
  const across = Math.max(1, Math.min(6, Math.floor(width / 180)));
  const down = Math.max(1, Math.ceil(best.size / across));
  const layout = plotLayout(look, { dragmode: false, showlegend: false, annotations: [], margin: { l: 56, r: 10, t: 26, b: 52 } });
  const base = { x: layout.xaxis, y: layout.yaxis };
  const levels = mine.flatMap((one) => one[kind].map(([level]) => Math.log10(level)));
  const [low, high] = levels.length ? extent(levels) : [-1, 0];
  const middle = Math.round((low + high) / 2);
  const traces = [];
  for (const [at, one] of [...best.values()].entries()) {
    const [column, row] = [at % across, Math.floor(at / across)];
    const name = at ? String(at + 1) : "";
    const cells = [...one[kind]].sort((left, right) => left[0] - right[0]);
    const x = cells.map(([level]) => level);
    const edge = (values, extra) => ({
      type: "scatter", mode: "lines", hoverinfo: "skip", x, y: values, xaxis: `x${name}`, yaxis: `y${name}`,
      line: { width: 0, color: look.colour("own-fill") }, ...extra,
    });
    traces.push(
      edge(cells.map(([, , from]) => 100 * from)),
      edge(cells.map(([, , , to]) => 100 * to), { fill: "tonexty", fillcolor: shade(look.colour("own-fill")) }),
      {
        type: "scatter", mode: "lines+markers", name: plotText(one.backend), hoverinfo: "text", x, xaxis: `x${name}`, yaxis: `y${name}`,
        y: cells.map(([, rate]) => 100 * rate), line: { color: look.colour("own"), width: 1.8 }, marker: { size: 5, color: look.colour("own") },
        hovertext: cells.map(([level, rate, from, to]) =>
          `${plotText(one.backend)}<br>margin ${level}: ${(100 * rate).toFixed(0)} %<br>95 % interval ${(100 * from).toFixed(0)} to ${(100 * to).toFixed(0)} %`),
      }
    );
    const place = { x: [column / across, (column + 0.92) / across], y: [1 - (row + 0.74) / down, 1 - row / down] };
    const last = at + across >= best.size;
    layout[`xaxis${name}`] = {
      ...base.x, type: "log", fixedrange: true, domain: place.x, anchor: `y${name}`, range: [low - 0.5, high + 0.5], showticklabels: last,
      tickvals: [low, middle, high].map((power) => 10 ** power), ticktext: [low, middle, high].map((power) => tickPower(power)),
    };
    layout[`yaxis${name}`] = {
      ...base.y, fixedrange: true, domain: place.y, anchor: `x${name}`, range: [-6, 106], tickvals: [0, 50, 100], showticklabels: column === 0,
    };
    layout.annotations.push({
      xref: "paper", yref: "paper", x: place.x[0], y: place.y[1], xanchor: "left", yanchor: "bottom", showarrow: false,
      text: plotText(one.backend), font: { size: 12, color: look.colour("text") },
    });
  }
  layout.annotations.push({
    xref: "paper", yref: "paper", x: 0.5, y: 0, yshift: -50, yanchor: "bottom", showarrow: false,
    text: "planted margin, logits (log scale); height: % of the tokens settled", font: { size: 13 },
  });
  return { traces, layout, height: 130 * down + 80 };
}

function shade(colour) {
  return /^#[0-9a-f]{6}$/i.test(colour) ? `${colour}44` : colour;
}

function tickPower(power) {
  return power >= -3 && power <= 3 ? String(10 ** power) : `1e${String(power).replace("-", "−")}`;
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
