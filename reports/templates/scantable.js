// The table of a scan: what its columns show, by what it is narrowed, and what it exports.

// By how near a margin is to 0; those that have none come last.
const EDGE = "edge";

function scanTable(tokens) {
  const { header, columns, rows } = tokens;
  return {
    rows,
    names: [tokens.token, tokens.text],
    columns: scanColumns(tokens),
    sorts: [{
      key: EDGE, title: "Nearest to the edge", oneWay: true,
      sort: { numbers: (i) => (Number.isNaN(tokens.margin[i]) ? null : Math.abs(tokens.margin[i])) },
    }],
    facets: scanFacets(tokens),
    ranges: [
      { name: "margin", title: "Margin", unit: "logits", values: tokens.margin },
      { name: "norm", title: "Row norm", values: columns.row_norm },
    ],
    exported: scanExport(tokens),
    file: `${header.run}-tokens`,
    note: header.large
      ? "So large a vocabulary is shown and downloaded with rounded numbers, bounds outwards, and of logits at witnesses " +
        "those of nearly-never tokens only: verdicts.parquet of the run has all of them with all their digits."
      : null,
    panel: (hooks) => makePanel(tokens, hooks),
  };
}

function coded(column, names) {
  return { buckets: { place: (i) => (column[i] === 255 ? null : column[i]), count: names.length } };
}

// In the order of the alphabet, not of first appearance.
function byName(column, names) {
  const order = [...names.keys()].sort((a, b) => (names[a] < names[b] ? -1 : 1));
  const rank = new Uint32Array(names.length);
  for (const [at, code] of order.entries()) rank[code] = at;
  return { buckets: { place: (i) => (column[i] < 0 ? null : rank[column[i]]), count: names.length } };
}

function scanColumns(t) {
  const { header, columns } = t;
  const texts = (i) => t.text(i) ?? t.token(i);
  const runner = (i) => (t.runnerUp(i) === null || t.runnerUp(i) >= t.rows ? null : t.runnerUp(i));
  const unread = (i) => (t.token(i) === null ? `#${i}` : "not whole text");
  const whole = (text, absent) => (text === null ? absent : signed(text) || "empty");
  const kinds = (i) => t.findings(i).map((one) => one.title);
  const badge = (format) => element("span", "badge", format);
  const all = [
    { key: "id", title: "Id", kind: "num", need: 4, cell: String, samples: [String(t.rows - 1)], sort: { buckets: { place: (i) => i, count: t.rows } } },
    {
      key: "token", title: "Piece", need: 3, least: 72, cell: (i) => tokenNode(t.token(i), 40, `#${i}`),
      full: (i) => whole(t.token(i), `#${i}`), sort: { strings: t.token },
    },
    {
      key: "text", title: "Text", need: 5, least: 72, cell: (i) => tokenNode(t.text(i), 40, unread(i)),
      full: (i) => whole(t.text(i), unread(i)), sort: { strings: t.text },
    },
    {
      key: "verdict", title: "Verdict", need: 1, cell: (i) => verdictNode(t.verdict(i)),
      samples: [...header.verdicts, null].map(verdictNode), sort: coded(columns.verdict, header.verdicts),
    },
    {
      key: "evidence", title: "Evidence", need: 8, cell: (i) => t.evidence(i) ?? "–",
      samples: header.evidences, sort: coded(columns.evidence, header.evidences),
    },
    {
      key: "category", title: "Way", need: 6, cell: (i) => CATEGORY_NAMES[t.category(i)] ?? "–", samples: CATEGORY_NAMES,
      sort: { buckets: { place: (i) => (t.category(i) < 0 ? null : t.category(i)), count: 2 } },
    },
    {
      key: "nearly", title: "Nearly never", need: 9, cell: (i) => (t.nearlyNever(i) === null ? "–" : badge(t.nearlyNever(i))),
      samples: header.formats.map(badge), sort: coded(columns.nearly_never, header.formats),
    },
    {
      key: "kinds", title: "Categories", need: 7, cell: (i) => kindsCell(kinds(i)),
      samples: header.categories.map(({ title }) => kindsCell([title, ""])),
      sort: { buckets: { place: (i) => (t.kinds[i] ? Math.log2(t.kinds[i] & -t.kinds[i]) : null), count: header.categories.length } },
    },
    {
      key: "margin", title: "Margin", kind: "num", need: 2, cell: (i) => marginCell(t, i),
      samples: longestOf(t.margin, (_, i) => marginText(t.single(i)), (i) => (t.single(i).sign ? 1 : 0)), sort: { numbers: (i) => t.margin[i] },
    },
    { key: "stage", title: "Stage", need: 12, cell: (i) => t.stage(i) ?? "–", samples: header.stages, sort: byName(columns.stage, header.stages) },
    {
      key: "runner", title: "Runner-up", need: 10, least: 72,
      cell: (i) => (runner(i) === null ? "–" : tokenNode(texts(runner(i)), 24, `#${runner(i)}`)),
      full: (i) => (runner(i) === null ? "–" : whole(texts(runner(i)), `#${runner(i)}`)), sort: { numbers: t.runnerUp },
    },
    { key: "norm", title: "Row norm", kind: "num", need: 11, cell: (i) => decimal(t.norm(i)), samples: longestOf(columns.row_norm, decimal), sort: { numbers: t.norm } },
  ];
  return header.categories.length ? all : all.filter(({ key }) => key !== "kinds");
}

// The first category, and how many more there are; all of them to be read by pointing.
function kindsCell(titles) {
  if (!titles.length) return "–";
  const node = element("span", "");
  node.append(element("span", "tag", titles[0]), titles.length > 1 ? ` +${titles.length - 1}` : "");
  node.title = titles.join(", ");
  return node;
}

function marginCell(t, i) {
  const node = element("span", "", marginText(t.single(i)));
  node.title = bracketText(t.bracket(i));
  return node;
}

function scanFacets(t) {
  const { header, columns } = t;
  const named = (names, column) => {
    const found = countCodes(column);
    return names.map((key, code) => ({ codes: [code], key, label: key, count: found[code] }));
  };
  const ways = Uint8Array.from(columns.verdict, (_, i) => t.category(i));
  const [own, hard] = countCodes(ways);
  const nearly = countCodes(columns.nearly_never);
  const kinds = countCodes(columns.category_code);
  return [
    {
      name: "verdict", title: "Verdict", column: columns.verdict,
      boxes: [
        ...named(header.verdicts, columns.verdict),
        { codes: [255], key: "none", label: "not asked for", count: countCodes(columns.verdict)[255] },
      ],
    },
    {
      name: "category", title: "Way", column: ways,
      boxes: [
        { codes: [0], key: "own", label: CATEGORY_NAMES[0], count: own },
        { codes: [1], key: "hard", label: CATEGORY_NAMES[1], count: hard },
      ],
    },
    {
      // Steps grow from format to format: below a step of one is below one of all that follow.
      name: "nearly", title: "Nearly never", column: columns.nearly_never,
      boxes: header.formats.map((key, code) => {
        const codes = Array.from({ length: code + 1 }, (_, finer) => finer);
        return { codes, key, label: `in ${key}`, count: codes.reduce((sum, finer) => sum + nearly[finer], 0) };
      }),
    },
    { name: "evidence", title: "Evidence", column: columns.evidence, boxes: named(header.evidences, columns.evidence) },
    {
      name: "kind", title: "Category", bits: t.kinds,
      boxes: header.categories.map(({ key, title }, code) => ({ codes: [code], key, label: title, count: kinds[code] })),
    },
  ];
}

// Those of verdicts.parquet, and what the tokens are, where the run says.
function scanExport(t) {
  return [
    { name: "token_id", type: "int32", read: (i) => i },
    { name: "token", type: "string", read: t.token },
    { name: "text", type: "string", read: t.text },
    { name: "verdict", type: "string", read: t.verdict },
    { name: "evidence", type: "string", read: t.evidence },
    { name: "own_direction", type: "boolean", read: t.ownDirection },
    { name: "margin_lower", type: "double", read: t.lower },
    { name: "margin_upper", type: "double", read: t.upper },
    { name: "stage", type: "string", read: t.stage },
    { name: "runner_up_id", type: "int32", read: t.runnerUp },
    { name: "row_norm", type: "double", read: t.norm },
    { name: "reason", type: "string", read: t.reason },
    { name: "witness", type: "string", read: t.witness },
    { name: "argmax_id", type: "int32", read: t.argmax },
    { name: "winning_logit", type: "double", read: t.winningLogit },
    { name: "nearly_never", type: "string", read: t.nearlyNever },
    ...(t.header.categories.length ? categoryColumns(t) : []),
  ];
}

// As `reach export` writes them.
function categoryColumns(t) {
  const words = ({ key, detail, others }) => {
    const ids = others.length ? ` (${others.map((one) => `#${one}`).join(", ")})` : "";
    return detail === null ? `${key}${ids}` : `${key}: ${detail}${ids}`;
  };
  return [
    { name: "categories", type: "string", read: (i) => t.findings(i).map((one) => one.key).join(" ") },
    { name: "category_evidence", type: "string", read: (i) => t.findings(i).map(words).join("; ") || null },
  ];
}

