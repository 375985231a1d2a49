// The table of a trace: a row per token and series.
async function traceTable(found, pause) {
  const { header, columns, rows, series } = found;
  const codes = async (value) => {
    const made = new Uint8Array(rows);
    await eachOf(rows, (i) => {
      made[i] = value(i);
    }, pause);
    return made;
  };
  const numbers = async (value) => {
    const made = new Float64Array(rows);
    await eachOf(rows, (i) => {
      made[i] = value(i) ?? NaN;
    }, pause);
    return made;
  };
  const lasts = await numbers(found.lastMargin);
  const firsts = await numbers(found.firstMargin);
  const share = (value) => `${Math.round(100 * value)} %`;
  const longest = series.reduce((best, one, at) => (one.steps.length > series[best].steps.length ? at : best), 0);
  const widest = columns.series.indexOf(longest);
  const ends = Math.max(...series.flatMap(({ steps }) => steps));
  const span = `${grouped(ends)}–${grouped(ends)}`;
  const margin = (value) => (value === null ? "–" : brief(value));
  const places = (value, count) => ({ buckets: { place: value, count } });
  const list = [
    { key: "token", title: "Token", need: 1, least: 90, cell: (i) => tokenNode(found.name(i), 40, `#${columns.token_id[i]}`), full: (i) => (found.name(i) === null ? `#${columns.token_id[i]}` : signed(found.name(i)) || "empty"), sort: { strings: found.name } },
    { key: "series", title: "Series", need: series.length > 1 ? 3 : 15, cell: found.seriesName, samples: series.map(({ name }) => name), sort: places((i) => columns.series[i], series.length) },
    { key: "strip", title: "Margin over the steps", need: 2, cell: (i) => stripNode(found.cells(i), header), samples: widest < 0 ? [] : [stripNode(found.cells(widest), header)] },
    { key: "verdict", title: "Verdict", hint: "At the last step", need: 4, cell: (i) => verdictNode(found.verdictOf(found.lastClass(i))), samples: [...header.verdicts, null].map(verdictNode), sort: places(found.lastClass, header.classes.length) },
    { key: "margin", title: "Margin", hint: "The proved bound at the last step, logits", kind: "num", need: 5, cell: (i) => margin(found.lastMargin(i)), samples: longestOf(lasts, brief), sort: { numbers: found.lastMargin } },
    { key: "first", title: "First", hint: "The proved bound at the first step, logits", kind: "num", need: 9, cell: (i) => margin(found.firstMargin(i)), samples: longestOf(firsts, brief), sort: { numbers: found.firstMargin } },
    { key: "became", title: "Became", hint: "Between which steps it became speakable", kind: "num", need: 6, cell: (i) => between(found.became, i), samples: [span], sort: { numbers: found.became[1] } },
    { key: "stopped", title: "Stopped", hint: "Between which steps it stopped being speakable", kind: "num", need: 7, cell: (i) => between(found.stopped, i), samples: [span], sort: { numbers: found.stopped[1] } },
    { key: "turns", title: "Turns", hint: "Changes between speakable and not", kind: "num", need: 8, cell: (i) => String(found.turns(i)), samples: ["00"], sort: { numbers: found.turns } },
    { key: "leap", title: "Leap", hint: "Share of its departure from the common path that falls into one interval; * sudden", kind: "num", need: 10, cell: (i) => (found.leap(i) === null ? "–" : `${share(found.leap(i))}${found.sudden(i) ? " *" : ""}`), samples: ["100 % *"], sort: { numbers: found.leap } },
    { key: "q", title: "q", hint: "Adjusted p-value of the leap", kind: "num", need: 12, cell: (i) => margin(found.q(i)), samples: ["1.00e−5"], sort: { numbers: found.q } },
    { key: "share", title: "Largest step", hint: "Share of all that its margin moved that falls into its largest interval", kind: "num", need: 13, cell: (i) => (found.share(i) === null ? "–" : share(found.share(i))), samples: ["100 %"], sort: { numbers: found.share } },
    { key: "far", title: "Distance", hint: "From the middle trajectory of its class, robust z", kind: "num", need: 11, cell: (i) => margin(found.far(i)), samples: ["−0.000"], sort: { numbers: found.far } },
    { key: "norm", title: "Norm", hint: "Of its row at the last step", kind: "num", need: 14, cell: (i) => margin(found.lastNorm(i)), samples: ["0.0000"], sort: { numbers: found.lastNorm } },
  ];
  return {
    rows,
    noun: series.length > 1 ? "trajectories" : "tokens",
    names: [found.token, found.text],
    ids: (i) => columns.token_id[i],
    columns: list,
    sorts: [{ key: "order", title: "Token by token", oneWay: true, sort: { buckets: { place: (i) => i, count: rows } } }],
    facets: await traceFacets(found, codes),
    ranges: [
      { name: "margin", title: "Margin at the last step", unit: "logits", values: lasts },
      { name: "initial", title: "At the first step", unit: "logits", values: firsts },
    ],
    exported: traceExport(found),
    file: header.name,
    note: header.large ? "The page holds rounded numbers: trace.parquet has all their digits, both ends of each margin and p-values." : null,
    panel: (hooks) => makeTracePanel(found, hooks),
  };
}

async function traceFacets(found, codes) {
  const { header, columns, series, rows } = found;
  const boxes = (names, column) => {
    const counts = countCodes(column);
    return names.map((label, code) => ({ key: label.replaceAll(" ", "-"), label, codes: [code], count: counts[code] }));
  };
  // Beyond so many a box for each says nothing, and the search box does it.
  const many = series.length > 250;
  const of = many ? new Uint8Array(rows) : await codes((i) => columns.series[i]);
  const last = await codes(found.lastClass);
  const first = await codes(found.firstClass);
  const histories = ["became speakable", "stopped", "back", "always speakable", "never speakable"];
  const history = await codes((i) => {
    if (found.turns(i) > 1) return 2;
    if (found.turns(i) === 1) return found.became[0](i) !== null ? 0 : 1;
    const cells = found.cells(i);
    if (cells.every(({ name }) => name === "own-direction" || name === "hard-to-speak")) return 3;
    return cells.every(({ name }) => name === "unspeakable" || name === "tied") ? 4 : 255;
  });
  const labels = ["became speakable", "stopped", "went back and forth", "always speakable", "never speakable"];
  const flags = new Uint32Array(rows);
  const flagged = [0, 0];
  for (let i = 0; i < rows; i++) {
    for (const [bit, holds] of [found.sudden, found.outlier].entries()) {
      if (!holds(i)) continue;
      flags[i] |= 1 << bit;
      flagged[bit] += 1;
    }
  }
  const kinds = header.categories.map(() => 0);
  for (let i = 0; i < rows; i++) for (const bit of kinds.keys()) kinds[bit] += (columns.kinds[i] >>> bit) & 1;
  return [
    { name: "series", title: "Series", column: of, boxes: many || series.length < 2 ? [] : boxes(series.map(({ name }) => name), of).map((one, at) => ({ ...one, key: String(at) })) },
    { name: "verdict", title: "At the last step", column: last, boxes: boxes(header.classes, last) },
    { name: "start", title: "At the first step", column: first, boxes: boxes(header.classes, first) },
    { name: "history", title: "History", column: history, boxes: boxes(histories, history).map((one, at) => ({ ...one, label: labels[at] })) },
    { name: "flag", title: "Stands out", bits: flags, boxes: ["sudden", "outlier"].map((key, bit) => ({ key, label: key, codes: [bit], count: flagged[bit] })) },
    { name: "kind", title: "Category", bits: columns.kinds, boxes: header.categories.map(({ key, title }, bit) => ({ key, label: title, codes: [bit], count: kinds[bit] })) },
  ];
}

function traceExport(found) {
  const { columns } = found;
  return [
    { name: "series", type: "string", read: found.seriesName },
    { name: "token_id", type: "int32", read: (i) => columns.token_id[i] },
    { name: "token", type: "string", read: found.token },
    { name: "text", type: "string", read: found.text },
    { name: "steps", type: "string", read: (i) => found.steps(i).join(" ") },
    { name: "class", type: "string", read: (i) => found.cells(i).map(({ name }) => name.replaceAll(" ", "-")).join(" ") },
    { name: "margin", type: "string", read: (i) => found.cells(i).map(({ margin }) => margin ?? "nan").join(" ") },
    { name: "became_after", type: "int64", read: found.became[0] },
    { name: "became_by", type: "int64", read: found.became[1] },
    { name: "stopped_after", type: "int64", read: found.stopped[0] },
    { name: "stopped_by", type: "int64", read: found.stopped[1] },
    { name: "turns", type: "int32", read: found.turns },
    { name: "changes", type: "int32", read: found.changes },
    { name: "largest_share", type: "double", read: found.share },
    { name: "leap", type: "double", read: found.leap },
    { name: "leap_q", type: "double", read: found.q },
    { name: "outlier_z", type: "double", read: found.far },
  ];
}
