// The rows in sight of the filters as CSV (RFC 4180): the columns and the values of verdicts.parquet.
function csvColumns(t) {
  return {
    token_id: (i) => i,
    token: t.token,
    text: t.text,
    verdict: t.verdict,
    evidence: t.evidence,
    own_direction: t.ownDirection,
    margin_lower: t.lower,
    margin_upper: t.upper,
    stage: t.stage,
    runner_up_id: t.runnerUp,
    row_norm: t.norm,
    reason: t.reason,
    witness: t.witness,
    argmax_id: t.argmax,
  };
}

// Nothing between the commas is null; "" is the empty string.
function csvField(value) {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  return value === "" || /[",\r\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

function csvBlob(tokens, order) {
  const columns = csvColumns(tokens);
  const readers = Object.values(columns);
  const parts = [Object.keys(columns).join(",") + "\r\n"];
  for (let at = 0; at < order.length; at += 4096) {
    let part = "";
    for (const i of order.subarray(at, at + 4096)) {
      part += readers.map((read) => csvField(read(i))).join(",") + "\r\n";
    }
    parts.push(part);
  }
  return new Blob(parts, { type: "text/csv;charset=utf-8" });
}

function download(blob, name) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
