// What the table, the panel and the CSV know about a token: one small reader over the unpacked columns.
const CATEGORY_NAMES = ["own-direction", "hard-to-speak"];
const VERDICT_SIGNS = { speakable: "●", tied: "◐", unspeakable: "✕", undecided: "?" };

function makeTokens({ header, columns }) {
  const code = (column, names) => (i) => (column[i] === 255 ? null : names[column[i]]);
  const word = (column, names) => (i) => (column[i] < 0 ? null : names[column[i]]);
  const number = (column) => (i) => (Number.isNaN(column[i]) ? null : column[i]);
  const id = (column) => (i) => (column[i] < 0 ? null : column[i]);
  const speakable = header.verdicts.indexOf("speakable");
  const own = columns.own_direction;
  return {
    header,
    columns,
    rows: header.rows,
    token: stringColumn(columns.token_length, columns.token_units),
    text: stringColumn(columns.text_length, columns.text_units),
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
    margin: signedMargins(columns),
    blockers: (i) =>
      slicesOf(columns.hull_token, i, (at) => ({ row: columns.hull_row[at], weight: columns.hull_weight[at] })),
    nearest: (i) =>
      slicesOf(columns.nearest_token, i, (at) => ({
        row: columns.nearest_row[at],
        cosine: columns.nearest_cosine[at],
        distance: columns.nearest_distance[at],
      })),
  };
}

// One number per token for plots and ranges: at least so much where a point was found, else at most so much.
function signedMargins({ margin_lower, margin_upper }) {
  return Float64Array.from(margin_lower, (lower, i) => (Number.isNaN(lower) ? margin_upper[i] : lower));
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
