// The table of runs on a start page: sorted, searched, narrowed, downloaded; what is shown is in the page's address.
// Rows and cards are in the page; their values come with it as columns, which are what downloads hold as well.
function startRuns() {
  const byId = (id) => document.getElementById(id);
  const { columns, values } = JSON.parse(byId("data").textContent);
  const column = new Map(columns.map(([name], at) => [name, values[at]]));
  const value = (name, i) => column.get(name)[i];
  const body = byId("runs-table").tBodies[0];
  const rows = [...body.rows];
  const cards = [...document.querySelectorAll(".card")];
  const boxes = [...document.querySelectorAll(".cards")];
  const heads = [...document.querySelectorAll("#runs-table th[data-key]")];
  const keys = new Set(heads.map(({ dataset }) => dataset.key));
  const searched = ["run", "series", "model", "family", "architecture", "domain", "problem"];
  const texts = rows.map((_, i) => searched.map((name) => value(name, i) ?? "").join("\uffff").toLowerCase());
  let query = "";
  let search = readSearch("");
  let sort = { key: "", descending: false };
  let order = new Uint32Array(0);
  let told = null;

  // --- what narrows it ---------------------------------------------------------------------------------------------

  // Boxes for the values of a column, the commonest first; too many to tick are searched for instead.
  function facetOf(name, key, title, most) {
    const counts = new Map();
    for (const one of column.get(key)) if (one !== null) counts.set(one, (counts.get(one) ?? 0) + 1);
    const found = [...counts].sort(([, a], [, b]) => b - a);
    if (found.length < 2 || found.length > most) return [];
    const places = new Map(found.map(([one], at) => [one, at]));
    return [{
      name, title, column: column.get(key).map((one) => places.get(one) ?? 255),
      boxes: found.map(([one, count], at) => ({ key: one.replace(/[^\w.-]+/g, "-"), label: one, count, codes: [at] })),
    }];
  }

  const earlier = column.get("last_checkpoint").map((last) => Number(last === false));
  const hidden = earlier.reduce((all, one) => all + one, 0);
  const numbers = (name) => Float64Array.from(column.get(name), (one) => one ?? NaN);
  const facets = makeFacets(byId("groups"), [
    ...facetOf("family", "family", "Family", 24),
    ...facetOf("question", "question", "Domain", 12),
    ...facetOf("tying", "tying", "Output matrix", 4),
  ], change);
  const every = everyCheckpoint();
  const ranges = makeRanges(byId("ranges"), [
    { name: "v", title: "V", values: numbers("v") },
    { name: "d", title: "d", values: numbers("d") },
    { name: "unspeakable", title: "Unspeakable tokens", values: numbers("unspeakable") },
  ], change);

  function everyCheckpoint() {
    const box = element("input");
    box.type = "checkbox";
    box.id = "every";
    const line = element("label", "pill");
    line.append(box, "Every checkpoint", element("span", "count", grouped(hidden)));
    line.hidden = hidden === 0;
    box.addEventListener("change", change);
    byId("groups").append(line);
    return box;
  }

  function readQuery(text) {
    const found = typedSearch(text);
    if (found !== null) [search, query] = [found, text];
    return found !== null;
  }

  function matches(i) {
    if (search.kind === "all") return true;
    if (search.kind === "regex") return searched.some((name) => search.test.test(value(name, i) ?? ""));
    return texts[i].includes(search.kind === "id" ? query.trim().toLowerCase() : search.text);
  }

  // --- the address -------------------------------------------------------------------------------------------------

  function entries() {
    const found = new Map([["search", query]]);
    for (const [name, ticked] of facets.read()) found.set(name, ticked.join(","));
    for (const [name, ends] of Object.entries(ranges.read())) found.set(name, writeRange(ends));
    if (every.checked) found.set("checkpoints", "every");
    if (sort.key) found.set("sort", (sort.descending ? "-" : "") + sort.key);
    return found;
  }

  function apply(found) {
    const of = (name) => found.get(name) ?? "";
    byId("search").value = of("search");
    readQuery(of("search"));
    facets.set(new Map(["family", "question", "tying"].map((name) => [name, of(name).split(",")])));
    ranges.set(Object.fromEntries(["v", "d", "unspeakable"].map((name) => [name, readRange(found.get(name))])), { quietly: true });
    every.checked = of("checkpoints") === "every";
    const [, minus, key] = /^(-?)(.*)$/s.exec(of("sort"));
    sort = keys.has(key) ? { key, descending: minus !== "" } : { key: "", descending: false };
    told = writeAddress(entries());
    show();
  }

  addEventListener("hashchange", () => {
    const fragment = location.hash.replace(/^#/, "");
    if (fragment === told) return;
    const found = readAddress(fragment);
    if (found) apply(found);
  });

  // --- what is shown -----------------------------------------------------------------------------------------------

  // Rows without a value come last in both directions; equal ones stay in the order of their names.
  function compare(a, b) {
    const [one, other] = [value(sort.key, a), value(sort.key, b)];
    if (one === null || other === null) return Number(one === null) - Number(other === null) || a - b;
    const found = typeof one === "string" ? (one < other ? -1 : Number(one > other)) : one - other;
    return (sort.descending ? -found : found) || a - b;
  }

  function show() {
    const tests = [...facets.tests(), ...ranges.tests(), matches];
    if (!every.checked) tests.push((i) => !earlier[i]);
    const sorted = rows.map((_, i) => i);
    if (sort.key) sorted.sort(compare);
    order = Uint32Array.from(sorted.filter((i) => tests.every((holds) => holds(i))));
    const kept = new Set(order);
    body.append(...sorted.map((i) => rows[i]));
    for (const [i, row] of rows.entries()) row.hidden = !kept.has(i);
    for (const card of cards) card.hidden = !kept.has(Number(card.dataset.at));
    for (const box of boxes) box.classList.toggle("none", cards.every((card) => card.hidden));
    for (const head of heads) {
      if (head.dataset.key === sort.key) head.setAttribute("aria-sort", sort.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const left = every.checked ? 0 : hidden;
    const words = shownOf(order.length, rows.length - left, "runs");
    byId("status").textContent = left ? `${words}, of each training run the last checkpoint` : words;
    for (const id of ["csv", "parquet", "copy"]) byId(id).disabled = order.length === 0;
  }

  function change() {
    told = writeAddress(entries());
    setAddress(told, { push: false });
    show();
  }

  // Numbers begin with their largest, words with the first.
  function sortBy(key) {
    const down = typeof column.get(key).find((one) => one !== null) !== "string";
    if (sort.key !== key) sort = { key, descending: down };
    else if (sort.descending === down) sort = { key, descending: !down };
    else sort = { key: "", descending: false };
    change();
  }

  // --- controls ----------------------------------------------------------------------------------------------------

  for (const head of heads) {
    const button = element("button", "", head.textContent);
    button.type = "button";
    button.addEventListener("click", () => sortBy(head.dataset.key));
    head.replaceChildren(button);
  }
  byId("search").addEventListener("input", ({ target }) => readQuery(target.value) && change());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    apply(new Map());
    change();
  });
  const exported = columns.map(([name, type], at) => ({ name, type, read: (i) => values[at][i] }));
  startExport(exported, "runs", () => order, (words) => {
    byId("status").textContent = words;
  });
  byId("filters").hidden = false;
  apply(readAddress(location.hash) ?? new Map());
}

// What a page without a table of tokens draws when it starts, see start.js.
async function drawAll() {
  startRuns();
  startReadouts();
}
