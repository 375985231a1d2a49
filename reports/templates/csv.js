// Rows as CSV (RFC 4180) or as tab-separated text for the clipboard.

// What a spreadsheet would take for a formula: = + - @ at the start (full width too), behind nothing but what cannot be
// seen, or a tab or a line's end there. Apostrophes before it count in, so that it can be told what was put in front.
const FORMULA = /^'*(?:[\t\r\n]|[\p{C}\p{Z}]*[=+\-@\uff1d\uff0b\uff0d\uff20])/u;

// Nothing between the commas is null; "" is the empty string. Numbers stay numbers. Of texts only those that a
// spreadsheet would calculate get an apostrophe in front; to read them back, drop one wherever FORMULA still fits.
function csvField(value, comma = ",") {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  const special = text === "" || text.includes(comma) || /["\r\n]|^\s|\s$/.test(text);
  return special ? `"${text.replaceAll('"', '""')}"` : text;
}

function csvParts(columns, rows, comma = ",") {
  const parts = [columns.map((column) => column.name).join(comma) + "\r\n"];
  for (let at = 0; at < rows.length; at += 4096) {
    let part = "";
    for (const i of rows.subarray(at, at + 4096)) {
      part += columns.map(({ read }) => csvField(read(i), comma)).join(comma) + "\r\n";
    }
    parts.push(part);
  }
  return parts;
}
