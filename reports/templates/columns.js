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
    blockers: (i) => blockersOf(columns, i),
  };
}

function blockersOf({ hull_token, hull_row, hull_weight }, token) {
  let low = 0;
  let high = hull_token.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (hull_token[middle] < token) low = middle + 1;
    else high = middle;
  }
  const found = [];
  for (let at = low; at < hull_token.length && hull_token[at] === token; at++) {
    found.push({ row: hull_row[at], weight: hull_weight[at] });
  }
  return found;
}

// Four digits, rounded so that a lower bound stays below and an upper bound above the value.
function bound(value, direction) {
  if (value === null) return "–";
  if (value === 0 || !Number.isFinite(value)) return String(value).replaceAll("-", "−");
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) - 3);
  const near = Math.round(value / unit) * unit;
  const steps = value / unit;
  const exact = Math.abs(near - value) < unit * 1e-9;
  const kept = exact ? near : (direction < 0 ? Math.floor(steps) : Math.ceil(steps)) * unit;
  return kept.toPrecision(4).replaceAll("-", "−");
}

function decimal(value) {
  return value === null ? "–" : value.toPrecision(4).replaceAll("-", "−");
}

function grouped(value) {
  return value.toLocaleString("en-US");
}
