// A table of tokens with all that narrows and orders it. What it shows is in the page's address.
//
// `spec` is
//   rows        how many
//   ids         the token's id of a row, where that is not the row's number; `noun` is then what rows are called
//   names       functions of a row that give a string or null: where the search box looks
//   columns     see grid.js; those with `sort` can be sorted by, see order.js
//   sorts       further orders: { key, title, sort, oneWay }. The first is the one to begin with
//   facets, ranges, exported    see facets.js, ranges.js, parquet.js
//   file        what downloads are called
//   note        what a reader should know of the numbers, or null
//   panel       (hooks) => the panel that shows one token, see sidepanel.js
async function startTable(spec) {
  const byId = (id) => document.getElementById(id);
  const { rows, names, noun = "tokens", ids = (i) => i } = spec;
  const sorts = new Map([...spec.sorts, ...spec.columns].filter(({ sort }) => sort).map((one) => [one.key, one.sort]));
  const first = { key: spec.sorts[0].key, descending: false };
  const oneWay = new Set(spec.sorts.filter((one) => one.oneWay).map(({ key }) => key));
  const filter = makeFilter(rows, names, ids);
  const orderBy = makeOrder(rows, sorts);
  const work = makeWork((busy) => {
    if (busy) byId("grid").setAttribute("aria-busy", "true");
    else byId("grid").removeAttribute("aria-busy");
  });
  let query = "";
  let search = readSearch("");
  let sort = first;
  let token = null; // the one whose panel is open
  let only = null; // { keep, words, released }: a choice made elsewhere on the page
  let opener = null;
  const watchers = [];
  let told = null; // the fragment that stands for what is shown

  const facets = makeFacets(byId("groups"), spec.facets, () => change());
  const ranges = makeRanges(byId("ranges"), spec.ranges, () => change());
  const grid = makeGrid(spec.columns, {
    open,
    sortBy: (key) => setSort(key, sort.key === key && !sort.descending),
  });
  const panel = spec.panel({
    neighbour: (i, step) => grid.neighbour(i, step),
    go: (i) => open(i, opener),
    closed(i) {
      token = null;
      tell({ push: false });
      shown();
      if (opener?.isConnected) opener.focus();
      else {
        grid.select(i);
        grid.focus();
      }
      opener = null;
    },
  });

  // --- the address -------------------------------------------------------------------------------------------------

  function entries() {
    const found = new Map();
    if (token !== null) found.set("token", String(token));
    found.set("search", query);
    for (const [name, keys] of facets.read()) found.set(name, keys.join(","));
    for (const [name, ends] of Object.entries(ranges.read())) found.set(name, writeRange(ends));
    if (sort.key !== first.key) found.set("sort", (sort.descending ? "-" : "") + sort.key);
    return found;
  }

  function tell({ push }) {
    told = writeAddress(entries());
    setAddress(told, { push });
  }

  // Shows what an address says. What it says wrongly is as if it said nothing.
  async function apply(found) {
    const before = told;
    const of = (name) => found.get(name) ?? "";
    byId("search").value = of("search");
    readQuery(of("search"));
    facets.set(new Map(spec.facets.map(({ name }) => [name, of(name).split(",")])));
    ranges.set(Object.fromEntries(spec.ranges.map(({ name }) => [name, readRange(found.get(name))])), { quietly: true });
    const [, minus, key] = /^(-?)(.*)$/s.exec(of("sort"));
    sort = sorts.has(key) ? { key, descending: minus !== "" && !oneWay.has(key) } : first;
    const wanted = /^\d{1,9}$/.test(of("token")) ? Number(of("token")) : null;
    token = wanted !== null && wanted < rows ? wanted : null;
    told = writeAddress(entries());
    if (told !== before) await refresh();
    if (token !== null) {
      grid.select(token);
      panel.open(token);
    } else if (panel.hide()) grid.focus();
    shown();
    if (wanted !== token) byId("status").textContent = noun === "tokens" ? `There is no token ${wanted}: ids end at ${rows - 1}.` : `There is no row ${wanted}: they end at ${rows - 1}.`;
  }

  addEventListener("hashchange", () => {
    const fragment = location.hash.replace(/^#/, "");
    if (fragment === told) return;
    const found = readAddress(fragment);
    if (found) apply(found);
    else {
      token = null;
      panel.hide();
      shown();
    }
  });

  // --- what is shown -----------------------------------------------------------------------------------------------

  function open(i, from = null) {
    opener = from;
    token = i;
    tell({ push: true });
    grid.select(i);
    panel.open(i);
    shown();
  }

  // Plots mark the token whose panel is open.
  function shown() {
    for (const listener of watchers) listener(token);
  }

  function refresh() {
    const before = performance.now();
    return work(async (pause) => {
      const tests = [...facets.tests(), ...ranges.tests()];
      if (only) tests.push((i) => only.keep[i] === 1);
      const { keep, count } = await filter(search, tests, pause);
      const whole = await orderBy(sort.key, sort.descending, pause);
      const found = count === rows ? whole : whole.filter((i) => keep[i]);
      grid.show(found);
      grid.mark(sort.key, sort.descending);
      byId("sort").value = `${sort.key} ${sort.descending}`;
      byId("status").textContent = shownOf(count, rows, noun);
      if (only) byId("status").append(`, ${only.words} `, wholeButton());
      offer(found);
      for (const id of ["csv", "parquet", "copy"]) byId(id).disabled = count === 0;
      performance.measure("reach-refresh", { start: before, end: performance.now() });
    });
  }

  function change() {
    tell({ push: false });
    return refresh();
  }

  function wholeButton() {
    const made = element("button", "quiet", "Show the others too");
    made.type = "button";
    made.addEventListener("click", () => restrict(null));
    return made;
  }

  // Only rows with a 1 in `keep`, or all for null; `released` is called when the choice is let go or another made.
  function restrict(keep, words = "", released = () => {}) {
    release();
    only = keep && { keep, words, released };
    return refresh();
  }

  function release() {
    const before = only;
    only = null;
    before?.released();
  }

  // Tokens that are named outright by what is searched for.
  function offer(found) {
    const named = namedBy(search, names, found, ids);
    byId("named").hidden = !named.length;
    byId("named").replaceChildren(...(named.length ? ["Exactly: "] : []), ...named.flatMap((i, at) => {
      const link = element("a", "tokenlink");
      link.href = `#token=${i}`;
      link.append(tokenNode(names.map((name) => name(i)).findLast((name) => name !== null) ?? null, 40, `#${ids(i)}`), ` #${ids(i)}`);
      return at ? [", ", link] : [link];
    }));
  }

  function setSort(key, descending) {
    sort = { key, descending: descending && !oneWay.has(key) };
    return change();
  }

  // Whether there is anything new to show: not while an expression is still being typed.
  function readQuery(text) {
    const found = typedSearch(text);
    if (found !== null) [search, query] = [found, text];
    return found !== null;
  }

  function clear() {
    byId("search").value = "";
    readQuery("");
    facets.set(new Map());
    ranges.set({}, { quietly: true });
    release();
  }

  // Only the tokens of one box and range, whatever was chosen before.
  function show(id, wanted = {}) {
    clear();
    const box = byId(id);
    if (box) box.checked = true;
    ranges.set(wanted, { quietly: true });
    tell({ push: true });
    return refresh();
  }

  // --- controls ----------------------------------------------------------------------------------------------------

  for (const { key, title, oneWay: single } of [...spec.sorts, ...spec.columns.filter((column) => column.sort)]) {
    for (const descending of single ? [false] : [false, true]) {
      const option = element("option", "", single ? title : `${title} ${descending ? "↓" : "↑"}`);
      option.value = `${key} ${descending}`;
      byId("sort").append(option);
    }
  }
  byId("sort").addEventListener("change", ({ target }) => {
    const [key, descending] = target.value.split(" ");
    setSort(key, descending === "true");
  });
  byId("search").addEventListener("input", ({ target }) => readQuery(target.value) && change());
  byId("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || search.kind === "all") return;
    event.preventDefault();
    const [wanted = grid.order[0]] = namedBy(search, names, grid.order, ids, 1);
    if (wanted !== undefined) open(wanted, byId("search"));
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    clear();
    change();
  });
  startExport(spec.exported, spec.file, () => grid.order, (words) => {
    byId("status").textContent = words;
  });
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const to = event.target.closest?.("a[href*='#token=']");
    const isHere = to?.href.split("#")[0] === location.href.split("#")[0];
    const wanted = isHere ? /#token=(\d{1,9})$/.exec(to.href)?.[1] : undefined;
    if (wanted !== undefined && Number(wanted) < rows) {
      event.preventDefault();
      // Closing the panel brings the reader back to where they were.
      open(Number(wanted), to.closest("#panel") ? opener : to);
    }
    const box = event.target.closest?.("[data-show]")?.dataset.show;
    if (!box) return;
    event.preventDefault();
    show(box);
    byId("tokens").scrollIntoView();
  });

  byId("table-note").textContent = spec.note ?? "";
  byId("table-note").hidden = !spec.note;
  byId("explorer").hidden = false;
  byId("loading").hidden = true;
  await nextTask();
  await apply(readAddress(location.hash) ?? new Map());
  // `watch` calls a listener with the token whose panel is open, or null, now and whenever it changes.
  const watch = (listener) => {
    watchers.push(listener);
    listener(token);
  };
  return { ranges, open, show, restrict, watch };
}

// In place of a table that could not be shown.
function tableFailed(problem) {
  document.getElementById("loading").hidden = true;
  document.getElementById("failure").textContent = `The table could not be shown: ${problem.message}`;
  document.getElementById("failure").hidden = false;
}
