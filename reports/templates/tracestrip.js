// A token's margins over the steps as cells side by side, by the rules of `strip` in reports/trace_figures.py.
const [STRIP_CELL, STRIP_HEAT, STRIP_LANE, STRIP_WIDEST] = [14, 14, 5, 240];
const LANES = { unspeakable: "never", tied: "tie", undecided: "open", "not asked for": "open" };
const SVG = "http://www.w3.org/2000/svg";

function shadeOf(margin, { above, below }) {
  if (margin === null) return "heat-none";
  const ends = margin >= 0 ? above : below;
  const place = ends.findIndex((end) => Math.abs(margin) <= end);
  return `heat-${margin >= 0 ? "up" : "down"}-${place < 0 ? ends.length : place}`;
}

function historyOf(cells) {
  const said = [];
  const word = ({ name }) => (name === "own-direction" || name === "hard-to-speak" ? "speakable" : name);
  let start = 0;
  for (let at = 1; at <= cells.length; at++) {
    if (at < cells.length && word(cells[at]) === word(cells[start])) continue;
    const one = at - 1 === start;
    const ends = one ? grouped(cells[start].step) : `${grouped(cells[start].step)} to ${grouped(cells[at - 1].step)}`;
    said.push(`${word(cells[start])} ${one ? "at" : "from"} ${ends}`);
    start = at;
  }
  return said.join(", ");
}

function stripNode(cells, header) {
  const width = Math.min(STRIP_CELL, Math.max(2, Math.round((100 * STRIP_WIDEST) / Math.max(1, cells.length)) / 100));
  const height = STRIP_HEAT + STRIP_LANE + 1;
  const paths = new Map();
  const add = (style, path) => paths.set(style, (paths.get(style) ?? "") + path);
  for (const [at, { name, margin }] of cells.entries()) {
    const x = Math.round(100 * at * width) / 100;
    add(shadeOf(margin, header), `M${x} 0h${width}v${STRIP_HEAT}h-${width}z`);
    if (LANES[name]) add(`lane-${LANES[name]}`, `M${x} ${STRIP_HEAT + 1}h${width}v${STRIP_LANE}h-${width}z`);
  }
  const node = document.createElementNS(SVG, "svg");
  const set = (one, values) => Object.entries(values).forEach(([key, value]) => one.setAttribute(key, value));
  const [wide, words] = [width * cells.length, historyOf(cells)];
  set(node, { class: "strip", viewBox: `0 0 ${wide} ${height}`, width: wide, height, role: "img", "aria-label": words });
  const title = document.createElementNS(SVG, "title");
  title.textContent = words;
  node.append(title);
  for (const [style, path] of paths) {
    const made = document.createElementNS(SVG, "path");
    set(made, { class: style, d: path });
    node.append(made);
  }
  return node;
}
