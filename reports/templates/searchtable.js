// The table of a search: how far every token got, by which input, and what is exported.
const LEVEL_HEADS = { head: "Head", free: "Free", norm: "Norm", hull: "Hull", tokens: "Tokens", text: "Text" };

async function searchTable(found, pause) {
  const { header, columns, rows } = found;
  const levels = header.levels.map((name) => found.levels.get(name));
  const lengths = new Float64Array(rows);
  await eachOf(rows, (i) => {
    lengths[i] = found.shortestLength(i) ?? NaN;
  }, pause);
  return {
    rows,
    names: [found.token, found.text],
    columns: await searchColumns(found, levels, pause),
    sorts: [
      {
        key: "edge", title: "Nearest to the edge of the head", oneWay: true,
        sort: { numbers: (i) => (found.head(i) === null ? null : Math.abs(found.head(i))) },
      },
      { key: "shortest", title: "Length of the input", sort: { numbers: found.shortestLength } },
      ...levels.map(({ name, length }) => ({ key: `${name}-length`, title: `Length, ${LEVEL_TITLES[name]}`, sort: { numbers: length } })),
    ],
    facets: await searchFacets(found, levels, pause),
    ranges: [
      { name: "head", title: "Head margin", unit: "logits", values: columns.head_margin },
      { name: "length", title: "Length of the input", values: lengths },
      { name: "steps", title: "Steps", values: columns.steps },
    ],
    exported: searchExport(found),
    file: `${header.run}-search`,
    note: header.large
      ? "So large a vocabulary is shown and downloaded with rounded numbers: search.parquet of the run has all their digits."
      : null,
    panel: (hooks) => makeSearchPanel(found, hooks),
  };
}

async function searchColumns(found, levels, pause) {
  const { header, columns, rows } = found;
  const whole = (i) => (found.name(i) === null ? `#${i}` : signed(found.name(i)) || "empty");
  const places = (column, count) => ({ buckets: { place: (i) => (column[i] < 0 ? null : column[i]), count } });
  const put = found.forms.length;
  const widest = new Map(); // by level
  for (const level of levels) {
    const wait = pause();
    if (wait) await wait;
    widest.set(level, [...longestOf(level.margins, brief).map((text) => `${text} (${level.most})`), "not found"]);
  }
  const input = (i, limit) => (found.shortest(i) ? promptNode(found, found.shortest(i), limit) : "–");
  return [
    { key: "id", title: "Id", kind: "num", need: 4, cell: String, samples: [String(rows - 1)], sort: { buckets: { place: (i) => i, count: rows } } },
    { key: "token", title: "Token", need: 3, least: 80, cell: (i) => tokenNode(found.name(i), 40, `#${i}`), full: whole, sort: { strings: found.name } },
    {
      key: "verdict", title: "Verdict", hint: "Verdict of the head", need: 2, cell: (i) => verdictNode(found.verdict(i)),
      samples: [...header.verdicts, null].map(verdictNode), sort: places(columns.verdict, header.verdicts.length),
    },
    {
      key: "head", title: "Head margin", hint: "Proved lower bound on the margin at the head, logits", kind: "num", need: 8,
      cell: (i) => (found.head(i) === null ? "–" : bound(found.head(i), -1)),
      samples: longestOf(columns.head_margin, (value) => bound(value, -1)), sort: { numbers: found.head },
    },
    {
      key: "first", title: "First failing", hint: "The loosest level at which no input was found", need: 1, cell: (i) => failing(found, i),
      samples: [...header.firsts.map((name) => LEVEL_HEADS[name] ?? name), "not asked", "none"], sort: places(columns.first, header.firsts.length),
    },
    ...levels.map((level, at) => ({
      key: level.name, title: LEVEL_HEADS[level.name] ?? level.name, kind: "num", need: 12 - at,
      hint: `Margin of the input found, logits, and its length: ${LEVEL_TITLES[level.name]}`,
      cell: (i) => levelCell(found, level, i),
      samples: widest.get(level),
      sort: { numbers: level.margin },
    })),
    {
      key: "input", title: "Input", hint: "The shortest input of real tokens that was found", need: 5, least: 96,
      cell: (i) => input(i, 40), full: (i) => input(i, Infinity).textContent ?? "–",
      sort: { strings: (i) => inputText(found, found.shortest(i)) },
    },
    { key: "steps", title: "Steps", hint: "Optimisation steps spent on the token", kind: "num", need: 13, cell: (i) => (found.sought(i) ? grouped(found.steps(i)) : "–"), samples: longestOf(columns.steps, grouped), sort: { numbers: found.steps } },
    ...(put ? [{
      key: "repeat", title: "Repeat", hint: "Forms of the repeat test that bring it back", kind: "num", need: 14,
      cell: (i) => (repeated(found, i) === null ? "–" : `${repeated(found, i)} of ${put}`), samples: [`${put} of ${put}`],
      sort: { buckets: { place: (i) => repeated(found, i), count: put + 1 } },
    }] : []),
  ];
}

function failing(found, i) {
  const first = found.first(i);
  if (first !== null) return LEVEL_HEADS[first] ?? first;
  return found.asked(i) ? "none" : "not asked";
}

function levelCell(found, level, i) {
  if (level.margin(i) === null) return found.sought(i) && level.hit(i) !== null ? "not found" : "–";
  const node = element("span", "", `${brief(level.margin(i))} (${level.length(i) ?? "?"})`);
  const by = level.witness(i) === level.name || level.witness(i) === null ? "" : `, by the input of ${LEVEL_TITLES[level.witness(i)]}`;
  node.title = `${level.margin(i)} logits, ${positions(level.length(i))}${by}`;
  return node;
}

function positions(count) {
  return `${count} ${count === 1 ? "position" : "positions"}`;
}

// A prompt by its text, or, without a tokenizer, by its tokens.
function promptNode(found, { ids, text }, limit) {
  if (text !== null) return tokenNode(text, limit);
  const node = element("span", "");
  for (const [at, id] of ids.entries()) node.append(at ? " " : "", tokenNode(found.name(id), 20, `#${id}`));
  return node;
}

function inputText(found, prompt) {
  return prompt && (prompt.text ?? prompt.ids.map((id) => `#${id}`).join(" "));
}

// How many forms of the repeat test brought a token back; null where it was not put.
function repeated(found, i) {
  const answers = found.forms.map(({ top }) => top(i)).filter((one) => one !== null);
  return answers.length ? answers.filter(Boolean).length : null;
}

async function searchFacets(found, levels, pause) {
  const { header, columns, rows } = found;
  const small = async (value) => {
    const codes = new Uint8Array(rows);
    await eachOf(rows, (i) => {
      codes[i] = value(i);
    }, pause);
    return codes;
  };
  // Names beyond these share a box with what is not known: no record of this program has them.
  const verdict = await small((i) => (columns.verdict[i] < 0 ? 255 : columns.verdict[i]));
  const first = await small((i) => (columns.first[i] >= 0 ? columns.first[i] : columns.asked[i] ? 254 : 255));
  const reached = new Uint32Array(rows);
  const count = new Uint32Array(levels.length + 1);
  await eachOf(rows, (i) => {
    for (let at = 0; at < levels.length; at++) if (!Number.isNaN(levels[at].margins[i])) reached[i] |= 1 << at;
    if (!reached[i] && found.sought(i)) reached[i] = 1 << levels.length;
    for (let at = 0; at <= levels.length; at++) count[at] += (reached[i] >> at) & 1;
  }, pause);
  const verdicts = countCodes(verdict);
  const firsts = countCodes(first);
  const asked = countCodes(columns.asked);
  const brought = await small((i) => repeated(found, i) ?? 255);
  const forms = countCodes(brought);
  return [
    { name: "verdict", title: "Verdict", column: verdict, boxes: header.verdicts.slice(0, 250).map((key, code) => ({ key, label: key, codes: [code], count: verdicts[code] })) },
    {
      name: "first", title: "First failing level", column: first,
      boxes: [
        ...header.firsts.slice(0, 250).map((key, code) => ({ key, label: LEVEL_TITLES[key] ?? key, codes: [code], count: firsts[code] })),
        { key: "none", label: "none", codes: [254], count: firsts[254] },
      ],
    },
    {
      name: "found", title: "Found at", bits: reached,
      boxes: [
        ...levels.map(({ name }, at) => ({ key: name, label: LEVEL_TITLES[name], codes: [at], count: count[at] })),
        { key: "never", label: "no level", codes: [levels.length], count: count[levels.length] },
      ],
    },
    // One box for all says nothing.
    { name: "asked", title: "Asked for", column: columns.asked, boxes: [1, 0].map((code) => ({ key: code ? "yes" : "no", label: code ? "yes" : "no", codes: [code], count: asked[0] && asked[1] ? asked[code] : 0 })) },
    {
      name: "repeat", title: "Repeated", column: brought,
      boxes: found.forms.length ? Array.from({ length: found.forms.length + 1 }, (_, times) => (
        { key: String(times), label: times ? `in ${times} of ${found.forms.length} forms` : "in no form", codes: [times], count: forms[times] }
      )) : [],
    },
  ];
}

// Those of search.parquet, and the shortest prompt of each token.
function searchExport(found) {
  const { order } = found.header;
  const best = (read) => (i) => {
    const prompt = found.shortest(i);
    return prompt && read(prompt);
  };
  return [
    { name: "token_id", type: "int32", read: (i) => i },
    { name: "token", type: "string", read: found.token },
    { name: "text", type: "string", read: found.text },
    { name: "asked", type: "boolean", read: found.asked },
    { name: "verdict", type: "string", read: found.verdict },
    { name: "head_margin", type: "double", read: found.head },
    { name: "first_failed", type: "string", read: found.first },
    { name: "steps", type: "int64", read: found.steps },
    ...order.map((name) => found.levels.get(name)).flatMap(({ name, hit, margin, own, length, witness, steps }) => [
      { name: `${name}_hit`, type: "boolean", read: hit },
      { name: `${name}_margin`, type: "double", read: margin },
      { name: `${name}_margin_own`, type: "double", read: own },
      { name: `${name}_length`, type: "int32", read: length },
      { name: `${name}_witness`, type: "string", read: witness },
      { name: `${name}_steps`, type: "int64", read: steps },
    ]),
    ...found.forms.flatMap(({ name, probability, top }) => [
      { name: `repeat_${name}_probability`, type: "double", read: probability },
      { name: `repeat_${name}_top`, type: "boolean", read: top },
    ]),
    { name: "input_level", type: "string", read: best(({ level }) => level) },
    { name: "input_ids", type: "string", read: best(({ ids }) => ids.join(" ")) },
    { name: "input_text", type: "string", read: best(({ text }) => text) },
    { name: "input_how", type: "string", read: best(({ how }) => how) },
  ];
}
