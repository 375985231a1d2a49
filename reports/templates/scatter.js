// Margin against row norm. The brush marks a range of margins and norms, and the table keeps what lies there.
const SCATTER_GROUPS = [
  { name: "own-direction", colour: "own-fill", shape: "circle", size: 4.5, alpha: 0.7 },
  { name: "hard-to-speak", colour: "hard-fill", shape: "diamond", size: 6 },
  { name: "tied", colour: "tied", shape: "square", size: 7 },
  { name: "undecided", colour: "open", shape: "triangle", size: 8 },
  { name: "unspeakable", colour: "never-fill", shape: "cross", size: 8 },
];

// The place of each token's group among the above; 255 where it has none.
function scatterGroups({ header, columns: { verdict, own_direction: own } }) {
  const of = new Uint8Array(256).fill(255);
  for (const [code, name] of header.verdicts.entries()) of[code] = { tied: 2, undecided: 3, unspeakable: 4 }[name] ?? 255;
  const speakable = header.verdicts.indexOf("speakable");
  const groups = new Uint8Array(verdict.length);
  for (let i = 0; i < groups.length; i++) {
    groups[i] = verdict[i] === speakable && own[i] !== 255 ? 1 - own[i] : of[verdict[i]];
  }
  return groups;
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

async function startScatter(tokens, { brushed, open }) {
  const byId = (id) => document.getElementById(id);
  const norm = tokens.columns.row_norm;
  const groups = scatterGroups(tokens);
  const all = new Uint32Array(tokens.rows);
  let count = 0;
  for (let i = 0; i < tokens.rows; i++) {
    if (groups[i] === 255 || !Number.isFinite(tokens.margin[i]) || !Number.isFinite(norm[i])) continue;
    all[count] = i;
    count += 1;
  }
  const drawable = all.subarray(0, count);
  byId("scatter").hidden = false;
  if (!drawable.length) {
    for (const part of ["plot-scatter", "scatter-tools", "scatter-help"]) byId(part).hidden = true;
    byId("scatter-note").textContent = "No token has both a recorded margin and a norm.";
    return null;
  }
  await nextTask();
  const taken = (column, kind) => {
    const found = new kind(count);
    for (let at = 0; at < count; at++) found[at] = column[drawable[at]];
    return found;
  };
  const [margins, norms, codes] = [taken(tokens.margin, Float64Array), taken(norm, Float64Array), taken(groups, Uint8Array)];
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
  const ring = (token) => dots.ring(token === null ? -1 : drawable.indexOf(token));
  return { mark, ring };
}
