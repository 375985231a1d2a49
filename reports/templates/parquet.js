// Writes Parquet files: one row group, one page per column, plain encoding, no compression.
// Columns are { name, type: "int32" | "int64" | "boolean" | "double" | "string", read: (i) => value or null }.
const PARQUET_TYPES = { boolean: 0, int32: 1, int64: 2, double: 5, string: 6 };
const PARQUET_MAGIC = [80, 65, 82, 49]; // "PAR1"

// Bytes that grow. Thrift's compact protocol needs no more than these few kinds of values.
function byteWriter() {
  let bytes = new Uint8Array(1 << 16);
  let size = 0;
  const room = (more) => {
    if (size + more <= bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * bytes.length, size + more));
    larger.set(bytes.subarray(0, size));
    bytes = larger;
  };
  const writer = {
    get size() {
      return size;
    },
    byte(value) {
      room(1);
      bytes[size] = value;
      size += 1;
    },
    put(block) {
      room(block.length);
      bytes.set(block, size);
      size += block.length;
    },
    uint32(value) {
      writer.put([value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24]);
    },
    // Division instead of shifts: sizes may pass 2³¹.
    varint(value) {
      let rest = value;
      while (rest > 127) {
        writer.byte((rest % 128) | 128);
        rest = Math.floor(rest / 128);
      }
      writer.byte(rest);
    },
    done: () => bytes.slice(0, size),
  };
  return writer;
}

// Thrift values as [kind, value]; structs list their fields as { number: value }.
const thrift = {
  i32: (value) => ({ kind: 5, write: (out) => out.varint(2 * value) }),
  i64: (value) => ({ kind: 6, write: (out) => out.varint(2 * value) }),
  text: (value) => ({
    kind: 8,
    write: (out) => {
      const bytes = new TextEncoder().encode(value);
      out.varint(bytes.length);
      out.put(bytes);
    },
  }),
  list: (kind, values) => ({
    kind: 9,
    write: (out) => {
      if (values.length < 15) out.byte((values.length << 4) | kind);
      else {
        out.byte(0xf0 | kind);
        out.varint(values.length);
      }
      for (const value of values) value.write(out);
    },
  }),
  struct: (fields) => ({
    kind: 12,
    write: (out) => {
      let last = 0;
      for (const [number, value] of Object.entries(fields)) {
        out.byte(((number - last) << 4) | value.kind);
        value.write(out);
        last = Number(number);
      }
      out.byte(0);
    },
  }),
};

// Definition levels (is there a value?) as one bit-packed run, then the values that are there.
function parquetPage({ type, read }, rows) {
  const levels = new Uint8Array(Math.ceil(rows.length / 8));
  const values = byteWriter();
  const encoder = new TextEncoder();
  const number = new DataView(new ArrayBuffer(8));
  const view = new Uint8Array(number.buffer);
  let bits = 0;
  let full = 0;
  for (let at = 0; at < rows.length; at++) {
    const value = read(rows[at]);
    if (value === null) continue;
    levels[at >> 3] |= 1 << (at & 7);
    if (type === "string") {
      const text = encoder.encode(value);
      values.uint32(text.length);
      values.put(text);
    } else if (type === "int32") values.uint32(value);
    else if (type === "int64") {
      number.setBigInt64(0, BigInt(value), true);
      values.put(view);
    } else if (type === "double") {
      number.setFloat64(0, value, true);
      values.put(view);
    } else {
      bits |= Number(value) << (full & 7);
      if ((full & 7) === 7) {
        values.byte(bits);
        bits = 0;
      }
    }
    full += 1;
  }
  if (type === "boolean" && full & 7) values.byte(bits);
  const page = byteWriter();
  const run = byteWriter();
  run.varint(levels.length * 2 + 1);
  run.put(levels);
  page.uint32(run.size);
  page.put(run.done());
  page.put(values.done());
  return page.done();
}

function parquetBytes(columns, rows) {
  const { i32, i64, text, list, struct } = thrift;
  const file = byteWriter();
  file.put(PARQUET_MAGIC);
  const chunks = [];
  let total = 0;
  for (const column of columns) {
    const page = parquetPage(column, rows);
    const start = file.size;
    const data = struct({ 1: i32(rows.length), 2: i32(0), 3: i32(3), 4: i32(3) });
    struct({ 1: i32(0), 2: i32(page.length), 3: i32(page.length), 5: data }).write(file);
    file.put(page);
    const size = file.size - start;
    total += size;
    const meta = struct({
      1: i32(PARQUET_TYPES[column.type]), 2: list(5, [i32(0), i32(3)]), 3: list(8, [text(column.name)]), 4: i32(0),
      5: i64(rows.length), 6: i64(size), 7: i64(size), 9: i64(start),
    });
    chunks.push(struct({ 2: i64(start), 3: meta }));
  }
  const root = struct({ 4: text("schema"), 5: i32(columns.length) });
  const leaves = columns.map(({ name, type }) =>
    struct({ 1: i32(PARQUET_TYPES[type]), 3: i32(1), 4: text(name), ...(type === "string" ? { 6: i32(0) } : {}) })
  );
  const group = struct({ 1: list(12, chunks), 2: i64(total), 3: i64(rows.length) });
  const footer = file.size;
  struct({
    1: i32(1), 2: list(12, [root, ...leaves]), 3: i64(rows.length), 4: list(12, [group]),
    6: text("token-reachability report"),
  }).write(file);
  file.uint32(file.size - footer);
  file.put(PARQUET_MAGIC);
  return file.done();
}
