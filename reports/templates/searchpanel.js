// One token: how far it got, by which input, and what that input is like.
function startSearchPanel(data) {
  const input = document.getElementById("pick-token");
  const place = document.getElementById("picked");
  const show = (token) => place.replaceChildren(...searchPanel(data, token));
  input.addEventListener("input", () => {
    const wanted = input.value.trim();
    if (wanted === "") return;
    const token = findToken(data, input.value);
    if (token === null) place.replaceChildren(element("p", "help", "No token has this id or text."));
    else show(token);
  });
  const byAddress = (scroll) => {
    const found = /^#token=(\d+)$/.exec(location.hash);
    if (!found || Number(found[1]) >= data.token.length) return;
    show(Number(found[1]));
    if (scroll) document.getElementById("panel-title").scrollIntoView();
  };
  addEventListener("hashchange", () => byAddress(true));
  byAddress(true);
  return show;
}

function findToken(data, wanted) {
  if (/^\d+$/.test(wanted.trim()) && Number(wanted) < data.token.length) return Number(wanted);
  for (const column of [data.text, data.token]) {
    for (const text of [wanted, wanted.trim()]) {
      const at = column.indexOf(text);
      if (at >= 0) return at;
    }
  }
  return null;
}

function searchPanel(data, token) {
  const title = element("p", "bigtoken");
  title.append(tokenNode(nameOf(data, token), 80, `#${token}`));
  const facts = element("dl", "details");
  const add = (name, ...nodes) => {
    facts.append(element("dt", "", name));
    const value = element("dd");
    value.append(...nodes);
    facts.append(value);
  };
  add("Id", String(token));
  add("Verdict of the head", data.verdict[token] ?? "not known");
  if (data.head[token] !== null) add("Margin at the head", `at least ${data.head[token]} logits`);
  // Nobody looked for what the head proves out of reach, or for what was not asked for; a hit is shown all the same.
  const unsought = data.first[token] === "head" ? "not searched for: the head proves that no input can" : data.asked[token] ? null : "not searched for";
  for (const level of data.levels) {
    if (unsought === null || data.margin[level][token] !== null) add(LEVEL_TITLES[level], ...levelNodes(data, level, token));
  }
  if (unsought !== null) add("Search", unsought);
  for (const [form, column] of Object.entries(data.repeat)) {
    if (column[token] !== null) add(`Repeat test, ${form}`, `probability ${column[token]}${data.repeated[form][token] ? ", repeated" : ""}`);
  }
  if (unsought === null) add("Steps spent on it", grouped(data.steps[token]));
  return [title, facts];
}

function levelNodes(data, level, token) {
  const margin = data.margin[level][token];
  if (margin === null) return ["not found"];
  const from = data.from[level][token];
  const nodes = [`margin ${margin}, ${data.length[level][token]} positions`];
  if (from !== level) return [...nodes, `, by the input of ${LEVEL_TITLES[from]}`];
  const prompt = data.prompts.find((one) => one[0] === token && one[1] === from);
  if (prompt) {
    const [, , ids, text, how] = prompt;
    nodes.push(` (${how}): `);
    // Without a tokenizer there is no text, but the tokens may have names.
    if (text !== null) nodes.push(tokenNode(text, 200), " ");
    else ids.forEach((id) => nodes.push(tokenNode(nameOf(data, id), 20, `#${id}`), " "));
    nodes.push(`[${ids.join(", ")}]`);
  }
  const near = data.nearest.filter((one) => one[0] === token && one[1] === from);
  for (const [, , position, rows, distances] of near) {
    const line = element("div", "", `position ${position + 1}, nearest: `);
    rows.forEach((row, at) => line.append(at ? ", " : "", tokenNode(nameOf(data, row), 20, `#${row}`), ` (${distances[at]})`));
    nodes.push(line);
  }
  return nodes;
}
