// Dots drawn by WebGL, all of them in one call (while they move slowly, an even part of each group). Libraries that do this build functions from text, which the page's
// policy forbids; it is not much to write.
const MOST_GROUPS = 32;
const SHAPES = ["circle", "square", "diamond", "triangle", "cross", "plus", "ring", "wedge"];

// `code` is the group, and whether the dot is faded.
const VERTEX = `
attribute vec2 place;
attribute vec2 code;
uniform vec2 from, size;
uniform vec4 colours[${MOST_GROUPS}];
uniform vec2 looks[${MOST_GROUPS}];
varying vec4 colour;
varying float shape, pixels;
void main() {
  int group = int(code.x + 0.5);
  pixels = looks[group].x;
  shape = looks[group].y;
  colour = colours[group];
  if (code.y > 0.5) colour *= 0.14;
  gl_Position = pixels > 0.0 ? vec4((place - from) / size * 2.0 - 1.0, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = pixels;
}`;

// How far a pixel lies from the middle of its dot, in the dot's own measure: 1 is the rim.
const FRAGMENT = `
precision mediump float;
varying vec4 colour;
varying float shape, pixels;
void main() {
  if (pixels < 3.0) {
    gl_FragColor = colour;
    return;
  }
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  vec2 side = abs(at);
  vec2 turned = abs(vec2(at.x + at.y, at.x - at.y)) * 0.7071;
  float rim;
  if (shape < 0.5) rim = length(at);
  else if (shape < 1.5) rim = max(side.x, side.y) * 1.18;
  else if (shape < 2.5) rim = side.x + side.y;
  else if (shape < 3.5) rim = max(at.y * 1.1, 0.45 + side.x - at.y * 0.55);
  else if (shape < 4.5) rim = max(max(turned.x, turned.y), min(turned.x, turned.y) * 3.4);
  else if (shape < 5.5) rim = max(max(side.x, side.y), min(side.x, side.y) * 3.4);
  else if (shape < 6.5) rim = max(length(at), 2.0 - 1.9 * length(at));
  else rim = max(-at.y * 1.1, 0.45 + side.x + at.y * 0.55);
  float cover = clamp((1.0 - rim) * pixels * 0.5 + 0.5, 0.0, 1.0);
  if (cover <= 0.0) discard;
  gl_FragColor = colour * cover;
}`;

// A painter on a canvas, or null where there is no WebGL.
function glPainter(canvas) {
  // The buffer is kept, since paper and screenshots may ask for it at any time.
  const gl = canvas.getContext("webgl", { antialias: false, depth: false, preserveDrawingBuffer: true });
  if (!gl || gl.isContextLost()) return null;
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  // Asking for anything of a program waits until it is compiled, which may take long; this says whether it is.
  const compiled = gl.getExtension("KHR_parallel_shader_compile")?.COMPLETION_STATUS_KHR;
  const uniforms = {};
  const buffers = {};
  let count = 0;
  let set = false;

  function setUp() {
    set = true;
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return;
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (const name of ["from", "size", "colours", "looks"]) uniforms[name] = gl.getUniformLocation(program, name);
    for (const [name, kind] of [["place", gl.FLOAT], ["code", gl.UNSIGNED_BYTE]]) {
      buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
      const at = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, 2, kind, false, 0, 0);
    }
  }

  return {
    kind: "webgl",
    // Whether it can paint: "yes", "wait" or "no".
    state() {
      if (!set && compiled && !gl.getProgramParameter(program, compiled)) return "wait";
      if (!set) setUp();
      return uniforms.from ? "yes" : "no";
    },
    // Places in shares of the whole, in the order of painting; and two bytes per dot (see `code`).
    load(places, codes) {
      count = codes.length / 2;
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.place);
      gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.code);
      gl.bufferData(gl.ARRAY_BUFFER, codes, gl.DYNAMIC_DRAW);
    },
    recode(codes) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers.code);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, codes);
    },
    // `look.from` and `look.size` in shares of the whole; for each group a colour of four parts, and its size in pixels
    // with its shape. `look.parts`, where not all are to be drawn: where runs of dots start, and how many each has.
    paint(look) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2fv(uniforms.from, look.from);
      gl.uniform2fv(uniforms.size, look.size);
      gl.uniform4fv(uniforms.colours, look.colours);
      gl.uniform2fv(uniforms.looks, look.looks);
      if (!look.parts) {
        gl.drawArrays(gl.POINTS, 0, count);
        return count;
      }
      for (const [start, some] of look.parts) gl.drawArrays(gl.POINTS, start, some);
      return look.parts.reduce((sum, [, some]) => sum + some, 0);
    },
  };
}
