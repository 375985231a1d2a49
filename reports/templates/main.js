// Puts the parts together: filters, address of a token, downloads.
const byId = (id) => document.getElementById(id);

function startTable(tokens) {
  const filter = makeFilter(tokens);
  const orderBy = makeOrder(tokens);
  const ticked = { verdict: new Set(), evidence: new Set(), category: new Set(), nearly: new Set(), kind: new Set() };
  const sort = { key: "id", descending: false };
  const ranges = makeRanges(() => refresh());
  let search = readSearch("");
  let opener = null;

  const grid = makeGrid(tokens, {
    open: (token) => {
      location.hash = `token=${token}`;
    },
    sortBy: (key) => {
      setSort(key, sort.key === key && !sort.descending);
    },
  });
  const panel = makePanel(tokens, {
    neighbour: (token, step) => grid.neighbour(token, step),
    closed: (token) => {
      try {
        history.replaceState(null, "", location.href.split("#")[0]);
      } catch {
        location.hash = "tokens";
      }
      if (opener?.isConnected) opener.focus();
      else {
        grid.select(token);
        grid.focus();
      }
      opener = null;
    },
  });

  function refresh() {
    const before = performance.now();
    const { keep, count } = filter(search, ticked, ranges.read());
    const whole = orderBy(sort.key, sort.descending);
    const rows = count === whole.length ? whole : whole.filter((i) => keep[i]);
    grid.show(rows);
    grid.mark(sort.key, sort.descending);
    byId("status").textContent =
      count === tokens.rows ? `All ${grouped(count)} tokens` : `${grouped(count)} of ${grouped(tokens.rows)} tokens`;
    for (const id of ["csv", "parquet", "copy"]) byId(id).disabled = count === 0;
    performance.measure("reach-refresh", { start: before, end: performance.now() });
  }

  function setSort(key, descending) {
    sort.key = key;
    sort.descending = descending;
    byId("sort").value = `${key} ${descending}`;
    refresh();
  }

  function setSearch(query) {
    const error = byId("search-error");
    try {
      search = readSearch(query);
      error.hidden = true;
    } catch (problem) {
      error.textContent = `Not a regular expression: ${problem.message}`;
      error.hidden = false;
      return; // what was found last stays in sight while the expression is being typed
    }
    refresh();
  }

  // A box stands for one code, or for several; boxes of one group may share some.
  function addGroup(title, name, entries) {
    const set = element("fieldset");
    const boxes = [];
    set.append(element("legend", "", title));
    for (const { codes, key, label, count } of entries) {
      if (!count) continue;
      const line = element("label", "pill");
      const box = element("input");
      box.type = "checkbox";
      box.id = `${name}-${key}`;
      boxes.push([box, codes]);
      box.addEventListener("change", () => {
        ticked[name] = new Set(boxes.filter(([one]) => one.checked).flatMap(([, some]) => some));
        refresh();
      });
      line.append(box, label, element("span", "count", grouped(count)));
      set.append(line);
    }
    if (set.children.length > 1) byId("groups").append(set);
  }

  const counts = (column) => {
    const found = new Uint32Array(256);
    for (const code of column) found[code] += 1;
    return found;
  };
  const verdicts = counts(tokens.columns.verdict);
  const evidences = counts(tokens.columns.evidence);
  const categories = [0, 0];
  for (let i = 0; i < tokens.rows; i++) if (tokens.category(i) >= 0) categories[tokens.category(i)] += 1;
  const named = (names, found) => names.map((key, code) => ({ codes: [code], key, label: key, count: found[code] }));
  addGroup("Verdict", "verdict", [
    ...named(tokens.header.verdicts, verdicts),
    { codes: [255], key: "none", label: "not asked for", count: verdicts[255] },
  ]);
  addGroup("Way", "category", [
    { codes: [0], key: "own", label: CATEGORY_NAMES[0], count: categories[0] },
    { codes: [1], key: "hard", label: CATEGORY_NAMES[1], count: categories[1] },
  ]);
  // Steps grow from format to format: below a step of one is below one of all that follow.
  const nearly = counts(tokens.columns.nearly_never);
  addGroup("Nearly never", "nearly", tokens.header.formats.map((key, code) => {
    const codes = Array.from({ length: code + 1 }, (_, finer) => finer);
    return { codes, key, label: `in ${key}`, count: codes.reduce((sum, finer) => sum + nearly[finer], 0) };
  }));
  addGroup("Evidence", "evidence", named(tokens.header.evidences, evidences));
  const kinds = counts(tokens.columns.category_code);
  addGroup("Category", "kind", tokens.header.categories.map(({ key, title }, code) => (
    { codes: [code], key, label: title, count: kinds[code] }
  )));

  for (const { key, title } of TABLE_COLUMNS) {
    for (const descending of [false, true]) {
      const option = element("option", "", `${title} ${descending ? "↓" : "↑"}`);
      option.value = `${key} ${descending}`;
      byId("sort").append(option);
    }
  }
  byId("sort").addEventListener("change", (event) => {
    const [key, descending] = event.target.value.split(" ");
    setSort(key, descending === "true");
  });
  byId("search").addEventListener("input", (event) => setSearch(event.target.value));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());

  function clear() {
    byId("search").value = "";
    for (const box of byId("groups").querySelectorAll("input")) box.checked = false;
    for (const set of Object.values(ticked)) set.clear();
    ranges.clear();
  }
  byId("clear").addEventListener("click", () => {
    clear();
    setSearch("");
  });
  startExport(tokens, () => grid.order, (words) => {
    byId("status").textContent = words;
  });
  document.addEventListener("click", (event) => {
    const to = event.target.closest?.("a[href^='#token=']");
    // Closing the panel then brings the reader back to where they were.
    if (to && !to.closest("#panel")) opener = to;
    const shown = event.target.closest?.("[data-show]")?.dataset.show;
    if (!shown) return;
    clear();
    tick(shown);
  });

  function tick(id) {
    search = readSearch("");
    const box = byId(id);
    if (box) {
      box.checked = true;
      box.dispatchEvent(new Event("change"));
    } else refresh();
  }

  function follow() {
    const found = /^#token=(\d+)$/.exec(location.hash);
    if (!found) return;
    const token = Number(found[1]);
    if (token < tokens.rows) {
      grid.select(token);
      panel.open(token);
    } else byId("status").textContent = `There is no token ${token}: ids end at ${tokens.rows - 1}.`;
  }
  addEventListener("hashchange", () => {
    if (/^#token=/.test(location.hash)) follow();
    else panel.close();
  });

  byId("explorer").hidden = false;
  byId("loading").hidden = true;
  setSort("id", false);
  follow();
  return {
    ranges,
    open: (token) => {
      opener = null;
      location.hash = `token=${token}`;
    },
    // Only the tokens of one box and range, whatever was chosen before.
    show(id, wanted) {
      clear();
      ranges.set(wanted, { quietly: true });
      tick(id);
    },
  };
}

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
    const Plotly = await loadPlotly();
    const scatter = await startScatter(Plotly, tokens, { brushed: (range) => table.ranges.set(range), open: table.open });
    if (scatter) {
      scatter.mark(table.ranges.read());
      table.ranges.changed(scatter.mark);
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

async function start() {
  startTheme();
  try {
    const tokens = makeTokens(await unpack(byId("data").textContent));
    const table = startTable(tokens);
    startBars(tokens.header.histograms, table);
    startReadouts();
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
