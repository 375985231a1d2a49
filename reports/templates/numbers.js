// Numbers as readers see them.

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

// A margin as one number; with ≥ or ≤ where the other bound is far away or unknown.
function marginText({ value, direction, sign }) {
  return value === null ? "–" : `${sign ? `${sign} ` : ""}${bound(value, direction)}`;
}

function bracketText([lower, upper]) {
  if (lower === null && upper === null) return "not known";
  if (lower === null) return `at most ${bound(upper, 1)} logits`;
  if (upper === null) return `at least ${bound(lower, -1)} logits`;
  return lower === upper ? `exactly ${bound(lower, -1)} logits` : `${bound(lower, -1)} to ${bound(upper, 1)} logits`;
}

function decimal(value) {
  return value === null ? "–" : value.toPrecision(4).replaceAll("-", "−");
}

// Three digits, for tables with many columns.
function brief(value) {
  const small = value !== 0 && Math.abs(value) < 1e-3;
  return (small ? value.toExponential(2) : value.toPrecision(3)).replaceAll("-", "−");
}

function grouped(value) {
  return value.toLocaleString("en-US");
}

// How numbers of each size and sign look that there are among many: one of them is as wide as any. `mark` is what else
// makes a difference, as a number from 0 to 3.
function longestOf(values, words, mark = () => 0) {
  const seen = new Uint8Array(8 * 720);
  const found = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) continue;
    const size = value === 0 ? 400 : 400 + Math.floor(Math.log10(Math.abs(value))); // at least 400 − 324
    const kind = 8 * size + (value < 0 ? 4 : 0) + mark(i);
    if (seen[kind]) continue;
    seen[kind] = 1;
    found.push(words(value, i));
  }
  return found;
}

// How many of what there is are shown, in words; `noun` is of several.
function shownOf(count, all, noun) {
  if (count !== all) return `${grouped(count)} of ${grouped(all)} ${noun}`;
  return all === 1 ? `One ${noun.replace(/ies$/, "y").replace(/s$/, "")}` : `All ${grouped(all)} ${noun}`;
}
