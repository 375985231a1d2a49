// Puts the parts of the search page together.
const byId = (id) => document.getElementById(id);

// Two choices that pick one figure; a level has only the lengths it was searched at.
function startContests() {
  const views = [...document.querySelectorAll("#contests .contest")];
  if (!views.length) return;
  const [level, length] = [byId("contest-level"), byId("contest-length")];
  const fill = (select, values) => {
    const before = select.value;
    select.replaceChildren(...[...new Set(values)].map((value) => new Option(value, value)));
    if (values.includes(before)) select.value = before;
  };
  const show = () => {
    for (const one of views) one.hidden = one.dataset.level !== level.value || one.dataset.length !== length.value;
  };
  const lengths = () => {
    fill(length, views.filter((one) => one.dataset.level === level.value).map((one) => one.dataset.length));
    show();
  };
  fill(level, views.map((one) => one.dataset.level));
  lengths();
  level.addEventListener("change", lengths);
  length.addEventListener("change", show);
  byId("pick-contest").hidden = false;
}

begin(async () => {
  const pause = makePause();
  const unpacked = await unpack(byId("data").textContent, pause);
  const found = await makeSearched(unpacked, pause);
  const table = await startTable(await searchTable(found, pause));
  startContests();
  startReadouts(table.open);
  document.documentElement.dataset.plots = "drawn";
}, tableFailed);
