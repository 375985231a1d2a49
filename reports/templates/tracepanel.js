// One token: its trajectory in the series of its row with all numbers, and its strips in every series.
function makeTracePanel(found, hooks) {
  const { header } = found;
  const percent = (share) => (share === null ? "–" : `${(100 * share).toPrecision(3)} %`);

  function facts(i) {
    const list = element("dl", "details");
    const add = (name, value) => list.append(element("dt", "", name), element("dd", "", value));
    add("Series", found.seriesName(i));
    add("Id", String(found.columns.token_id[i]));
    for (const [name, pair] of [["Became speakable", found.became], ["Stopped", found.stopped]]) {
      if (pair[0](i) !== null) add(name, `after step ${grouped(pair[0](i))}, by step ${grouped(pair[1](i))}`);
    }
    add("Turns", `${grouped(found.turns(i))} between speakable and not`);
    if (found.share(i) !== null) add("Largest step", `${percent(found.share(i))} of all that its margin moved`);
    if (found.leap(i) !== null) {
      const where = found.leapt.map((end) => grouped(end(i))).join(" to ");
      add("Leap", `${percent(found.leap(i))} beyond the common path, step ${where}, q ${brief(found.q(i))}${found.sudden(i) ? ": sudden" : ""}`);
    }
    if (found.far(i) !== null) add("Distance", `z ${brief(found.far(i))} from its class${found.outlier(i) ? ": an outlier" : ""}`);
    const kinds = found.kinds(i);
    if (kinds.length) add("Categories", kinds.map(({ title }) => title).join(", "));
    return list;
  }

  function table(i) {
    const made = element("table", "nearest");
    const head = element("tr");
    for (const [name, kind] of [["Step", "num"], ["Verdict", ""], ["Margin", "num"], ["Norm", "num"]]) {
      const cell = element("th", kind, name);
      cell.scope = "col";
      head.append(cell);
    }
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    for (const { step, name, margin, norm } of found.cells(i)) {
      const line = element("tr");
      const first = element("th", "num", grouped(step));
      first.scope = "row";
      const verdict = element("td");
      verdict.append(verdictNode(name === "own-direction" || name === "hard-to-speak" ? "speakable" : name === "not asked for" ? null : name));
      if (name === "hard-to-speak") verdict.append(" ", element("span", "tag", "hard"));
      line.append(first, verdict, element("td", "num", margin === null ? "–" : bound(margin, name === "unspeakable" ? 1 : -1)), element("td", "num", decimal(norm)));
      body.append(line);
    }
    made.append(top, body);
    return made;
  }

  function strips(i) {
    const list = element("ul", "strips");
    for (const j of found.alike(i)) {
      const line = element("li");
      const link = element("a", "", found.seriesName(j));
      link.href = tokenAddress(j);
      if (j === i) link.setAttribute("aria-current", "true");
      line.append(stripNode(found.cells(j), header), link);
      list.append(line);
    }
    return list;
  }

  function content(i) {
    const big = element("p", "bigtoken");
    big.append(tokenNode(found.name(i), 200, `#${found.columns.token_id[i]}`));
    const verdict = element("p");
    verdict.append(verdictNode(found.verdictOf(found.lastClass(i))), ` at step ${grouped(found.steps(i).at(-1))}`);
    return [big, verdict, facts(i), element("h3", "", "In every series"), strips(i), element("h3", "", "Step by step"), table(i)];
  }

  return makeSidePanel({ content, title: (i) => `Token ${found.columns.token_id[i]}, ${found.seriesName(i)}`, ...hooks });
}
