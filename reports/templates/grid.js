// A table of many rows. Only the rows in sight are in the page; the rest is an empty stretch of the right height.
const ROW_HEIGHT = 34;
const MOST_PIXELS = 15e6; // browsers stop somewhere above this; longer tables scroll proportionally
const NARROW = 600; // pixels, below which the two columns that are needed most come first

// A column is
//   key, title, hint   its name, the words of its head, and more words for who points at them
//   kind               "num" for numbers
//   cell               (row) => node or text
//   samples            contents of its cells that are as wide as any: the column is as wide as they are
//   least              pixels, for a column that takes what room is left and cuts what is longer
//   full               (row) => all that a cell stands for, where it may be cut
//   need               the columns with the smallest are shown where there is no room for all
function makeGrid(columns, { open, sortBy }) {
  const grid = document.getElementById("grid");
  const body = document.getElementById("grid-body");
  const head = document.getElementById("grid-head");
  const byNeed = [...columns].sort((a, b) => a.need - b.need);
  const widths = new Map();
  let shown = [];
  let sorted = [null, false];
  let order = new Uint32Array(0);
  let current = 0; // place in the order, not a token's id
  let drawn = "";

  function cellOf(column, role) {
    const cell = element("div", `cell c-${column.key} ${column.kind ?? ""}`);
    cell.setAttribute("role", role);
    cell.setAttribute("aria-colindex", String(columns.indexOf(column) + 1));
    return cell;
  }

  function headCell(column) {
    const cell = cellOf(column, "columnheader");
    const button = element("button", "", column.title);
    button.type = "button";
    if (column.hint) button.title = column.hint;
    button.addEventListener("click", () => sortBy(column.key));
    cell.append(button);
    if (sorted[0] === column.key) cell.setAttribute("aria-sort", sorted[1] ? "descending" : "ascending");
    return cell;
  }

  // As wide as its widest content and its head with an arrow are on this screen, in its fonts.
  function measure() {
    const place = element("div", "measuring");
    place.setAttribute("aria-hidden", "true");
    const made = columns.map((column) => {
      const top = element("div", "head");
      const title = headCell(column);
      title.setAttribute("aria-sort", "ascending");
      top.append(title);
      const cells = (column.samples ?? []).map((sample) => {
        const cell = cellOf(column, "presentation");
        cell.append(sample);
        return cell;
      });
      place.append(top, ...cells);
      return [column, [title, ...cells]];
    });
    grid.append(place);
    for (const [column, cells] of made) {
      const widest = Math.max(...cells.map((cell) => cell.getBoundingClientRect().width));
      widths.set(column.key, Math.ceil(Math.max(widest, column.least ?? 0)));
    }
    place.remove();
  }

  // As many columns as there is room for.
  function arrange() {
    const room = grid.clientWidth;
    if (!room) return false;
    if (!widths.size) measure();
    let used = 0;
    const fitting = [];
    for (const column of byNeed) {
      used += widths.get(column.key);
      if (used > room && fitting.length > 1) break;
      fitting.push(column);
    }
    const front = room < NARROW ? byNeed.slice(0, 2) : [];
    const wanted = [...front, ...columns.filter((column) => fitting.includes(column) && !front.includes(column))];
    const tracks = wanted.map(({ key, least }) => (least ? `minmax(${widths.get(key)}px, 1fr)` : `${widths.get(key)}px`));
    grid.style.setProperty("--tracks", tracks.join(" "));
    if (wanted.length === shown.length && wanted.every((column, at) => column === shown[at])) return false;
    shown = wanted;
    head.replaceChildren(...shown.map(headCell));
    return true;
  }

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
    for (const column of shown) {
      const cell = cellOf(column, "gridcell");
      cell.append(column.cell(i));
      row.append(cell);
    }
    return row;
  }

  // What is cut off can be read by pointing at it.
  function nameCut(block) {
    for (const [at, { full }] of shown.entries()) {
      if (!full) continue;
      for (const row of block.children) {
        const cell = row.children[at];
        const text = full(order[Number(row.dataset.place)]);
        if (cell.scrollWidth > cell.clientWidth || cell.textContent !== text) cell.title = text;
      }
    }
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
    nameCut(block);
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

  grid.setAttribute("aria-colcount", String(columns.length));
  grid.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
  new ResizeObserver(() => {
    arrange();
    draw(true);
  }).observe(grid);
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
      const row = order[current];
      order = rows;
      const again = row === undefined ? -1 : order.indexOf(row);
      current = 0;
      arrange();
      grid.scrollTop = 0;
      body.style.height = `${space()}px`;
      grid.setAttribute("aria-rowcount", String(order.length + 1));
      if (again > 0 && document.activeElement === grid) moveTo(again);
      else draw(true);
    },
    mark(key, descending) {
      sorted = [key, descending];
      for (const [at, cell] of [...head.children].entries()) {
        if (shown[at].key === key) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      }
    },
    select(row) {
      const place = order.indexOf(row);
      if (place >= 0) moveTo(place);
    },
    neighbour(row, step) {
      const place = order.indexOf(row);
      return place < 0 ? undefined : order[place + step];
    },
    focus: () => grid.focus({ preventScroll: true }),
    get order() {
      return order;
    },
  };
}
