// Rows as CSV (RFC 4180) or as tab-separated text for the clipboard.

// Nothing between the commas is null; "" is the empty string.
function csvField(value, comma = ",") {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  const special = value === "" || value.includes(comma) || /["\r\n]|^\s|\s$/.test(value);
  return special ? `"${value.replaceAll('"', '""')}"` : value;
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
