// Dots drawn without WebGL: of those that would cover each other, one for each small cell and group.
const MOST_FLAT_DOTS = 12000;
// Outlines of the shapes in a square from -1 to 1, downwards; a pair of true ones is drawn as lines.
const OUTLINES = {
  square: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  diamond: [[0, -1], [1, 0], [0, 1], [-1, 0]],
  triangle: [[0, -0.85], [1, 0.9], [-1, 0.9]],
  wedge: [[0, 0.85], [1, -0.9], [-1, -0.9]],
};
const STROKES = {
  cross: [[[-0.7, -0.7], [0.7, 0.7]], [[-0.7, 0.7], [0.7, -0.7]]],
  plus: [[[-1, 0], [1, 0]], [[0, -1], [0, 1]]],
};

// A shape as path commands around a place, for canvases and for SVG alike; `hollow` ones are lines.
function shapePath(shape, x, y, radius) {
  const at = ([dx, dy]) => `${x + dx * radius} ${y + dy * radius}`;
  if (OUTLINES[shape]) return `M${OUTLINES[shape].map(at).join("L")}Z`;
  if (STROKES[shape]) return STROKES[shape].map((line) => `M${line.map(at).join("L")}`).join("");
  return `M${x - radius} ${y}a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0`;
}

const isHollow = (shape) => shape === "ring" || shape in STROKES;

function flatPainter(canvas) {
  const pen = canvas.getContext("2d");
  let places = new Float32Array(0);
  let codes = new Uint8Array(0);

  function thinned({ from, size, looks }, width, height) {
    for (let cell = 2; ; cell *= 1.5) {
      const across = Math.ceil(width / cell);
      const down = Math.ceil(height / cell);
      const taken = new Uint8Array(across * down * MOST_GROUPS);
      const found = [];
      for (let i = 0; i * 2 < codes.length && found.length <= MOST_FLAT_DOTS; i++) {
        const group = codes[2 * i];
        const x = (places[2 * i] - from[0]) / size[0];
        const y = (places[2 * i + 1] - from[1]) / size[1];
        if (!looks[2 * group] || !(x >= 0 && x <= 1 && y >= 0 && y <= 1)) continue;
        const at = (group * down + Math.min(down - 1, Math.floor(y * down))) * across + Math.min(across - 1, Math.floor(x * across));
        // A dot that stands out is worth its place beside a faded one.
        if (taken[at] > (codes[2 * i + 1] ? 0 : 1)) continue;
        taken[at] = codes[2 * i + 1] ? 1 : 2;
        found.push(i);
      }
      if (found.length <= MOST_FLAT_DOTS) return found;
    }
  }

  return {
    kind: "canvas",
    state: () => "yes",
    load(newPlaces, newCodes) {
      places = newPlaces;
      codes = newCodes;
    },
    recode(newCodes) {
      codes = newCodes;
    },
    paint(look) {
      const { width, height } = canvas;
      pen.clearRect(0, 0, width, height);
      const found = thinned(look, width, height);
      for (const i of found) {
        const group = codes[2 * i];
        const [red, green, blue, alpha] = look.colours.subarray(4 * group, 4 * group + 4);
        const part = (value) => Math.round((255 * value) / (alpha || 1));
        const radius = Math.max(1, look.looks[2 * group] / 2);
        const shape = SHAPES[look.looks[2 * group + 1]];
        const x = ((places[2 * i] - look.from[0]) / look.size[0]) * width;
        const y = (1 - (places[2 * i + 1] - look.from[1]) / look.size[1]) * height;
        pen.globalAlpha = alpha * (codes[2 * i + 1] ? 0.14 : 1);
        const path = new Path2D(shapePath(shape, x, y, radius));
        pen.strokeStyle = `rgb(${part(red)} ${part(green)} ${part(blue)})`;
        pen.fillStyle = pen.strokeStyle;
        pen.lineWidth = Math.max(1, radius / 2);
        if (isHollow(shape)) pen.stroke(path);
        else pen.fill(path);
      }
      return found.length;
    },
  };
}
