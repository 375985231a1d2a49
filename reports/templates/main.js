// Puts the parts of a scan's page together.
const byId = (id) => document.getElementById(id);

async function startPlots(tokens, table) {
  try {
    const Plotly = await loadPlotly();
    for (const hist of tokens.header.histograms) await startHistogram(Plotly, hist, table);
    await startSamplers(Plotly, tokens.header.samplers);
    const scatter = await startScatter(Plotly, tokens, { brushed: (range) => table.ranges.set(range), open: table.open });
    if (scatter) {
      scatter.mark(table.ranges.read());
      table.ranges.changed(scatter.mark);
    }
    document.documentElement.dataset.plots = "drawn";
  } catch (problem) {
    for (const id of ["scatter-note", "samplers-note"]) {
      if (byId(id)) byId(id).textContent = `The plots could not be drawn: ${problem.message}`;
    }
    document.documentElement.dataset.plots = "failed";
  }
}

// Plots wait until they come near, or until the page has nothing else to do.
function whenNear(node, act) {
  let done = false;
  const once = () => {
    if (done) return;
    done = true;
    watcher.disconnect();
    act();
  };
  const watcher = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && once(), { rootMargin: "600px" });
  watcher.observe(node);
  (window.requestIdleCallback ?? setTimeout)(once, { timeout: 4000 });
}

async function start() {
  startTheme();
  try {
    const unpacked = await unpack(byId("data").textContent);
    await nextTask();
    const tokens = makeTokens(unpacked);
    await nextTask();
    const table = await startTable(scanTable(tokens));
    whenNear(byId("margins"), () => startPlots(tokens, table));
  } catch (problem) {
    byId("loading").hidden = true;
    byId("failure").textContent = `The table could not be shown: ${problem.message}`;
    byId("failure").hidden = false;
  }
  performance.mark("reach-ready");
  document.documentElement.dataset.ready = "yes";
}

// Two frames: the page is painted before the work on the table begins.
requestAnimationFrame(() => setTimeout(start, 0));
