// Margin against row norm. The brush marks a range of margins and norms, and the table keeps what lies there.
const SCATTER_GROUPS = [
  { name: "own-direction", colour: "own-fill", shape: "circle", size: 4.5, alpha: 0.7 },
  { name: "hard-to-speak", colour: "hard-fill", shape: "diamond", size: 6 },
  { name: "tied", colour: "tied", shape: "square", size: 7 },
  { name: "undecided", colour: "open", shape: "triangle", size: 8 },
  { name: "unspeakable", colour: "never-fill", shape: "cross", size: 8 },
];

// The place of a token's group among the above; -1 where it has none.
function scatterGroup(tokens, i) {
  const category = tokens.category(i);
  if (category >= 0) return category;
  return { tied: 2, undecided: 3, unspeakable: 4 }[tokens.verdict(i)] ?? -1;
}

function countedGroups(groups, codes) {
  const counts = new Uint32Array(groups.length);
  for (const code of codes) counts[code] += 1;
  return groups.map((group, at) => ({ ...group, count: counts[at] }));
}

// What is said of a token beside its dot; `more` are lines of the plot's own.
function tokenTip(tokens, i, more = []) {
  const lines = [
    `token ${i}, ${tokens.verdict(i) ?? "not asked"}`,
    `margin ${marginText(tokens.single(i))}, norm ${decimal(tokens.norm(i))}`,
    ...more,
  ];
  return [tokenNode(tokens.text(i) ?? tokens.token(i), 40, `#${i}`), ...lines.map((line) => element("div", "", line))];
}

function startScatter(tokens, { brushed, open }) {
  const byId = (id) => document.getElementById(id);
  const norm = tokens.columns.row_norm;
  const groups = new Uint8Array(tokens.rows);
  const drawable = [];
  for (let i = 0; i < tokens.rows; i++) {
    const group = Number.isFinite(tokens.margin[i]) && Number.isFinite(norm[i]) ? scatterGroup(tokens, i) : -1;
    if (group < 0) continue;
    groups[i] = group;
    drawable.push(i);
  }
  byId("scatter").hidden = false;
  if (!drawable.length) {
    for (const part of ["plot-scatter", "scatter-tools", "scatter-help"]) byId(part).hidden = true;
    byId("scatter-note").textContent = "No token has both a recorded margin and a norm.";
    return null;
  }
  const margins = Float64Array.from(drawable, (i) => tokens.margin[i]);
  const norms = Float64Array.from(drawable, (i) => norm[i]);
  const codes = Uint8Array.from(drawable, (i) => groups[i]);
  const log = helpfulLogScale(margins);
  let scale = log ?? linearScale();
  let range = { margin: [null, null], norm: [null, null] };
  const rounded = (pair) => pair.map((end) => Number(end.toPrecision(4)));
  const dots = makeDots(byId("plot-scatter"), {
    axes: axes(),
    floor: { x: 0 },
    mode: "box",
    tools: {
      box: byId("scatter-brush"), zoom: byId("scatter-zoom"), move: byId("scatter-move"), closer: byId("scatter-closer"),
      farther: byId("scatter-farther"), whole: byId("scatter-reset"),
    },
    fill: (tip, dot) => tip.append(...tokenTip(tokens, drawable[dot])),
    open: (dot) => open(drawable[dot]),
    picked: ({ x, y }) => brushed({ margin: rounded(y.map(scale.back)), norm: rounded(x) }),
  });

  function axes() {
    return {
      x: { title: "norm of the token's row" },
      y: { title: `margin, logits${scale === log ? " (signed log scale)" : ""}`, scale },
    };
  }

  function rescale() {
    dots.setAxes(axes());
    dots.setPlaces(norms, margins.map(scale.to));
    mark(range, true);
  }

  // Called whenever the ranges change, by the brush or by hand.
  function mark(next, again = false) {
    if (!again && JSON.stringify(next) === JSON.stringify(range)) return;
    range = next;
    const open = [...range.margin, ...range.norm].every((end) => end === null);
    const inside = (value, [from, to]) => value >= (from ?? -Infinity) && value <= (to ?? Infinity);
    dots.outline(open ? null : { x: range.norm, y: range.margin.map((end) => (end === null ? null : scale.to(end))) });
    dots.fade(open ? null : Uint8Array.from(margins, (margin, at) => Number(!(inside(margin, range.margin) && inside(norms[at], range.norm)))));
  }

  const off = new Set();
  const counted = countedGroups(SCATTER_GROUPS, codes);
  dots.setGroups(counted, codes, off);
  groupLegend(byId("scatter-legend"), counted, off, () => dots.ask());
  const scaleButton = byId("scatter-log");
  scaleButton.hidden = log === null;
  scaleButton.addEventListener("click", () => {
    scale = scale === log ? linearScale() : log;
    scaleButton.setAttribute("aria-pressed", String(scale === log));
    rescale();
  });
  const missing = tokens.rows - drawable.length;
  byId("scatter-note").textContent =
    `${grouped(drawable.length)} ${drawable.length === 1 ? "token" : "tokens"}, a dot each. ` +
    (missing ? `${grouped(missing)} ${missing === 1 ? "token has" : "tokens have"} no recorded margin.` : "");
  rescale();
  const ring = (token) => dots.ring(drawable.indexOf(token));
  return { mark, ring };
}
