// Which tokens a pair of backends disagrees about: two lists choose the pair, and so do the cells of the table.
function startDisagree(data) {
  document.getElementById("pick-pair").hidden = false;
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
      link.href = `${place.dataset.scan}#token=${id}`;
      link.append(tokenNode(name, 80, `#${id}`), element("span", "id", `${id} · ${a}: ${claims[a]}; ${b}: ${claims[b]}; proved: ${truth}`));
      const item = element("li");
      item.append(link);
      list.append(item);
    }
    place.replaceChildren(lead, list);
    startRoving(place);
  }
  // The token that the address names: what each backend claimed, where two of them did not agree.
  function showToken() {
    const token = Number(/(?:^#|&)token=(\d+)/.exec(location.hash)?.[1] ?? NaN);
    if (Number.isNaN(token)) return;
    const found = data.tokens.find(({ id }) => id === token);
    const lead = element("p", "", found ? `Token ${token}, ` : `No two backends disagree about token ${token}, or it was not in the sample.`);
    const list = element("ul");
    if (found) {
      lead.append(tokenNode(found.name, 80, `#${token}`), `: proved ${found.truth}. The backends claim:`);
      for (const [backend, claim] of Object.entries(found.claims)) list.append(element("li", "", `${backend}: ${claim}`));
    }
    place.replaceChildren(lead, list);
    document.getElementById("disagreements").scrollIntoView();
  }
  function pick(a, b) {
    [one.value, other.value] = [a, b];
    show();
  }
  // The pair that disagrees most is shown first.
  let [first, second] = [0, Math.min(1, data.backends.length - 1)];
  for (const [a, row] of data.counts.entries()) for (const [b, count] of row.entries()) if (count > data.counts[first][second]) [first, second] = [a, b];
  if (data.backends.length) pick(data.backends[first], data.backends[second]);
  addEventListener("hashchange", showToken);
  showToken();
  return pick;
}
