// The order of the rows. Each order is worked out once, as a rank per row; both directions follow from the ranks.
// Rows without a value come last in both directions; rows with equal values stay in the order of their ids.
//
// A sort is by `numbers` or by `strings`, functions of a row that give null without a value, or by `buckets`: few
// values known beforehand, { place: (row) => number of the bucket or null, count }.
const NO_RANK = 0xffffffff;
const UNITS = 65537; // code units, and one more for the end of a string

function makeOrder(rows, sorts) {
  const ranks = new Map();
  const kept = new Map();

  async function rank(key, pause) {
    if (!ranks.has(key)) {
      const { numbers, strings, buckets } = sorts.get(key);
      if (buckets) ranks.set(key, await rankBuckets(rows, buckets, pause));
      else if (strings) ranks.set(key, await rankStrings(rows, strings, pause));
      else ranks.set(key, await rankNumbers(rows, numbers, pause));
    }
    return ranks.get(key);
  }

  return async (key, descending, pause) => {
    const name = `${key} ${descending}`;
    if (!kept.has(name)) kept.set(name, await arranged(await rank(key, pause), descending, pause));
    return kept.get(name);
  };
}

// A row's rank is the number of rows that come before all rows with its value.
async function arranged(ranks, descending, pause) {
  const rows = ranks.length;
  const next = new Uint32Array(rows); // by rank: the place of the next row that has it
  let full = 0;
  await eachOf(rows, (i) => {
    if (ranks[i] === NO_RANK) return;
    next[ranks[i]] += 1;
    full += 1;
  }, pause);
  await eachOf(rows, (at) => {
    if (next[at]) next[at] = descending ? full - at - next[at] : at;
  }, pause);
  const order = new Uint32Array(rows);
  let empty = full;
  await eachOf(rows, (i) => {
    if (ranks[i] === NO_RANK) {
      order[empty] = i;
      empty += 1;
    } else {
      order[next[ranks[i]]] = i;
      next[ranks[i]] += 1;
    }
  }, pause);
  return order;
}

// The first place in sorted numbers that is not below a value.
function placeOf(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Sorting plain numbers needs no call back into the script, and puts what is not a number last.
async function sortedCopy(keys, pause) {
  const wait = pause();
  if (wait) await wait;
  return keys.slice().sort();
}

async function rankNumbers(rows, value, pause) {
  const keys = new Float64Array(rows);
  let full = 0;
  await eachOf(rows, (i) => {
    const found = value(i);
    keys[i] = found ?? NaN;
    if (!Number.isNaN(keys[i])) full += 1;
  }, pause);
  const sorted = (await sortedCopy(keys, pause)).subarray(0, full);
  const ranks = new Uint32Array(rows).fill(NO_RANK);
  await eachOf(rows, (i) => {
    if (!Number.isNaN(keys[i])) ranks[i] = placeOf(sorted, keys[i]);
  }, pause);
  return ranks;
}

async function rankBuckets(rows, { place, count }, pause) {
  const places = new Int32Array(rows);
  const starts = new Uint32Array(count + 1);
  await eachOf(rows, (i) => {
    places[i] = place(i) ?? -1;
    if (places[i] >= 0) starts[places[i] + 1] += 1;
  }, pause);
  for (let at = 1; at <= count; at++) starts[at] += starts[at - 1];
  return Uint32Array.from(places, (at) => (at < 0 ? NO_RANK : starts[at]));
}

// By code units: rows that agree so far are told apart by the next few of them, which with their rank make one number
// that a double holds exactly.
async function rankStrings(rows, value, pause) {
  const texts = new Array(rows);
  const ranks = new Uint32Array(rows).fill(NO_RANK);
  let tied = new Uint32Array(rows);
  let count = 0;
  await eachOf(rows, (i) => {
    texts[i] = value(i);
    if (texts[i] === null) return;
    ranks[i] = 0;
    tied[count] = i;
    count += 1;
  }, pause);
  const few = rows < 2 ** 20 ? 2 : 1; // units at a time
  const unit = (text, at) => (at < text.length ? text.charCodeAt(at) + 1 : 0);
  for (let at = 0; count > 1; at += few) {
    const keys = new Float64Array(count);
    await eachOf(count, (one) => {
      const text = texts[tied[one]];
      const first = ranks[tied[one]] * UNITS + unit(text, at);
      keys[one] = few === 2 ? first * UNITS + unit(text, at + 1) : first;
    }, pause);
    const sorted = await sortedCopy(keys, pause);
    const still = new Uint32Array(count);
    let left = 0;
    await eachOf(count, (one) => {
      const i = tied[one];
      const place = placeOf(sorted, keys[one]);
      const start = placeOf(sorted, ranks[i] * UNITS ** few); // of the rows that agreed before
      ranks[i] += place - start;
      if (sorted[place + 1] === keys[one] && unit(texts[i], at + few - 1)) {
        still[left] = i;
        left += 1;
      }
    }, pause);
    tied = still;
    count = left;
  }
  return ranks;
}
