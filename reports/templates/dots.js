// A plot of many dots: it keeps what is shown and how, and hands the drawing to WebGL or, without it, to a flat canvas.
const QUICK_MS = 28; // a frame that takes longer than this, while things move, draws fewer dots next time
const REST_MS = 160;
const FEWEST = 1 / 32;
const ROOM = { left: 62, top: 10, right: 14, bottom: 42 };
const NO_ROOM = { left: 0, top: 0, right: 0, bottom: 0 };

// A stride near the golden section that meets every number below `count` once.
function coprime(count) {
  const divides = (a, b) => (b ? divides(b, a % b) : a);
  let stride = Math.max(1, Math.round(count * 0.618));
  while (divides(count, stride) > 1) stride += 1;
  return stride;
}

// [red, green, blue] of a colour of the style sheet, each from 0 to 1.
function colourParts(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const hex = /^#([0-9a-f]{6})$/i.exec(text)?.[1] ?? text.slice(1).replace(/./g, "$&$&");
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
}

// Args: `place`, an element that can have the focus; `axes`, none for a plane without any; `equal`, one scale for both
// directions; `tools`, buttons by what they do; `mode`, what a drag does at first; `fewer`, whether slow frames may leave
// dots out while things move; `fill`, puts a dot's words into an element; `open`, called with a dot that was clicked; `picked`, called with { kind, dots, x, y } of a box or lasso.
function makeDots(place, { axes = null, equal = false, floor = {}, tools = {}, mode: first = "move", fewer = true, fill, open, picked }) {
  const stage = element("div", "dots-stage");
  const glCanvas = element("canvas", "");
  const flatCanvas = element("canvas", "");
  const [under, over] = ["dots-under", "dots-over"].map((name) => (
    drawn("svg", { class: name, "aria-hidden": "true", preserveAspectRatio: "none" })
  ));
  const tip = element("div", "dots-tip");
  tip.hidden = true;
  stage.append(glCanvas, flatCanvas);
  place.replaceChildren(under, stage, over, tip);
  place.classList.add("dots");

  let x = new Float64Array(0);
  let y = x;
  let groups = [];
  let codes = new Uint8Array(0); // group of each dot
  let faded = null; // 1 for each dot that steps back
  let off = new Set();
  let index = null;
  let sorted = new Uint32Array(0); // dots in the order of painting
  let runs = new Uint32Array(MOST_GROUPS + 1); // where each group begins in it
  let ends = null; // of all places: { x, y }
  let corner = null; // where shares of the whole are 0, and their sizes
  let view = null;
  let moving = null; // what is being drawn by hand: a box or a lasso
  let outline = null; // a box that stays: { x, y } with null for open ends
  let colours = null;
  let ringed = -1;
  let hovered = -1;
  let painter = null;
  let glPaints = null;
  let loaded = "none"; // what the painter has: "none", "places" or "all"
  let part = 1; // of the dots that are drawn now
  let took = 0; // by the latest frame, milliseconds
  let asked = 0;
  let resting = 0;
  let mode = first;
  let box = { width: 0, height: 0 };

  const room = () => (axes ? ROOM : NO_ROOM);
  const inner = () => ({
    width: Math.max(1, box.width - room().left - room().right),
    height: Math.max(1, box.height - room().top - room().bottom),
  });
  const whole = () => wholeView(ends, { ...inner(), equal, floor });
  const toView = ([across, up]) => [view.x[0] + across * span(view.x), view.y[0] + up * span(view.y)];
  const rank = (i) => (off.has(codes[i]) ? -1 : codes[i]);
  const perPixel = () => [span(view.x) / inner().width, span(view.y) / inner().height];

  // --- painting ------------------------------------------------------------------------------------------------

  function choosePainter(lost) {
    glPaints ??= lost ? null : glPainter(glCanvas);
    painter = glPaints ?? flatPainter(flatCanvas);
    glCanvas.hidden = painter.kind !== "webgl";
    flatCanvas.hidden = painter.kind === "webgl";
    place.dataset.painter = painter.kind;
    loaded = "none";
    size();
  }
  glCanvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    glPaints = null;
    choosePainter(true);
    ask();
  });
  glCanvas.addEventListener("webglcontextrestored", () => {
    choosePainter(false);
    ask();
  });

  function size() {
    box = { width: place.clientWidth, height: place.clientHeight };
    const { left, top, right, bottom } = room();
    // Shares, so that all layers keep together where the plot is stretched on paper.
    const part = (pixels, of) => `${(100 * pixels) / Math.max(1, of)}%`;
    Object.assign(stage.style, {
      left: part(left, box.width), right: part(right, box.width), top: part(top, box.height), bottom: part(bottom, box.height),
    });
    for (const layer of [under, over]) layer.setAttribute("viewBox", `0 0 ${Math.max(1, box.width)} ${Math.max(1, box.height)}`);
    const ratio = Math.min(3, devicePixelRatio || 1);
    for (const canvas of [glCanvas, flatCanvas]) {
      const width = Math.max(1, Math.round(inner().width * ratio));
      const height = Math.max(1, Math.round(inner().height * ratio));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
  }

  // Two bytes a dot: its group, and whether it is faded.
  function encode() {
    const bytes = new Uint8Array(sorted.length * 2);
    for (let at = 0; at < sorted.length; at++) {
      const i = sorted[at];
      bytes[2 * at] = codes[i];
      bytes[2 * at + 1] = faded ? faded[i] : 0;
    }
    return bytes;
  }

  // Groups are painted in their order, the last one on top. Within a group dots follow each other in strides, so that
  // the first ones of it are an even part of all.
  function sortDots() {
    const count = codes.length;
    runs = new Uint32Array(MOST_GROUPS + 1);
    for (const code of codes) runs[code + 1] += 1;
    for (let at = 1; at < runs.length; at++) runs[at] += runs[at - 1];
    const next = runs.slice();
    sorted = new Uint32Array(count);
    const stride = coprime(count);
    for (let at = 0, i = 0; at < count; at++, i = (i + stride) % count) {
      sorted[next[codes[i]]] = i;
      next[codes[i]] += 1;
    }
  }

  // Runs of dots to draw, all of the small groups and a part of the others; null for all there are.
  function partsNow() {
    if (part === 1) return null;
    const small = codes.length / 100;
    return groups.map((_, at) => {
      const many = runs[at + 1] - runs[at];
      return [runs[at], many < small ? many : Math.ceil(many * part)];
    }).filter(([, many]) => many > 0);
  }

  function load() {
    if (loaded === "none") {
      const places = new Float32Array(sorted.length * 2);
      for (let at = 0; at < sorted.length; at++) {
        places[2 * at] = (x[sorted[at]] - corner.x) / corner.wide;
        places[2 * at + 1] = (y[sorted[at]] - corner.y) / corner.tall;
      }
      painter.load(places, encode());
    } else painter.recode(encode());
    loaded = "all";
  }

  // Four parts for each group, as the theme has them.
  function coloursNow() {
    const found = new Float32Array(MOST_GROUPS * 4);
    for (const [at, group] of groups.entries()) {
      const parts = typeof group.colour === "string" ? colourParts(group.colour) : group.colour.map((one) => one / 255);
      const alpha = group.alpha ?? 0.85;
      found.set([...parts.map((one) => one * alpha), alpha], 4 * at);
    }
    return found;
  }

  function looksNow() {
    const looks = new Float32Array(MOST_GROUPS * 2);
    const ratio = Math.min(3, devicePixelRatio || 1);
    const { width, height } = inner();
    const all = whole();
    const closer = Math.sqrt((span(all.x) / span(view.x)) * (span(all.y) / span(view.y)));
    colours ??= coloursNow();
    for (const [at, group] of groups.entries()) {
      // Crowded groups have smaller dots until they are looked at closely.
      const apart = Math.sqrt((width * height) / Math.max(1, group.count)) * closer;
      const scale = Math.min(1, Math.max(0.36, (1.1 * apart) / group.size));
      looks.set([off.has(at) ? 0 : Math.max(1.5, group.size * scale) * ratio, SHAPES.indexOf(group.shape)], 2 * at);
    }
    return {
      colours, looks, parts: partsNow(),
      from: [(view.x[0] - corner.x) / corner.wide, (view.y[0] - corner.y) / corner.tall],
      size: [span(view.x) / corner.wide, span(view.y) / corner.tall],
    };
  }

  function paint() {
    asked = 0;
    if (!x.length || !place.clientWidth) return;
    if (place.clientWidth !== box.width || place.clientHeight !== box.height) {
      size();
      if (view && equal) view = evened(view, inner().width, inner().height, Math.max);
    }
    view ??= whole();
    if (!painter) choosePainter(false);
    const state = painter.state();
    if (state === "wait") {
      setTimeout(ask, 16);
      return;
    }
    if (state === "no") {
      glPaints = null;
      choosePainter(true);
    }
    if (loaded !== "all") load();
    place.dataset.dots = String(painter.paint(looksNow()));
    place.dataset.view = JSON.stringify(view);
    if (axes) under.replaceChildren(...drawAxes(view, axes, box, room()));
    drawOver();
  }

  // Asks for a frame. While things move, frames that come too late have fewer dots; all of them are back at rest.
  function ask(quick = false) {
    if (!quick) part = 1;
    else {
      clearTimeout(resting);
      resting = setTimeout(() => part < 1 && ask(), Math.max(REST_MS, 2 * took));
    }
    asked ||= requestAnimationFrame((now) => {
      paint();
      if (quick && fewer && painter?.kind === "webgl") requestAnimationFrame((then) => adapt(then - now));
    });
  }

  function adapt(milliseconds) {
    took = Math.min(1000, milliseconds);
    if (took > QUICK_MS) part = Math.max(FEWEST, part * Math.max(0.2, QUICK_MS / took));
    else if (took < QUICK_MS * 0.7) part = Math.min(1, part * 1.1);
  }

  function drawOver() {
    const { left, top } = room();
    const { width, height } = inner();
    const across = (value) => left + ((value - view.x[0]) / span(view.x)) * width;
    const down = (value) => top + (1 - (value - view.y[0]) / span(view.y)) * height;
    const within = (value, from, to) => Math.max(from, Math.min(to, value));
    const parts = [];
    if (outline) {
      const sides = [outline.x, outline.y].map((pair, at) => {
        const [to, low, high] = at ? [down, top + height, top] : [across, left, left + width];
        const reach = pair.map((end, side) => (end === null ? [low, high][side] : to(end)));
        return reach.map((end) => within(end, Math.min(low, high), Math.max(low, high)));
      });
      const [[x0, x1], [y0, y1]] = sides;
      parts.push(drawn("rect", { class: "kept", x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0) }));
    }
    if (moving) {
      const path = moving.map((at) => toView(at)).map(([px, py]) => `${across(px)} ${down(py)}`).join("L");
      parts.push(drawn("path", { class: "drawing", d: `M${path}Z` }));
    }
    for (const [i, name] of [[ringed, "ringed"], [hovered, "hovered"]]) {
      if (i < 0 || off.has(codes[i])) continue;
      const [cx, cy] = [across(x[i]), down(y[i])];
      if (cx < left || cx > left + width || cy < top || cy > top + height) continue;
      parts.push(drawn("circle", { class: name, cx, cy, r: name === "ringed" ? 8 : 6 }));
    }
    over.replaceChildren(...parts);
  }

  // --- looking and choosing ------------------------------------------------------------------------------------

  // Made when it is first needed.
  const where = () => (index ??= gridIndex(x, y));

  function pick(at, radius) {
    const [rx, ry] = perPixel().map((one) => one * radius);
    return where().nearest(toView(at), [rx, ry], rank);
  }

  function hover(at, kind) {
    const found = at && view && kind !== "touch" ? pick(at, 12) : -1;
    if (found === hovered) return;
    hovered = found;
    tip.hidden = found < 0;
    if (found >= 0) {
      tip.replaceChildren();
      fill(tip, found);
      const { left, top } = room();
      const [wide, tall] = [tip.offsetWidth, tip.offsetHeight];
      const px = left + ((x[found] - view.x[0]) / span(view.x)) * inner().width;
      const py = top + (1 - (y[found] - view.y[0]) / span(view.y)) * inner().height;
      tip.style.left = `${Math.max(0, Math.min(box.width - wide, px + 14 + wide > box.width ? px - 14 - wide : px + 14))}px`;
      tip.style.top = `${Math.max(0, Math.min(box.height - tall, py + 12 + tall > box.height ? py - 12 - tall : py + 12))}px`;
    }
    stage.classList.toggle("onto", found >= 0);
    drawOver();
  }

  function shape({ kind, path, start, end }) {
    if (kind === "lasso") return path;
    return [start, [end[0], start[1]], end, [start[0], end[1]]];
  }

  function choose(drag) {
    const corners = shape(drag).map(toView);
    const [wide, tall] = [0, 1].map((at) => extent(corners.map((corner) => corner[at])));
    const [px, py] = perPixel();
    if (span(wide) < 3 * px && span(tall) < 3 * py) return;
    if (drag.kind === "zoom") {
      view = { x: wide, y: tall };
      if (equal) view = evened(view, inner().width, inner().height, Math.max);
      ask();
      return;
    }
    const dots = new Uint8Array(x.length);
    const take = (i) => {
      if (rank(i) >= 0) dots[i] = 1;
    };
    if (drag.kind === "box") where().inBox(wide, tall, take);
    else where().inOutline(corners, take);
    picked({ kind: drag.kind, dots, x: wide, y: tall, corners });
  }

  const zoom = (factor, at = [0.5, 0.5]) => {
    if (!view) return;
    view = zoomedView(view, factor, at, whole());
    ask(true);
  };
  const move = (by) => {
    if (!view) return;
    view = movedView(view, by, whole());
    ask(true);
  };
  const showAll = () => {
    view = null;
    ask();
  };

  startHands(place, stage, {
    mode: () => mode,
    hover,
    click: (at, kind) => {
      const found = view ? pick(at, kind === "touch" ? 22 : 12) : -1;
      if (found >= 0) open(found);
    },
    moved: move,
    zoomed: zoom,
    whole: showAll,
    dragging: (drag) => {
      moving = drag ? shape(drag) : null;
      if (view) drawOver();
    },
    dragged: choose,
  });

  function setMode(next) {
    mode = next;
    for (const name of ["move", "box", "lasso", "zoom"]) tools[name]?.setAttribute("aria-pressed", String(name === mode));
    stage.dataset.mode = mode;
  }
  for (const name of ["move", "box", "lasso", "zoom"]) {
    tools[name]?.addEventListener("click", () => setMode(mode === name ? "none" : name));
  }
  tools.closer?.addEventListener("click", () => zoom(1.6));
  tools.farther?.addEventListener("click", () => zoom(1 / 1.6));
  tools.whole?.addEventListener("click", showAll);
  // A finger that drags over a plot means to scroll the page, until its owner says otherwise.
  setMode(matchMedia("(pointer: coarse)").matches ? "none" : first);

  function recolour() {
    colours = null;
    ask();
  }
  document.addEventListener("reach-theme", recolour);
  new ResizeObserver(() => ask()).observe(place);
  onPaper(() => {
    cancelAnimationFrame(asked);
    part = 1;
    colours = null;
    paint();
  });

  return {
    // Where the dots are, in the plot's own measure; all of them are in sight afterwards.
    setPlaces(newX, newY) {
      x = newX;
      y = newY;
      ends = { x: extent(x), y: extent(y) };
      corner = { x: ends.x[0], y: ends.y[0], wide: span(ends.x) || 1, tall: span(ends.y) || 1 };
      index = null;
      view = null;
      hovered = -1;
      loaded = "none";
      ask();
    },
    // `newGroups`, in the order of painting: { name, colour, shape, size, alpha?, count }; a code for each dot.
    setGroups(newGroups, newCodes, hidden = new Set()) {
      groups = newGroups;
      codes = newCodes;
      off = hidden;
      sortDots();
      loaded = "none";
      recolour();
    },
    // Dots that are 1 step back; null: none.
    fade(mask) {
      faded = mask;
      if (loaded === "all") loaded = "places";
      ask();
    },
    outline(next) {
      outline = next;
      ask();
    },
    ring(dot) {
      ringed = dot;
      ask();
    },
    setAxes(next) {
      axes = next;
      ask();
    },
    ask,
  };
}

// Paper is light, whatever the page is: `paint` is called at once, before and after.
let paperTheme = null;
const paperPainters = [];
function onPaper(paint) {
  if (!paperPainters.length) {
    addEventListener("beforeprint", () => {
      paperTheme ??= document.documentElement.dataset.theme;
      document.documentElement.dataset.theme = "light";
      for (const one of paperPainters) one();
    });
    addEventListener("afterprint", () => {
      if (paperTheme !== null) document.documentElement.dataset.theme = paperTheme;
      paperTheme = null;
      for (const one of paperPainters) one();
    });
  }
  paperPainters.push(paint);
}
