// Which tokens a pair of backends disagrees about: a heat map, and two lists that open the same tokens.
function disagreeFigure(data, look) {
  const { backends, counts, compared } = data;
  const words = counts.map((row, a) => row.map((count, b) =>
    a === b ? "" : `${plotText(backends[a])} and ${plotText(backends[b])}<br>disagree on ${count} of ${compared[a][b]} tokens`
  ));
  const trace = {
    type: "heatmap", x: backends.map(plotText), y: backends.map(plotText), z: counts.map((row, a) => row.map((count, b) => (a === b ? null : count))),
    hovertext: words, hoverinfo: "text", xgap: 1, ygap: 1, zmin: 0, zmax: Math.max(1, ...counts.flat()),
    text: counts.map((row, a) => row.map((count, b) => (a === b || !count ? "" : String(count)))), texttemplate: "%{text}",
    colorscale: [[0, look.colour("sunk")], [1, look.colour("never-fill")]], showscale: false,
  };
  const layout = plotLayout(look, {
    dragmode: false, margin: { l: 120, r: 14, t: 10, b: 110 },
    xaxis: { type: "category", fixedrange: true, showgrid: false, tickangle: -45, ticks: "" },
    yaxis: { type: "category", fixedrange: true, showgrid: false, autorange: "reversed", ticks: "" },
  });
  return { traces: [trace], layout };
}

function startDisagree(data) {
  const [one, other] = ["pick-a", "pick-b"].map((id) => document.getElementById(id));
  const place = document.getElementById("picked");
  for (const box of [one, other]) {
    for (const name of data.backends) box.append(element("option", "", name));
    box.addEventListener("change", () => show());
  }
  function show() {
    const [a, b] = [one.value, other.value];
    const at = [data.backends.indexOf(a), data.backends.indexOf(b)];
    const apart = data.tokens.filter(({ claims }) => claims[a] && claims[b] && claims[a] !== claims[b]);
    const compared = data.compared[at[0]]?.[at[1]] ?? 0;
    const lead = element("p", "", a === b ? "Choose two different backends." :
      `${a} and ${b} disagree on ${apart.length} of the ${compared} tokens that both made a claim about.`);
    const list = element("ul", "chips");
    list.dataset.roving = "";
    for (const { id, name, truth, claims } of apart) {
      const link = element("a", "chip");
      link.href = `report.html#token=${id}`;
      link.append(tokenNode(name, 80, `#${id}`), element("span", "id", `${id} · ${a}: ${claims[a]}; ${b}: ${claims[b]}; proved: ${truth}`));
      const item = element("li");
      item.append(link);
      list.append(item);
    }
    place.replaceChildren(lead, list);
    startRoving(place);
  }
  function pick(a, b) {
    [one.value, other.value] = [a, b];
    show();
  }
  // The pair that disagrees most is shown first.
  let [first, second] = [0, Math.min(1, data.backends.length - 1)];
  for (const [a, row] of data.counts.entries()) for (const [b, count] of row.entries()) if (count > data.counts[first][second]) [first, second] = [a, b];
  if (data.backends.length) pick(data.backends[first], data.backends[second]);
  return pick;
}
