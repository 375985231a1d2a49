// Colours for numbers: from small to large, or from both sides to a middle. Lightness alone tells the order.
const RAMP_STEPS = 24;

function rampColours(name) {
  const stops = [0, 1, 2, 3, 4].map((at) => colourParts(`${name}-${at}`));
  return Array.from({ length: RAMP_STEPS }, (_, step) => {
    const place = (step / (RAMP_STEPS - 1)) * (stops.length - 1);
    const at = Math.min(stops.length - 2, Math.floor(place));
    return [0, 1, 2].map((part) => Math.round(255 * (stops[at][part] + (stops[at + 1][part] - stops[at][part]) * (place - at))));
  });
}

// The values that a hundredth lies below and above, so that a few far ones do not take all the colours.
function commonEnds(values) {
  const sorted = sampled(values).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  return [at(0.01), at(0.99)];
}

function sharesOfWhole(found, scale) {
  const labels = commonEnds(found);
  const [from, to] = labels.map(scale.to);
  return { labels, of: (value) => (scale.to(value) - from) / (to - from || 1) };
}

// Half of the ramp for each sign, however far the two sides reach. No value above 0 has a colour of the other half.
function sharesOfSides(found, scale) {
  const ends = [commonEnds(found.filter((value) => value < 0))[0], commonEnds(found.filter((value) => value >= 0))[1]];
  const labels = [ends[0] ?? 0, 0, ends[1] ?? 0];
  const reach = [scale.to(labels[0]) || -1, scale.to(labels[2]) || 1];
  const of = (value) => {
    const part = Math.min(1, scale.to(value) / reach[value < 0 ? 0 : 1]);
    return value < 0 ? 0.5 * (1 - part) - 1e-9 : 0.5 * (1 + part);
  };
  return { labels, of };
}

// A step of the ramp for each number of a typed array, RAMP_STEPS where there is none; and what its ends stand for.
function ramped(values, name) {
  const found = values.filter(Number.isFinite);
  if (!found.length) return null;
  const scale = helpfulLogScale(found) ?? linearScale();
  const share = name === "div" ? sharesOfSides(found, scale) : sharesOfWhole(found, scale);
  const codes = new Uint8Array(values.length).fill(RAMP_STEPS);
  for (let i = 0; i < codes.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    codes[i] = Math.max(0, Math.min(RAMP_STEPS - 1, Math.floor(share.of(values[i]) * RAMP_STEPS)));
  }
  return { codes, labels: share.labels };
}
