// Says which values lie under the pointer in a chart that is part of the page.
const UNBENT = {
  linear: (value) => value,
  log: (value) => 10 ** value,
  signed: (value, unit) => unit * Math.sinh(value),
};
const BENT = { linear: (value) => value, log: Math.log10, signed: (value, unit) => Math.asinh(value / unit) };

// From a share of an axis back to its value; reports/charts/axes.py goes the other way.
function axisOf(text) {
  const [kind, low, high, unit, mirrored] = text.split(" ");
  const ends = [low, high].map((end) => BENT[kind](Number(end), Number(unit)));
  return (share) => UNBENT[kind](ends[0] + (mirrored ? 1 - share : share) * (ends[1] - ends[0]), Number(unit));
}

// The points that a path goes through: all that M and L lead to.
function cornersOf(path) {
  return [...path.getAttribute("d").matchAll(/[ML](-?[\d.e+]+) (-?[\d.e+]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
}

function startReadout(chart, open) {
  const [left, right, top, floor] = chart.dataset.frame.split(" ").map(Number);
  const [across, down] = [axisOf(chart.dataset.x), axisOf(chart.dataset.y)];
  const box = document.createElement("div");
  box.className = "readout";
  box.setAttribute("aria-hidden", "true");
  box.hidden = true;
  chart.parentElement.append(box);
  const number = (value) => (Math.abs(value) < 1e-12 ? "0" : String(Number(value.toPrecision(3)))).replaceAll("-", "−");
  let paths = null;

  function nearest(x, y) {
    let best = null;
    for (const { path, corners } of paths) {
      for (const [at, [cornerX, cornerY]] of corners.entries()) {
        const far = (cornerX - x) ** 2 + (cornerY - y) ** 2;
        if (far < 400 && (!best || far < best.far)) best = { path, at, far, x: cornerX, y: cornerY };
      }
    }
    return best;
  }

  function under(event) {
    paths ??= [...chart.querySelectorAll("path[data-name]")].map((path) => ({ path, corners: cornersOf(path) }));
    const bounds = chart.getBoundingClientRect();
    const scale = bounds.width / chart.viewBox.baseVal.width;
    return { found: nearest((event.clientX - bounds.left) / scale, (event.clientY - bounds.top) / scale), bounds, scale };
  }

  chart.addEventListener("pointermove", (event) => {
    const { found, bounds, scale } = under(event);
    box.hidden = found === null;
    if (!found) return;
    const { name, ids } = found.path.dataset;
    const token = ids ? `, token ${ids.split(" ")[found.at]}` : "";
    const values = [across((found.x - left) / (right - left)), down((floor - found.y) / (floor - top))].map(number);
    box.textContent = `${name}${token}: ${values.join(", ")}`;
    const parent = chart.parentElement.getBoundingClientRect();
    const place = bounds.left - parent.left + found.x * scale;
    box.classList.toggle("leftwards", place > parent.width / 2);
    box.style.setProperty("--x", `${place}px`);
    box.style.setProperty("--y", `${bounds.top - parent.top + found.y * scale}px`);
  });
  chart.addEventListener("click", (event) => {
    const { found } = under(event);
    if (open && found?.path.dataset.ids) open(Number(found.path.dataset.ids.split(" ")[found.at]));
  });
  chart.addEventListener("pointerleave", () => {
    box.hidden = true;
  });
}

// `open` is called with the token of a point that is clicked.
function startReadouts(open = null) {
  for (const chart of document.querySelectorAll("svg.drawn")) startReadout(chart, open);
}
