// The order of the rows by one column. Orders are kept: a column is sorted once in each direction.
// Rows without a value come last in both directions; rows with equal values stay in the order of their ids.
function makeOrder(tokens) {
  const kept = new Map();

  function sorted(key, descending) {
    const { rows } = tokens;
    if (key === "id") {
      const whole = Uint32Array.from({ length: rows }, (_, i) => i);
      return descending ? whole.reverse() : whole;
    }
    const column = TABLE_COLUMNS.find((one) => one.key === key);
    const sign = descending ? -1 : 1;
    if (column.buckets) return byBucket(rows, column.buckets(tokens), descending);
    if (column.strings) return byString(rows, column.strings(tokens), sign);
    return byNumber(rows, column.numbers(tokens), sign);
  }

  return (key, descending) => {
    const name = `${key} ${descending}`;
    if (!kept.has(name)) kept.set(name, sorted(key, descending));
    return kept.get(name);
  };
}

// `all` gets the sorted rows from the front and those without a value, in turn, after them.
function split(rows, value, use) {
  const all = new Uint32Array(rows);
  const empty = [];
  let full = 0;
  for (let i = 0; i < rows; i++) {
    const found = value(i);
    if (found === null) {
      empty.push(i);
      continue;
    }
    use(i, found);
    all[full] = i;
    full += 1;
  }
  all.set(empty, full);
  return { all, front: all.subarray(0, full) };
}

function byNumber(rows, value, sign) {
  const keys = new Float64Array(rows);
  const { all, front } = split(rows, value, (i, found) => {
    keys[i] = sign * found;
  });
  front.sort((a, b) => keys[a] - keys[b] || a - b);
  return all;
}

// Few values, known beforehand: no comparisons at all. `place` names a row's bucket, null without a value.
function byBucket(rows, { place, count }, descending) {
  const last = count; // the bucket of rows without a value
  const bucket = (i) => {
    const found = place(i);
    if (found === null) return last;
    return descending ? count - 1 - found : found;
  };
  const starts = new Uint32Array(count + 2);
  for (let i = 0; i < rows; i++) starts[bucket(i) + 1] += 1;
  for (let at = 1; at < starts.length; at++) starts[at] += starts[at - 1];
  const all = new Uint32Array(rows);
  for (let i = 0; i < rows; i++) {
    const at = bucket(i);
    all[starts[at]] = i;
    starts[at] += 1;
  }
  return all;
}

// Three code units fit a float exactly, so six of them compare as two numbers; only longer ties compare as strings.
function byString(rows, value, sign) {
  const texts = new Array(rows);
  const first = new Float64Array(rows);
  const second = new Float64Array(rows);
  const unit = (text, at) => (at < text.length ? text.charCodeAt(at) + 1 : 0);
  const three = (text, at) => (unit(text, at) * 65537 + unit(text, at + 1)) * 65537 + unit(text, at + 2);
  const { all, front } = split(rows, value, (i, text) => {
    texts[i] = text;
    first[i] = sign * three(text, 0);
    second[i] = text.length > 3 ? sign * three(text, 3) : 0;
  });
  front.sort((a, b) => {
    const near = first[a] - first[b] || second[a] - second[b];
    if (near) return near;
    const left = texts[a];
    const right = texts[b];
    if (left.length < 7 && right.length < 7) return a - b;
    if (left === right) return a - b;
    return left < right ? -sign : sign;
  });
  return all;
}
