// Hands on a plot of dots: pointers, the wheel and keys become what they mean. All places are shares of the plotting
// area, from its lower left. A drag does what the mode says: "move", "box", "zoom", "lasso", or "none".
const CLICK_PIXELS = 4;
const KEY_STEP = 0.15;
const KEY_ZOOM = 1.4;

function startHands(place, stage, { mode, hover, click, moved, zoomed, whole, dragging, dragged }) {
  const pointers = new Map();
  let drag = null;
  let pinch = null;

  const area = () => stage.getBoundingClientRect();
  const share = (event) => {
    const box = area();
    return [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height];
  };
  const between = () => {
    const [[ax, ay], [bx, by]] = [...pointers.values()];
    return { middle: [(ax + bx) / 2, (ay + by) / 2], apart: Math.hypot((ax - bx) * area().width, (ay - by) * area().height) };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    place.focus({ preventScroll: true });
    try {
      stage.setPointerCapture(event.pointerId);
    } catch {
      // The pointer has gone already.
    }
    pointers.set(event.pointerId, share(event));
    hover(null);
    if (pointers.size === 2) {
      drag = null;
      dragging(null);
      pinch = between();
    } else if (pointers.size === 1) {
      const kind = event.shiftKey && mode() === "move" ? "lasso" : mode();
      drag = { kind, start: share(event), last: share(event), path: [share(event)], far: false, pixels: [event.clientX, event.clientY] };
    }
  });

  stage.addEventListener("pointermove", (event) => {
    const at = share(event);
    if (!pointers.has(event.pointerId)) {
      hover(at, event.pointerType);
      return;
    }
    pointers.set(event.pointerId, at);
    if (pinch && pointers.size === 2) {
      const now = between();
      if (pinch.apart > 0 && now.apart > 0) zoomed(now.apart / pinch.apart, now.middle);
      moved([pinch.middle[0] - now.middle[0], pinch.middle[1] - now.middle[1]]);
      pinch = now;
      return;
    }
    if (!drag) return;
    drag.far ||= Math.hypot(event.clientX - drag.pixels[0], event.clientY - drag.pixels[1]) > CLICK_PIXELS;
    if (!drag.far) return;
    if (drag.kind === "move") moved([drag.last[0] - at[0], drag.last[1] - at[1]]);
    else if (drag.kind !== "none") {
      const [x, y] = drag.path[drag.path.length - 1];
      if (Math.hypot((at[0] - x) * area().width, (at[1] - y) * area().height) > 2) drag.path.push(at);
      dragging({ kind: drag.kind, path: drag.path, start: drag.start, end: at });
    }
    drag.last = at;
  });

  function up(event) {
    if (!pointers.delete(event.pointerId)) return;
    if (pointers.size < 2) pinch = null;
    const done = drag;
    drag = null;
    if (!done) return;
    dragging(null);
    if (event.type === "pointercancel") return;
    if (!done.far) click(share(event), event.pointerType);
    else if (!["move", "none"].includes(done.kind)) dragged({ kind: done.kind, path: done.path, start: done.start, end: done.last });
  }
  stage.addEventListener("pointerup", up);
  stage.addEventListener("pointercancel", up);
  stage.addEventListener("pointerleave", () => hover(null));

  // A wheel over a plot that nobody has taken hold of scrolls the page.
  stage.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && document.activeElement !== place) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      zoomed(Math.exp(-Math.max(-240, Math.min(240, event.deltaY * lines)) * (event.ctrlKey ? 0.008 : 0.0025)), share(event));
    },
    { passive: false }
  );

  place.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const centre = [0.5, 0.5];
    const acts = {
      ArrowLeft: () => moved([-KEY_STEP, 0]), ArrowRight: () => moved([KEY_STEP, 0]),
      ArrowUp: () => moved([0, KEY_STEP]), ArrowDown: () => moved([0, -KEY_STEP]),
      "+": () => zoomed(KEY_ZOOM, centre), "=": () => zoomed(KEY_ZOOM, centre),
      "-": () => zoomed(1 / KEY_ZOOM, centre), _: () => zoomed(1 / KEY_ZOOM, centre),
      0: whole, Home: whole,
    };
    if (!(event.key in acts)) return;
    event.preventDefault();
    acts[event.key]();
  });
}
