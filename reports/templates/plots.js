// What all plots share: the library, unpacked when first needed, and looks that follow the page's own.
let plotting = null;

function loadPlotly() {
  plotting ??= inflate(document.getElementById("plotly").textContent).then((buffer) => {
    const source = new TextDecoder().decode(buffer);
    // At its start the library adds a style sheet for maps, which the page's policy would turn away with an error,
    // unless an element with its id is there already.
    const ids = new Set([...source.matchAll(/getElementById\("([0-9a-f]{64})"\)/g)].map((found) => found[1]));
    for (const id of ids) {
      const standIn = document.createElement("meta");
      standIn.id = id;
      document.head.append(standIn);
    }
    // The policy lets this script in by the digest of its text, and no other.
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
    if (!window.Plotly) throw new Error("the plotting library did not start");
    return window.Plotly;
  });
  return plotting;
}

// What would move, hide or turn round the text beside it: all that cannot be seen, but for spaces.
const UNRULY = /[\p{C}\p{Zl}\p{Zp}]/gu;

// The library reads a few tags and entities in labels, and %{…} in what it shows on hovering. Names that come from a
// run must not be read as any of them.
const LABEL_SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;" };
function plotText(text) {
  return String(text).replace(UNRULY, (one) => signOf(one)).replace(/[&<>{]/g, (one) => LABEL_SIGNS[one]);
}

// The last gate before the library, for whatever came in otherwise: no tag but those that the page itself writes.
function tamed(value) {
  if (typeof value === "string") return value.replace(/<(?!br>|\/?extra>)/g, "&lt;").replace(UNRULY, (one) => signOf(one));
  if (Array.isArray(value)) return value.map(tamed);
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, tamed(entry)]));
}

function drawPlot(Plotly, place, { traces, layout }, config = PLOT_CONFIG) {
  return Plotly.react(place, tamed(traces), tamed(layout), config);
}

// A token on one line for the box that shows up when pointing at it; one without a name by its id.
function plotToken(text, id, limit = 40) {
  if (text === null) return `#${id}`;
  const points = [...text];
  const shown = points.slice(0, limit).map((one) => signOf(one) ?? one).join("");
  return plotText(shown + (points.length > limit ? "…" : "")) || "empty";
}

function looks() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { colour, font: getComputedStyle(document.body).fontFamily };
}

function plotLayout({ colour, font }, extra) {
  const axis = {
    gridcolor: colour("line"), zerolinecolor: colour("soft"), linecolor: colour("soft"), tickcolor: colour("soft"),
    ticks: "outside", ticklen: 4, automargin: true, fixedrange: false, tickfont: { size: 12 },
  };
  const { xaxis = {}, yaxis = {}, ...rest } = extra;
  for (const { title } of [xaxis, yaxis]) if (title) title.font = { size: 13 };
  return {
    autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: font, size: 13, color: colour("soft") }, margin: { l: 56, r: 14, t: 10, b: 46 },
    hovermode: "closest",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("soft"), font: { color: colour("text"), family: font, size: 13 } },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

const PLOT_CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };

// Colours are given to the library as values, so a change of theme means to draw again.
function onTheme(draw) {
  document.addEventListener("reach-theme", draw);
}

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
