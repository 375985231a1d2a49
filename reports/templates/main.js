// Puts the parts of a scan's page together.
const byId = (id) => document.getElementById(id);

// A click on a bar of a histogram shows its tokens.
const BAR_FILTERS = { unspeakable: "verdict-unspeakable", hard: "category-hard", speakable: "category-own" };
function startBars(histograms, { show }) {
  for (const [key, { edges, negative }] of Object.entries(histograms)) {
    byId(`hist-${key}`).addEventListener("click", (event) => {
      const bar = event.target.closest("rect.bin");
      if (!bar) return;
      const at = Number(bar.dataset.at);
      // The bin next to zero also holds what lies closer to it.
      const [from, to] = [at === 0 ? 0 : edges[at], edges[at + 1]];
      show(BAR_FILTERS[key], { margin: negative ? [-to, -from] : [from, to], norm: [null, null] });
    });
  }
}

async function startPlots(tokens, table) {
  try {
    const scatter = await startScatter(tokens, { brushed: (range) => table.ranges.set(range), open: (token) => table.open(token) });
    if (scatter) {
      scatter.mark(table.ranges.read());
      table.ranges.changed((range) => scatter.mark(range));
      table.watch(scatter.ring);
    }
    document.documentElement.dataset.plots = "drawn";
  } catch (problem) {
    byId("scatter-note").textContent = `The plot could not be drawn: ${problem.message}`;
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

begin(async () => {
  const unpacked = await unpack(byId("data").textContent, makePause());
  await nextTask();
  const tokens = makeTokens(unpacked);
  await nextTask();
  const table = await startTable(scanTable(tokens));
  startBars(tokens.header.histograms, table);
  startReadouts();
  whenNear(byId("margins"), () => startPlots(tokens, table));
  whenNear(byId("map"), () => startMap(tokens, table));
}, tableFailed);
