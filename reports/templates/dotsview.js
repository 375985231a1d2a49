// What of the plane is in sight, and the axes around it. A view is two ranges, { x: [from, to], y: [from, to] }.
const NARROWEST = 1e-5; // of the whole, so that single precision still tells neighbours apart

const middle = ([from, to]) => (from + to) / 2;
const span = ([from, to]) => to - from;
const around = (centre, width) => [centre - width / 2, centre + width / 2];

// Far ends of numbers that exist, or null.
function extent(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

function padded([from, to], share) {
  const room = (to - from || Math.abs(to) || 1) * share;
  return [from - room, to + room];
}

// All between far ends. `equal` gives both directions one scale in a box of `width` × `height`.
function wholeView(ends, { width, height, equal, floor }) {
  const view = { x: padded(ends.x, 0.03), y: padded(ends.y, 0.03) };
  // Sizes have no room below zero.
  if (floor?.x !== undefined) view.x[0] = Math.max(view.x[0], floor.x);
  return equal ? evened(view, width, height, Math.max) : view;
}

// The same middle with one scale for both directions, the larger (or smaller) of the two that there are.
function evened(view, width, height, choose) {
  const unit = choose(span(view.x) / width, span(view.y) / height);
  return { x: around(middle(view.x), unit * width), y: around(middle(view.y), unit * height) };
}

// Zoomed by a factor (above 1: closer) so that the place at the given shares of the box stays where it is.
function zoomedView(view, factor, [across, up], whole) {
  const most = span(view.x) / span(whole.x) / NARROWEST;
  const least = Math.min(1, (span(view.x) / span(whole.x)) * 0.5);
  const by = Math.max(least, Math.min(most, factor));
  const one = ([from, to], share) => {
    const still = from + (to - from) * share;
    return [still - (still - from) / by, still + (to - still) / by];
  };
  return kept({ x: one(view.x, across), y: one(view.y, up) }, whole);
}

// Moved by shares of what is in sight, to the right and up.
function movedView(view, [across, up], whole) {
  const one = ([from, to], share) => [from + (to - from) * share, to + (to - from) * share];
  return kept({ x: one(view.x, across), y: one(view.y, up) }, whole);
}

// The middle of a view stays over the whole: nobody loses sight of the dots.
function kept(view, whole) {
  const one = (range, all) => around(Math.max(all[0], Math.min(all[1], middle(range))), span(range));
  return { x: one(view.x, whole.x), y: one(view.y, whole.y) };
}

// A page names no address of the web, not even that of a kind of elements.
const SVG = new DOMParser().parseFromString("<svg></svg>", "text/html").body.firstChild.namespaceURI;

function drawn(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Ticks, their labels and titles as SVG. `room` is what the axes take on the four sides, in pixels.
function drawAxes(view, axes, { width, height }, room) {
  const parts = [];
  const inner = { width: width - room.left - room.right, height: height - room.top - room.bottom };
  const right = room.left + inner.width;
  const bottom = room.top + inner.height;
  const across = (value) => room.left + ((value - view.x[0]) / span(view.x)) * inner.width;
  const down = (value) => bottom - ((value - view.y[0]) / span(view.y)) * inner.height;

  const ys = axes.y.scale.ticks(axes.y.scale.back(view.y[0]), axes.y.scale.back(view.y[1]));
  for (const tick of ys) {
    const at = down(axes.y.scale.to(tick));
    parts.push(drawn("line", { class: tick === 0 ? "axis" : "rule", x1: room.left, x2: right, y1: at, y2: at }));
    parts.push(drawn("text", { class: "tick", x: room.left - 8, y: at + 4, "text-anchor": "end" }, tickText(tick)));
  }
  const labels = evenTicks(...view.x).map((tick) => ({ at: across(tick), text: tickText(tick) }));
  // Labels that would touch: every second one, as often as it takes.
  const widest = Math.max(...labels.map(({ text }) => text.length)) * 8 + 10;
  let every = 1;
  while (labels.length > 1 && (labels[1].at - labels[0].at) * every < widest) every *= 2;
  for (const [at, label] of labels.entries()) {
    parts.push(drawn("line", { class: "rule", x1: label.at, x2: label.at, y1: room.top, y2: bottom + 4 }));
    if (at % every === 0) parts.push(drawn("text", { class: "tick", x: label.at, y: bottom + 18, "text-anchor": "middle" }, label.text));
  }
  parts.push(drawn("path", { class: "axis", fill: "none", d: `M${room.left} ${room.top}V${bottom}H${right}` }));
  parts.push(drawn("text", { class: "label", x: room.left + inner.width / 2, y: height - 4, "text-anchor": "middle" }, axes.x.title));
  parts.push(drawn(
    "text",
    { class: "label", transform: `translate(14 ${room.top + inner.height / 2}) rotate(-90)`, "text-anchor": "middle" },
    axes.y.title
  ));
  return parts;
}
