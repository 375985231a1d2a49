// What a trace says of each row, a token in one series; reports/trace_columns.py describes the columns.
async function makeTraced({ header, columns }, pause) {
  const { rows, series } = header;
  const { token, text } = stringsOf(columns);
  const starts = new Uint32Array(rows + 1); // where a row's cells begin
  await eachOf(rows, (i) => {
    starts[i + 1] = starts[i] + series[columns.series[i]].steps.length;
  }, pause);
  const steps = (i) => series[columns.series[i]].steps;
  const at = (column) => (i) => (column[i] < 0 ? null : steps(i)[column[i]]);
  const number = (column) => (i) => known(column[i]);
  const last = (i) => starts[i + 1] - 1;
  const verdictOf = (code) => {
    const name = header.classes[code];
    if (name === "own-direction" || name === "hard-to-speak") return "speakable";
    return header.verdicts.includes(name) ? name : null;
  };
  return {
    header, columns, rows, series, token, text, steps,
    name: (i) => text(i) ?? token(i),
    seriesName: (i) => series[columns.series[i]].name,
    cells: (i) => Array.from(steps(i), (step, place) => ({
      step, name: header.classes[columns.cell_class[starts[i] + place]],
      margin: known(columns.cell_margin[starts[i] + place]), norm: known(columns.cell_norm[starts[i] + place]),
    })),
    firstClass: (i) => columns.cell_class[starts[i]],
    lastClass: (i) => columns.cell_class[last(i)],
    firstMargin: (i) => known(columns.cell_margin[starts[i]]),
    lastMargin: (i) => known(columns.cell_margin[last(i)]),
    lastNorm: (i) => known(columns.cell_norm[last(i)]),
    verdictOf,
    became: [at(columns.became_after), at(columns.became_by)],
    stopped: [at(columns.stopped_after), at(columns.stopped_by)],
    leapt: [at(columns.leap_after), at(columns.leap_by)],
    turns: (i) => columns.turns[i],
    changes: (i) => columns.changes[i],
    share: number(columns.largest_share),
    leap: number(columns.leap),
    q: number(columns.leap_q),
    far: number(columns.outlier_z),
    sudden: (i) => columns.leap_q[i] <= header.rate,
    outlier: (i) => columns.outlier_z[i] > header.far,
    kinds: (i) => header.categories.filter((_, bit) => (columns.kinds[i] >>> bit) & 1),
    // Rows of the same token in all series stand together: those around this one that have its name.
    alike(i) {
      const same = (j) => j >= 0 && j < rows && token(j) === token(i) && text(j) === text(i);
      const named = token(i) !== null || text(i) !== null;
      const apart = (j) => (named ? same(j) : columns.token_id[j] === columns.token_id[i]);
      const found = [i];
      const seen = new Set([columns.series[i]]);
      for (const step of [-1, 1]) {
        for (let j = i + step; j >= 0 && j < rows && apart(j) && !seen.has(columns.series[j]); j += step) {
          seen.add(columns.series[j]);
          found.push(j);
        }
      }
      return found.sort((a, b) => a - b);
    },
  };
}

// Between which steps a change lies, in words.
function between([after, by], i) {
  return after(i) === null ? "–" : `${grouped(after(i))}–${grouped(by(i))}`;
}
