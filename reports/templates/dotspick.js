// Where dots lie. A grid of cells finds what is near a point, or inside an outline, without looking at every dot.
function gridIndex(x, y) {
  const count = x.length;
  const [left, right] = extent(x);
  const [low, high] = extent(y);
  const side = Math.max(1, Math.min(1024, Math.ceil(Math.sqrt(count / 2))));
  const cellOf = (value, from, to) => Math.max(0, Math.min(side - 1, Math.floor(((value - from) / (to - from || 1)) * side)));
  const column = (value) => cellOf(value, left, right);
  const row = (value) => cellOf(value, low, high);

  // Dots sorted by cell, by counting.
  const cells = new Uint32Array(count);
  const starts = new Uint32Array(side * side + 1);
  for (let i = 0; i < count; i++) {
    cells[i] = row(y[i]) * side + column(x[i]);
    starts[cells[i] + 1] += 1;
  }
  for (let at = 1; at < starts.length; at++) starts[at] += starts[at - 1];
  const next = starts.slice();
  const sorted = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    sorted[next[cells[i]]] = i;
    next[cells[i]] += 1;
  }

  // Visits every dot of the cells that a box touches; `line` is told each row of cells first.
  function visit([x0, x1], [y0, y1], act, line = () => {}) {
    for (let down = row(y0); down <= row(y1); down++) {
      line(low + ((high - low) * down) / side, low + ((high - low) * (down + 1)) / side);
      const from = starts[down * side + column(x0)];
      const to = starts[down * side + column(x1) + 1];
      for (let at = from; at < to; at++) act(sorted[at]);
    }
  }

  return {
    // The dot nearest to a point in units of two radii, or -1; of dots at one place the one with the highest rank.
    nearest([px, py], [rx, ry], rank) {
      let best = -1;
      let closest = 1;
      visit([px - rx, px + rx], [py - ry, py + ry], (i) => {
        if (rank(i) < 0) return;
        const distance = ((x[i] - px) / rx) ** 2 + ((y[i] - py) / ry) ** 2;
        if (distance < closest || (distance === closest && best >= 0 && rank(i) > rank(best))) {
          best = i;
          closest = distance;
        }
      });
      return best;
    },
    inBox(wide, tall, act) {
      visit(wide, tall, (i) => {
        if (x[i] >= wide[0] && x[i] <= wide[1] && y[i] >= tall[0] && y[i] <= tall[1]) act(i);
      });
    },
    // Inside a closed outline by the even-odd rule. Only the edges that reach into a row of cells are asked there.
    inOutline(corners, act) {
      const edges = corners.map((corner, at) => [corner, corners[(at + 1) % corners.length]]).filter(([a, b]) => a[1] !== b[1]);
      let near = [];
      const wide = extent(corners.map(([at]) => at));
      const tall = extent(corners.map(([, at]) => at));
      visit(
        wide, tall,
        (i) => {
          let inside = false;
          for (const [a, b] of near) {
            if (a[1] > y[i] !== b[1] > y[i] && x[i] < a[0] + ((b[0] - a[0]) * (y[i] - a[1])) / (b[1] - a[1])) inside = !inside;
          }
          if (inside) act(i);
        },
        // Rounding may put a dot beside its row's ends, so the rows are taken a little taller.
        (from, to) => {
          const room = (to - from) * 1e-6;
          near = edges.filter(([a, b]) => Math.max(a[1], b[1]) >= from - room && Math.min(a[1], b[1]) <= to + room);
        }
      );
    },
  };
}
