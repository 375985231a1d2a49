// The rows that the filters leave, in the order shown: copied, or downloaded with the columns of verdicts.parquet and
// what the tokens are, where the run says.
function exportColumns(t) {
  return [
    { name: "token_id", type: "int32", read: (i) => i },
    { name: "token", type: "string", read: t.token },
    { name: "text", type: "string", read: t.text },
    { name: "verdict", type: "string", read: t.verdict },
    { name: "evidence", type: "string", read: t.evidence },
    { name: "own_direction", type: "boolean", read: t.ownDirection },
    { name: "margin_lower", type: "double", read: t.lower },
    { name: "margin_upper", type: "double", read: t.upper },
    { name: "stage", type: "string", read: t.stage },
    { name: "runner_up_id", type: "int32", read: t.runnerUp },
    { name: "row_norm", type: "double", read: t.norm },
    { name: "reason", type: "string", read: t.reason },
    { name: "witness", type: "string", read: t.witness },
    { name: "argmax_id", type: "int32", read: t.argmax },
    { name: "winning_logit", type: "double", read: t.winningLogit },
    { name: "nearly_never", type: "string", read: t.nearlyNever },
    ...(t.header.categories.length ? categoryColumns(t) : []),
  ];
}

// As `reach export` writes them.
function categoryColumns(t) {
  const words = ({ key, detail, others }) => {
    const ids = others.length ? ` (${others.map((one) => `#${one}`).join(", ")})` : "";
    return detail === null ? `${key}${ids}` : `${key}: ${detail}${ids}`;
  };
  return [
    { name: "categories", type: "string", read: (i) => t.findings(i).map((one) => one.key).join(" ") },
    { name: "category_evidence", type: "string", read: (i) => t.findings(i).map(words).join("; ") || null },
  ];
}

function download(parts, type, name) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// The clipboard may be out of bounds for a file opened from disk; the old way then still works.
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea");
    area.value = text;
    area.className = "offscreen";
    area.setAttribute("aria-hidden", "true");
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) throw new Error("this browser does not let the page copy; download the CSV instead");
  }
}

function startExport(tokens, shown, say) {
  const columns = exportColumns(tokens);
  const name = `${tokens.header.run}-tokens`;
  document.getElementById("csv").addEventListener("click", () => {
    download(csvParts(columns, shown()), "text/csv;charset=utf-8", `${name}.csv`);
  });
  document.getElementById("parquet").addEventListener("click", () => {
    download([parquetBytes(columns, shown())], "application/vnd.apache.parquet", `${name}.parquet`);
  });
  document.getElementById("copy").addEventListener("click", async () => {
    try {
      await copyText(csvParts(columns, shown(), "\t").join(""));
      say(`Copied ${grouped(shown().length)} rows, ready to paste into a spreadsheet.`);
    } catch (problem) {
      say(`Nothing was copied: ${problem.message}`);
    }
  });
}
