// What the table, the panel and the downloads know about a token: one small reader over the unpacked columns.
const CATEGORY_NAMES = ["own-direction", "hard-to-speak"];

const known = (value) => (Number.isNaN(value) ? null : value);

// Both bounds of a margin with what is known apart from them (without offsets all logits can be equal), and one signed
// number: the bound that proves the verdict. Its sign says which bound it is where the two lie far apart.
function marginReader({ header, columns }) {
  const { margin_lower: lower, margin_upper: upper, verdict } = columns;
  const unspeakable = header.verdicts.indexOf("unspeakable");
  const low = (i) => (header.floor && verdict[i] !== 255 && !(lower[i] >= 0) ? 0 : lower[i]);
  const above = (i) => !Number.isNaN(upper[i]) && (verdict[i] === unspeakable || Number.isNaN(low(i)));
  const close = (i) => upper[i] - low(i) <= header.close * Math.max(Math.abs(low(i)), Math.abs(upper[i]));
  return {
    margin: Float64Array.from(verdict, (_, i) => (above(i) ? upper[i] : low(i))),
    bracket: (i) => [known(low(i)), known(upper[i])],
    single: (i) => {
      const isAbove = above(i);
      const value = known(isAbove ? upper[i] : low(i));
      return { value, direction: isAbove ? 1 : -1, sign: close(i) ? "" : isAbove ? "≤" : "≥" };
    },
  };
}

// What a token is: a bit for each category, and the evidence in the order of the catalogue.
function categoryReader({ header, columns }) {
  const { category_token: token, category_code: code, category_detail: detail } = columns;
  const { category_start: start, category_other: other } = columns;
  const kinds = new Uint32Array(header.rows);
  for (let at = 0; at < token.length; at++) kinds[token[at]] |= 1 << code[at];
  return {
    kinds,
    findings: (i) =>
      slicesOf(token, i, (at) => ({
        ...header.categories[code[at]],
        detail: detail[at] < 0 ? null : header.category_details[detail[at]],
        others: [...other.subarray(start[at], start[at + 1])],
      })),
  };
}

// What other studies of the run say of a token; null where the run has none.
function studyReader({ header, columns }) {
  const prompt = columns.prompt_length ? stringColumn(columns.prompt_length, columns.prompt_units) : () => null;
  return {
    // The strictest level that reached it (as words, null where none did) and the input there; null where not sought.
    reached: (i) => {
      const at = header.search ? columns.search_reached[i] : 255;
      if (at === 255) return null;
      return at === 254 ? { level: null, words: null, prompt: null } : { level: header.search.levels[at], words: header.search.words[at], prompt: prompt(i) };
    },
    // Backends that were wrong about it, of those compared; null where it was not in their sample.
    wrongBackends: (i) => header.compared?.wrong[i] ?? null,
    // Indicators of under-training that count it among their most suspect.
    suspects: (i) =>
      header.suspects === null ? null : slicesOf(columns.suspect_token, i, (at) => ({
        name: header.suspects[columns.suspect_code[at]], rank: columns.suspect_rank[at],
      })),
  };
}

function makeTokens({ header, columns }) {
  const code = (column, names) => (i) => (column[i] === 255 ? null : names[column[i]]);
  const word = (column, names) => (i) => (column[i] < 0 ? null : names[column[i]]);
  const number = (column) => (i) => known(column[i]);
  const id = (column) => (i) => (column[i] < 0 ? null : column[i]);
  const speakable = header.verdicts.indexOf("speakable");
  const own = columns.own_direction;
  return {
    header,
    columns,
    rows: header.rows,
    ...stringsOf(columns),
    verdict: code(columns.verdict, header.verdicts),
    evidence: code(columns.evidence, header.evidences),
    ownDirection: (i) => (own[i] === 255 ? null : own[i] === 1),
    // 0 own-direction, 1 hard-to-speak, -1 neither: both are words for speakable tokens only.
    category: (i) => (columns.verdict[i] === speakable && own[i] !== 255 ? 1 - own[i] : -1),
    lower: number(columns.margin_lower),
    upper: number(columns.margin_upper),
    norm: number(columns.row_norm),
    runnerUp: id(columns.runner_up_id),
    argmax: id(columns.argmax_id),
    stage: word(columns.stage, header.stages),
    reason: word(columns.reason, header.reasons),
    witness: word(columns.witness, header.witnesses),
    winningLogit: number(columns.winning_logit),
    nearlyNever: code(columns.nearly_never, header.formats),
    ...marginReader({ header, columns }),
    ...categoryReader({ header, columns }),
    ...studyReader({ header, columns }),
    ceiling: (i) => [columns.ceiling_lower, columns.ceiling_upper].map((side) => (side.length ? known(side[i]) : null)),
    served: (i) =>
      header.served
        .map((name) => [name, code(columns[`served_${name}`], header.served_classes)(i)])
        .filter(([, said]) => said !== null),
    silenced: (i) => slicesOf(columns.silenced_token, i, (at) => columns.silenced_count[at])[0] ?? 0,
    silencers: (i) =>
      slicesOf(columns.silenced_pair, i, (at) => ({ row: columns.silenced_by[at], bound: columns.silenced_bound[at] })),
    blockers: (i) =>
      slicesOf(columns.hull_token, i, (at) => ({ row: columns.hull_row[at], weight: columns.hull_weight[at] })),
    // Blockers that prove it by themselves, fewer than those of the whole proof.
    few: (i) =>
      slicesOf(columns.few_token, i, (at) => ({
        row: columns.few_row[at], weight: columns.few_weight[at], bound: columns.few_bound[at],
      })),
    nearest: (i) =>
      slicesOf(columns.nearest_token, i, (at) => ({
        row: columns.nearest_row[at],
        cosine: columns.nearest_cosine[at],
        distance: columns.nearest_distance[at],
      })),
  };
}

// The entries of one token in a table that is sorted by token.
function slicesOf(sorted, token, entry) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < token) low = middle + 1;
    else high = middle;
  }
  const found = [];
  for (let at = low; at < sorted.length && sorted[at] === token; at++) found.push(entry(at));
  return found;
}
