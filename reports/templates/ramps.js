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

// A step of the ramp for each number of a typed array, RAMP_STEPS where there is none; and what its ends stand for.
function ramped(values, name) {
  const found = values.filter(Number.isFinite);
  if (!found.length) return null;
  const [low, high] = commonEnds(found);
  const split = name === "div";
  const scale = helpfulLogScale(found) ?? linearScale();
  const reach = Math.max(Math.abs(scale.to(low)), Math.abs(scale.to(high)));
  const [from, to] = split ? [-reach, reach] : [scale.to(low), scale.to(high)];
  const codes = new Uint8Array(values.length).fill(RAMP_STEPS);
  for (let i = 0; i < codes.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    const share = (scale.to(values[i]) - from) / (to - from || 1);
    codes[i] = Math.max(0, Math.min(RAMP_STEPS - 1, Math.floor(share * RAMP_STEPS)));
  }
  return { codes, labels: [from, to].map(scale.back) };
}
