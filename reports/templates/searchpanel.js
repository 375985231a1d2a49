// One token: how far it got, by which input, and what that input is like.
function makeSearchPanel(found, hooks) {
  const { header } = found;

  const capital = (words) => words[0].toUpperCase() + words.slice(1);
  const link = (i) => {
    const made = element("a", "tokenlink");
    made.href = tokenAddress(i);
    made.append(tokenNode(found.name(i), 20, `#${i}`));
    return made;
  };

  function content(i) {
    const big = element("p", "bigtoken");
    big.append(tokenNode(found.name(i), 200, `#${i}`));
    const verdict = element("p");
    verdict.append(found.verdict(i) === null ? "The head's verdict is not known." : verdictNode(found.verdict(i)));
    const facts = element("dl", "details");
    const add = (name, ...nodes) => {
      const value = element("dd");
      value.append(...nodes);
      facts.append(element("dt", "", name), value);
    };
    // A hit is shown all the same.
    const unsought = found.first(i) === "head" ? "not searched for: the head proves that no input can" : found.asked(i) ? null : "not searched for";
    for (const name of [...header.levels].reverse()) {
      const level = found.levels.get(name);
      if (unsought === null || level.margin(i) !== null) add(capital(LEVEL_TITLES[name]), ...levelNodes(level, i));
    }
    if (unsought !== null) add("Search", unsought);
    for (const { name, probability, top } of found.forms) {
      if (probability(i) !== null) add(`Repeat test, ${name}`, `probability ${decimal(probability(i))}${top(i) ? ", repeated" : ""}`);
    }
    if (unsought === null) add("Steps spent on it", grouped(found.steps(i)));
    if (found.head(i) !== null) {
      const never = found.verdict(i) === "unspeakable" ? ", and proved not to be above 0" : "";
      add("Margin at the head", `at least ${bound(found.head(i), -1)} logits${never}`);
    }
    add("Piece", tokenNode(found.token(i), 2000));
    return [big, verdict, facts];
  }

  function levelNodes(level, i) {
    const margin = level.margin(i);
    if (margin === null) return ["not found"];
    const from = level.witness(i);
    const nodes = [`margin ${decimal(margin)}, ${positions(level.length(i))}`];
    if (from !== level.name) return [...nodes, `, by the input of ${LEVEL_TITLES[from] ?? "another level"}`];
    const prompt = found.prompts(i).find((one) => one.level === from);
    if (prompt) {
      nodes.push(` (${prompt.how}): `);
      // Without a tokenizer there is no text, but the tokens may have names.
      nodes.push(promptNode(found, prompt, 200), ` [${prompt.ids.join(", ")}]`);
    }
    const near = found.nearest(i).filter((one) => one.level === from);
    for (const { position, rows, distances } of near) {
      const line = element("div", "", `position ${position + 1}, nearest: `);
      rows.forEach((row, at) => line.append(at ? ", " : "", found.inside(row) ? link(row) : `#${row}`, ` (${decimal(distances[at])})`));
      nodes.push(line);
    }
    if (!prompt && !near.length && header.large) {
      nodes.push(element("div", "help", "Its nearest tokens may be in search_witnesses/nearest.parquet of the run."));
    }
    return nodes;
  }

  return makeSidePanel({ content, ...hooks });
}
