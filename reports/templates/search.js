// Puts the parts of the search page together.
const byId = (id) => document.getElementById(id);

// Each plot is drawn when it comes near; the first one unpacks the library.
function startSearchPlots(found, table) {
  const contest = startContest(found, () => drawContest());
  const drawContest = () => redraw("plot-contest");
  const figures = new Map([
    ...(contest ? [["plot-contest", (look) => contestFigure(found, look, ...contest())]] : []),
    ["plot-curve", (look) => curveFigure(found, look)],
    ["plot-margins", (look) => marginsFigure(found, look)],
    ["plot-effort", (look) => effortFigure(found, look)],
  ]);
  const drawn = new Set();

  async function redraw(id) {
    if (drawn.has(id)) await drawPlot(await loadPlotly(), byId(id), figures.get(id)(looks()));
  }

  async function first(id) {
    try {
      const Plotly = await loadPlotly();
      await drawPlot(Plotly, byId(id), figures.get(id)(looks()));
      drawn.add(id);
      if (id === "plot-effort") byId(id).on("plotly_click", ({ points }) => table.open(points[0].customdata));
      if (drawn.size === figures.size) document.documentElement.dataset.plots = "drawn";
    } catch (problem) {
      byId("plot-note").textContent = `The plots could not be drawn: ${problem.message}`;
      document.documentElement.dataset.plots = "failed";
    }
  }

  const watcher = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      first(target.id);
    }
  }, { rootMargin: "300px" });
  for (const id of figures.keys()) watcher.observe(byId(id));
  onTheme(() => figures.forEach((_, id) => redraw(id)));
}

async function start() {
  startTheme();
  try {
    const unpacked = await unpack(byId("data").textContent, makePause());
    await nextTask();
    const found = makeSearched(unpacked);
    await nextTask();
    const table = await startTable(searchTable(found));
    startSearchPlots(found, table);
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
