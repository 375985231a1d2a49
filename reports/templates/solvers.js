// Puts the parts of the solver page together.
function startLimits() {
  const views = [...document.querySelectorAll("#plot-detection .limits")];
  if (!views.length) return;
  const [head, kind] = ["pick-head", "pick-kind"].map((id) => document.getElementById(id));
  for (const name of new Set(views.map((one) => one.dataset.head))) head.append(new Option(name, name));
  const show = () => {
    for (const one of views) one.hidden = one.dataset.head !== head.value || one.dataset.kind !== kind.value;
  };
  for (const box of [head, kind]) box.addEventListener("change", show);
  document.getElementById("pick-limits").hidden = false;
  show();
}

async function drawAll() {
  startReadouts();
  startLimits();
  const data = JSON.parse(new TextDecoder().decode(await inflate(document.getElementById("data").textContent)));
  const pick = startDisagree(data);
  document.getElementById("pairs")?.addEventListener("click", (event) => {
    const pair = event.target.closest("[data-pair]")?.dataset.pair;
    if (pair) pick(...pair.split(" ").map((at) => data.backends[at]));
  });
}
