// Puts the parts of the page of a trace together.
const byId = (id) => document.getElementById(id);

// One chart of two series at a time.
function startPairs() {
  const views = [...document.querySelectorAll("#pairs .pairview")];
  if (views.length < 2) return;
  byId("pair").addEventListener("change", ({ target }) => {
    for (const [at, view] of views.entries()) view.hidden = at !== Number(target.value);
  });
  byId("pick-pair").hidden = false;
}

begin(async () => {
  const pause = makePause();
  const found = await makeTraced(await unpack(byId("data").textContent, pause), pause);
  const table = await startTable(await traceTable(found, pause));
  startPairs();
  startReadouts(table.open);
  document.documentElement.dataset.plots = "drawn";
}, tableFailed);
