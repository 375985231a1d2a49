// Margin against row norm. Dots that would cover each other are drawn once; zooming in brings out the rest. The brush
// marks a range of margins and norms, and so takes in every token there, drawn or not.
const SCATTER_GROUPS = [
  { name: "own-direction", colour: "own-fill", symbol: "circle", size: 4 },
  { name: "hard-to-speak", colour: "hard-fill", symbol: "diamond", size: 5 },
  { name: "tied", colour: "tied", symbol: "square", size: 6 },
  { name: "undecided", colour: "open", symbol: "triangle-up", size: 7 },
  { name: "unspeakable", colour: "never-fill", symbol: "x", size: 7 },
];
const MOST_DOTS = 4000;

function scatterGroup(tokens, i) {
  const category = tokens.category(i);
  if (category >= 0) return category;
  return { tied: 2, undecided: 3, unspeakable: 4 }[tokens.verdict(i)] ?? -1;
}

// One token for each small cell of the view and group: the first one in it. Cells grow until few enough are left.
function thinned(tokens, groups, scale, view, width, height) {
  const { margin, columns: { row_norm: norm } } = tokens;
  const [left, right] = view.x;
  const [low, high] = view.y;
  for (let cell = 2; ; cell *= 1.5) {
    const across = Math.ceil(width / cell);
    const down = Math.ceil(height / cell);
    const taken = new Uint8Array(across * down * SCATTER_GROUPS.length);
    const kept = SCATTER_GROUPS.map(() => []);
    let count = 0;
    for (let i = 0; i < tokens.rows && count <= MOST_DOTS; i++) {
      if (groups[i] < 0) continue;
      const x = (norm[i] - left) / (right - left);
      const y = (scale.to(margin[i]) - low) / (high - low);
      if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) continue;
      const at = (groups[i] * down + Math.min(down - 1, Math.floor(y * down))) * across + Math.min(across - 1, Math.floor(x * across));
      if (taken[at]) continue;
      taken[at] = 1;
      kept[groups[i]].push(i);
      count += 1;
    }
    if (count <= MOST_DOTS) return kept;
  }
}

function startScatter(Plotly, tokens, { brushed, open }) {
  const byId = (id) => document.getElementById(id);
  const place = byId("plot-scatter");
  const norm = tokens.columns.row_norm;
  const groups = Int8Array.from({ length: tokens.rows }, (_, i) =>
    Number.isFinite(tokens.margin[i]) && Number.isFinite(norm[i]) ? scatterGroup(tokens, i) : -1
  );
  const drawable = [];
  for (let i = 0; i < groups.length; i++) if (groups[i] >= 0) drawable.push(i);
  if (!drawable.length) {
    byId("scatter-note").textContent = "No token has both a recorded margin and a norm.";
    return Promise.resolve(null);
  }
  const log = helpfulLogScale(Float64Array.from(drawable, (i) => tokens.margin[i]));
  let scale = log ?? linearScale();
  let view = whole();
  let range = { margin: [null, null], norm: [null, null] };
  let busy = false;
  // A finger that drags over a plot means to scroll the page, until its owner says otherwise.
  let mode = matchMedia("(pointer: coarse)").matches ? "none" : "select";

  function whole() {
    const padded = ([from, to]) => {
      const room = (to - from || Math.abs(to) || 1) * 0.03;
      return [from - room, to + room];
    };
    return {
      x: padded(extent(drawable.map((i) => norm[i]))),
      y: padded(extent(drawable.map((i) => scale.to(tokens.margin[i])))),
    };
  }

  const words = (i) =>
    `${plotToken(tokens.text(i) ?? tokens.token(i), i)}<br>token ${i}, ${tokens.verdict(i)}<br>` +
    `margin ${marginText(tokens.single(i))}, norm ${decimal(norm[i])}`;

  function selections(look) {
    const { margin, norm: norms } = range;
    if ([...margin, ...norms].every((end) => end === null)) return [];
    const end = (value, other) => (value === null ? other : value);
    const line = { color: look.colour("text"), width: 1.5, dash: "dot" };
    return [{
      type: "rect", xref: "x", yref: "y", line, x0: end(norms[0], view.x[0]), x1: end(norms[1], view.x[1]),
      y0: margin[0] === null ? view.y[0] : scale.to(margin[0]), y1: margin[1] === null ? view.y[1] : scale.to(margin[1]),
    }];
  }

  function draw() {
    const look = looks();
    const kept = thinned(tokens, groups, scale, view, place.clientWidth - 70, place.clientHeight - 90);
    const counts = SCATTER_GROUPS.map(() => 0);
    for (const i of drawable) counts[groups[i]] += 1;
    const traces = SCATTER_GROUPS.map((group, at) => ({
      type: "scatter", mode: "markers", name: `${group.name} (${grouped(counts[at])})`, visible: counts[at] > 0, uid: group.name,
      x: kept[at].map((i) => norm[i]), y: kept[at].map((i) => scale.to(tokens.margin[i])), customdata: kept[at],
      hovertext: kept[at].map(words), hoverinfo: "text",
      marker: { color: look.colour(group.colour), symbol: group.symbol, size: group.size, opacity: at === 0 ? 0.6 : 0.85 },
      unselected: { marker: { opacity: 0.18 } },
    })).filter((trace) => trace.visible);
    const ticks = scale.ticks(scale.back(view.y[0]), scale.back(view.y[1]));
    const layout = plotLayout(look, {
      dragmode: mode === "none" ? false : mode, uirevision: "kept", selections: selections(look),
      newselection: { line: { color: look.colour("text"), width: 1.5, dash: "dot" } }, activeselection: { fillcolor: "rgba(0,0,0,0)" },
      showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", itemsizing: "constant" },
      margin: { l: 62, r: 14, t: 40, b: 46 },
      xaxis: { range: [...view.x], title: { text: "norm of the token's row" }, zeroline: false, uirevision: String(view.x) },
      yaxis: {
        range: [...view.y], tickvals: ticks.map(scale.to), ticktext: ticks.map(tickText), uirevision: String(view.y),
        title: { text: "margin, logits" + (scale === log ? " (signed log scale)" : ""), standoff: 8 },
      },
    });
    const drawn = kept.reduce((sum, one) => sum + one.length, 0);
    byId("scatter-note").textContent =
      `${grouped(drawable.length)} tokens, ${grouped(drawn)} dots drawn here. ` +
      (drawn < drawable.length ? "A dot that would cover another is left out until you zoom in; the brush takes in all. " : "") +
      (drawable.length < tokens.rows ? `${grouped(tokens.rows - drawable.length)} tokens have no recorded margin.` : "");
    busy = true;
    return drawPlot(Plotly, place, { traces, layout }).then(() => {
      busy = false;
    });
  }

  const modes = { select: "scatter-brush", zoom: "scatter-zoom" };
  function setMode(next) {
    mode = next;
    for (const [name, id] of Object.entries(modes)) byId(id).setAttribute("aria-pressed", String(name === mode));
    return draw();
  }
  for (const [name, id] of Object.entries(modes)) {
    byId(id).addEventListener("click", () => setMode(mode === name ? "none" : name));
  }
  byId("scatter-reset").addEventListener("click", () => {
    view = whole();
    draw();
  });
  const scaleButton = byId("scatter-log");
  scaleButton.hidden = log === null;
  scaleButton.setAttribute("aria-pressed", "true");
  scaleButton.addEventListener("click", () => {
    scale = scale === log ? linearScale() : log;
    scaleButton.setAttribute("aria-pressed", String(scale === log));
    view = whole();
    draw();
  });
  onTheme(draw);
  byId("scatter").hidden = false;
  return setMode(mode).then(() => {
    place.on("plotly_selected", (event) => {
      if (busy || !event?.range) return;
      const sorted = (pair) => [...pair].sort((a, b) => a - b).map((end) => Number(end.toPrecision(4)));
      brushed({ margin: sorted(event.range.y.map(scale.back)), norm: sorted(event.range.x) });
    });
    place.on("plotly_relayout", (event) => {
      if (busy) return;
      const read = (axis, old) => {
        const pair = event[`${axis}.range`] ?? [event[`${axis}.range[0]`], event[`${axis}.range[1]`]];
        return pair[0] === undefined ? old : pair.map(Number);
      };
      const next = { x: read("xaxis", view.x), y: read("yaxis", view.y) };
      if (String([next.x, next.y]) === String([view.x, view.y])) return;
      view = next;
      draw();
    });
    place.on("plotly_click", ({ points }) => open(points[0].customdata));
    return {
      // Called whenever the ranges change, by the brush or by hand.
      mark(next) {
        if (JSON.stringify(next) === JSON.stringify(range)) return;
        range = next;
        draw();
      },
    };
  });
}
