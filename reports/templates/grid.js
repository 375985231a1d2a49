// The table. Only the rows in sight are in the page; the rest is an empty stretch of the right height.
const ROW_HEIGHT = 34;
const MOST_PIXELS = 15e6; // browsers stop somewhere above this; longer tables scroll proportionally

// Each column says how it is shown, and by what it is sorted: `numbers`, `strings` or (few values) `buckets`.
const TABLE_COLUMNS = [
  { key: "id", title: "Id", kind: "num", cell: (t, i) => String(i) },
  { key: "token", title: "Piece", cell: (t, i) => tokenNode(t.token(i), 40, `#${i}`), strings: (t) => t.token },
  { key: "text", title: "Text", cell: textCell, strings: (t) => t.text },
  { key: "verdict", title: "Verdict", cell: verdictCell, buckets: (t) => coded(t.columns.verdict, t.header.verdicts) },
  {
    key: "evidence",
    title: "Evidence",
    cell: (t, i) => t.evidence(i) ?? "–",
    buckets: (t) => coded(t.columns.evidence, t.header.evidences),
  },
  {
    key: "category",
    title: "Way",
    cell: (t, i) => CATEGORY_NAMES[t.category(i)] ?? "–",
    buckets: (t) => ({ place: (i) => (t.category(i) < 0 ? null : t.category(i)), count: 2 }),
  },
  {
    key: "nearly",
    title: "Nearly never",
    cell: (t, i) => (t.nearlyNever(i) === null ? "–" : element("span", "badge", t.nearlyNever(i))),
    buckets: (t) => coded(t.columns.nearly_never, t.header.formats),
  },
  {
    key: "kinds",
    title: "Categories",
    cell: kindsCell,
    buckets: (t) => ({ place: (i) => (t.kinds[i] ? Math.log2(t.kinds[i] & -t.kinds[i]) : null), count: t.header.categories.length }),
  },
  { key: "margin", title: "Margin", kind: "num", cell: marginCell, numbers: (t) => (i) => known(t.margin[i]) },
  { key: "stage", title: "Stage", cell: (t, i) => t.stage(i) ?? "–", buckets: (t) => byName(t.columns.stage, t.header.stages) },
  { key: "runner", title: "Runner-up", cell: runnerCell, numbers: (t) => t.runnerUp },
  { key: "norm", title: "Row norm", kind: "num", cell: (t, i) => decimal(t.norm(i)), numbers: (t) => t.norm },
];

function coded(column, names) {
  return { place: (i) => (column[i] === 255 ? null : column[i]), count: names.length };
}

// In the order of the alphabet, not of first appearance.
function byName(column, names) {
  const order = [...names.keys()].sort((a, b) => (names[a] < names[b] ? -1 : 1));
  const rank = new Uint32Array(names.length);
  for (const [at, code] of order.entries()) rank[code] = at;
  return { place: (i) => (column[i] < 0 ? null : rank[column[i]]), count: names.length };
}

function verdictCell(tokens, i) {
  return verdictNode(tokens.verdict(i));
}

function verdictNode(name) {
  const node = element("span", `verdict ${name ?? "none"}`);
  const sign = element("span", "sign", VERDICT_SIGNS[name] ?? "–");
  sign.setAttribute("aria-hidden", "true");
  node.append(sign, name ?? "not asked");
  return node;
}

function textCell(tokens, i) {
  return tokenNode(tokens.text(i), 40, tokens.token(i) === null ? `#${i}` : "not whole text");
}

// The first category, and how many more there are; all of them to be read by pointing.
function kindsCell(tokens, i) {
  const titles = tokens.findings(i).map((one) => one.title);
  if (!titles.length) return "–";
  const node = element("span", "");
  node.append(element("span", "tag", titles[0]), titles.length > 1 ? ` +${titles.length - 1}` : "");
  node.title = titles.join(", ");
  return node;
}

function marginCell(tokens, i) {
  const node = element("span", "", marginText(tokens.single(i)));
  node.title = bracketText(tokens.bracket(i));
  return node;
}

function runnerCell(tokens, i) {
  const runner = tokens.runnerUp(i);
  return runner === null || runner >= tokens.rows ? "–" : tokenNode(tokens.text(runner) ?? tokens.token(runner), 24, `#${runner}`);
}

function makeGrid(tokens, { open, sortBy }) {
  const grid = document.getElementById("grid");
  const body = document.getElementById("grid-body");
  const head = document.getElementById("grid-head");
  let order = new Uint32Array(0);
  let current = 0; // place in the order, not a token's id
  let drawn = "";

  for (const [at, column] of TABLE_COLUMNS.entries()) {
    const cell = element("div", `cell c-${column.key} ${column.kind ?? ""}`);
    cell.setAttribute("role", "columnheader");
    cell.setAttribute("aria-colindex", String(at + 1));
    const button = element("button", "", column.title);
    button.type = "button";
    button.addEventListener("click", () => sortBy(column.key));
    cell.append(button);
    head.append(cell);
  }
  grid.setAttribute("aria-colcount", String(TABLE_COLUMNS.length));

  const space = () => Math.min(order.length * ROW_HEIGHT, MOST_PIXELS);
  const inView = () => Math.max(1, Math.floor((grid.clientHeight - head.offsetHeight) / ROW_HEIGHT));
  // Tables too tall for a browser: a pixel of scrolling then stands for more than a pixel of rows.
  const stretch = () => {
    const reach = space() - inView() * ROW_HEIGHT;
    return reach > 0 ? Math.max(1, (order.length - inView()) * ROW_HEIGHT / reach) : 1;
  };

  function line(place) {
    const i = order[place];
    const row = element("div", place === current ? "line current" : "line");
    row.id = `row-${i}`;
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", String(place + 2));
    row.dataset.place = String(place);
    for (const [at, column] of TABLE_COLUMNS.entries()) {
      const cell = element("div", `cell c-${column.key} ${column.kind ?? ""}`);
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-colindex", String(at + 1));
      cell.append(column.cell(tokens, i));
      row.append(cell);
    }
    return row;
  }

  function draw(force) {
    const top = grid.scrollTop;
    const first = Math.max(0, Math.floor((top * stretch()) / ROW_HEIGHT) - 8);
    const last = Math.min(order.length, first + inView() + 20);
    const key = `${first} ${last} ${current}`;
    if (!force && key === drawn) return;
    drawn = key;
    const shift = stretch() > 1 ? top - top * stretch() : 0;
    const block = element("div", "block");
    block.setAttribute("role", "presentation");
    block.style.transform = `translateY(${first * ROW_HEIGHT + shift}px)`;
    for (let place = first; place < last; place++) block.append(line(place));
    body.replaceChildren(block);
    const active = order.length ? `row-${order[current]}` : "";
    if (active && document.getElementById(active)) grid.setAttribute("aria-activedescendant", active);
    else grid.removeAttribute("aria-activedescendant");
  }

  function reveal(place) {
    const scale = stretch();
    const seen = inView() * ROW_HEIGHT;
    const top = place * ROW_HEIGHT;
    if (top < grid.scrollTop * scale) grid.scrollTop = top / scale;
    else if (top + ROW_HEIGHT > grid.scrollTop * scale + seen) grid.scrollTop = (top + ROW_HEIGHT - seen) / scale;
  }

  function moveTo(place) {
    if (!order.length) return;
    current = Math.max(0, Math.min(order.length - 1, place));
    reveal(current);
    draw(true);
  }

  grid.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
  new ResizeObserver(() => draw(true)).observe(grid);
  grid.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target !== grid) return; // the buttons of the head keep their own keys
    const page = inView() - 1;
    const steps = { ArrowDown: current + 1, ArrowUp: current - 1, PageDown: current + page, PageUp: current - page };
    const places = { ...steps, Home: 0, End: order.length - 1 };
    if (event.key in places) moveTo(places[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && order.length) open(order[current]);
    else return;
    event.preventDefault();
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest(".line");
    if (!row) return;
    grid.focus({ preventScroll: true });
    moveTo(Number(row.dataset.place));
    open(order[current]);
  });

  return {
    show(rows) {
      const token = order[current];
      order = rows;
      const again = token === undefined ? -1 : order.indexOf(token);
      current = 0;
      grid.scrollTop = 0;
      body.style.height = `${space()}px`;
      grid.setAttribute("aria-rowcount", String(order.length + 1));
      if (again > 0 && document.activeElement === grid) moveTo(again);
      else draw(true);
    },
    mark(key, descending) {
      for (const [at, cell] of [...head.children].entries()) {
        if (TABLE_COLUMNS[at].key === key) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      }
    },
    select(token) {
      const place = order.indexOf(token);
      if (place >= 0) moveTo(place);
    },
    neighbour(token, step) {
      const place = order.indexOf(token);
      return place < 0 ? undefined : order[place + step];
    },
    focus: () => grid.focus({ preventScroll: true }),
    get order() {
      return order;
    },
  };
}
