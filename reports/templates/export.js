// The rows that the filters leave, in the order shown: copied, or downloaded.
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

function startExport(columns, name, shown, say) {
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
