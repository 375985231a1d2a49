// Axes for margins. A signed log axis keeps the sign and shows small sizes apart: zero stays in the middle.
function linearScale() {
  return { to: (value) => value, back: (place) => place, ticks: (low, high) => evenTicks(low, high) };
}

function signedLogScale(unit) {
  const to = (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / unit);
  const back = (place) => Math.sign(place) * unit * (10 ** Math.abs(place) - 1);
  return { to, back, ticks: (low, high) => logTicks(low, high, to) };
}

// Some thousand of many values, evenly taken: enough to tell where most of them lie.
function sampled(values) {
  const step = Math.max(1, Math.floor(values.length / 8192));
  return Float64Array.from({ length: Math.ceil(values.length / step) }, (_, at) => values[at * step]);
}

// A signed log axis where the sizes spread over many decades, with the unit below most of them; else null.
function helpfulLogScale(values) {
  const sizes = sampled(values).map(Math.abs).filter((size) => size > 0).sort();
  if (sizes.length < 2) return null;
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const small = Math.max(sizes[Math.floor(sizes.length * 0.01)], largest * 1e-6);
  return largest > 30 * small ? signedLogScale(10 ** Math.floor(Math.log10(small))) : null;
}

function evenTicks(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

// Round sizes in sight: whole decades, or with 2 and 5 between them when few decades are; never so close as to touch.
function logTicks(low, high, to) {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const inside = (values) => values.filter((value) => value >= low && value <= high);
  for (const factors of [[1], [1, 2, 5]]) {
    const sizes = [];
    for (let power = -12; power <= Math.log10(size) + 1; power++) {
      for (const factor of factors) sizes.push(Number(`${factor}e${power}`));
    }
    const ticks = inside([...sizes.map((one) => -one).reverse(), 0, ...sizes]);
    const gap = (to(high) - to(low)) / 16;
    // From zero outwards, so that zero and the largest sizes keep their labels.
    const kept = [];
    for (const tick of [...ticks].sort((a, b) => (a === 0 ? -1 : b === 0 ? 1 : Math.abs(b) - Math.abs(a)))) {
      if (kept.every((other) => Math.abs(to(other) - to(tick)) >= gap)) kept.push(tick);
    }
    if (kept.length >= 4) return kept.sort((a, b) => a - b);
  }
  return evenTicks(low, high);
}

function tickText(value) {
  return String(Number(value.toPrecision(6))).replaceAll("-", "−");
}
