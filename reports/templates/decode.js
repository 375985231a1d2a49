// Unpacks the columns; reports/pack.py describes the layout.
const ARRAYS = { Uint8Array, Uint16Array, Uint32Array, Int32Array, Float32Array, Float64Array };
const NO_STRING = 0xffffffff;
const SAME_STRING = 0xfffffffe;
const SPACED_STRING = 0xfffffffd;

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function inflate(text) {
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old to unpack it (it has no DecompressionStream)");
  }
  const stream = new Blob([fromBase64(text.trim())]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// Numbers that lie byte by byte: all first bytes, all second ones.
function gathered(array) {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const made = new Uint8Array(bytes.length);
  const size = array.BYTES_PER_ELEMENT;
  for (let byte = 0, from = 0; byte < size; byte++) {
    for (let at = byte; at < made.length; at += size, from++) made[at] = bytes[from];
  }
  return new array.constructor(made.buffer);
}

async function unpack(text, pause = () => null) {
  const buffer = await inflate(text);
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const start = Math.ceil((4 + size) / 8) * 8;
  const columns = {};
  for (const [name, { kind, offset, length, form }] of Object.entries(header.columns)) {
    const wait = pause();
    if (wait) await wait;
    const array = new ARRAYS[kind](buffer, start + offset, length);
    columns[name] = form === "plain" ? array : gathered(array);
    if (form === "steps") for (let at = 1; at < length; at++) columns[name][at] += columns[name][at - 1];
  }
  return { header, columns };
}

// A getter of single strings. Slices of one long string cost next to nothing, so all rows can be had at once.
// `special` says what lengths of the largest numbers stand for, if not for none: functions of a row.
function stringColumn(lengths, units, special = {}) {
  const parts = [];
  for (let at = 0; at < units.length; at += 8192) {
    parts.push(String.fromCharCode.apply(null, units.subarray(at, at + 8192)));
  }
  const whole = parts.join("");
  const none = NO_STRING - Object.keys(special).length;
  const starts = new Uint32Array(lengths.length + 1);
  for (let i = 0; i < lengths.length; i++) starts[i + 1] = starts[i] + (lengths[i] >= none ? 0 : lengths[i]);
  return (i) => {
    const length = lengths[i];
    if (length < none) return whole.slice(starts[i], starts[i + 1]);
    return length === NO_STRING ? null : special[length](i);
  };
}

// Pieces, and texts that mostly follow from them.
function stringsOf(columns) {
  const token = stringColumn(columns.token_length, columns.token_units);
  const text = stringColumn(columns.text_length, columns.text_units, {
    [SAME_STRING]: token,
    [SPACED_STRING]: (i) => token(i).replace(/[Ġ▁]/g, " "),
  });
  return { token, text };
}
