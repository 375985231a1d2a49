// The map of the vocabulary: its places come in a block of their own, which is unpacked when the map comes near.
async function startMap(tokens, table) {
  const byId = (id) => document.getElementById(id);
  const text = byId("map-data").textContent.trim();
  if (!text) return;
  try {
    const packed = await unpack(text, makePause());
    await nextTask();
    drawMap(tokens, table, packed);
    document.documentElement.dataset.map = "drawn";
  } catch (problem) {
    byId("map-failure").textContent = `The map could not be drawn: ${problem.message}`;
    byId("map-failure").hidden = false;
    document.documentElement.dataset.map = "failed";
  }
}

function drawMap(tokens, table, packed) {
  const byId = (id) => document.getElementById(id);
  const { projections } = packed.header;
  const ways = mapColours(tokens, packed);
  let way = ways[0];
  let look = null;
  byId("map-whole").hidden = false;
  const dots = makeDots(byId("plot-map"), {
    equal: true,
    mode: "move",
    tools: {
      move: byId("map-move"), lasso: byId("map-lasso"), box: byId("map-box"), closer: byId("map-closer"),
      farther: byId("map-farther"), whole: byId("map-all"),
    },
    fill: (tip, i) => tip.append(...tokenTip(tokens, i, more(i))),
    open: (token) => table.open(token),
    picked: ({ dots: mask, kind }) => {
      if (!mask.includes(1)) return;
      table.restrict(mask, `chosen on the map with a ${kind}`, () => dots.fade(null));
      dots.fade(mask.map((one) => 1 - one));
    },
  });

  // Beside a dot: what the colours say of it, where the verdict does not.
  function more(i) {
    if (way.key === "category") return tokens.findings(i).map((one) => one.title).slice(0, 3);
    return way.key === "cluster" ? [`cluster ${look.groups[look.codes[i]].name}`] : [];
  }

  function place(key) {
    const { left, low, unit, words } = projections.find((one) => one.key === key);
    const plain = (axis, start) => {
      const [coarse, fine] = [packed.columns[`${key}_${axis}`], packed.columns[`${key}_${axis}_fine`]];
      const found = new Float64Array(coarse.length);
      for (let i = 0; i < found.length; i++) found[i] = start + (256 * coarse[i] + fine[i]) * unit;
      return found;
    };
    dots.setPlaces(plain("x", left), plain("y", low));
    byId("map-words").textContent = words;
  }

  function colour() {
    look = way.make();
    if (!look) return;
    const counted = countedGroups(look.groups, look.codes);
    const off = new Set();
    dots.setGroups(counted, look.codes, off);
    if (look.ramp) rampLegend(byId("map-legend"), look.ramp);
    else groupLegend(byId("map-legend"), counted, off, () => dots.ask());
    byId("plot-map").dataset.colour = way.key;
  }

  function options(select, entries, chosen) {
    for (const { key, title } of entries) {
      const option = element("option", "", title);
      option.value = key;
      select.append(option);
    }
    select.addEventListener("change", () => chosen(select.value));
  }
  options(byId("map-projection"), projections, place);
  byId("map-which").hidden = projections.length < 2;
  options(byId("map-colour"), ways, (key) => {
    way = ways.find((one) => one.key === key);
    colour();
  });
  // Ramps are made of the theme's colours.
  document.addEventListener("reach-theme", () => look?.ramp && colour());

  place(projections[0].key);
  colour();
  table.watch((token) => dots.ring(token ?? -1));
}
