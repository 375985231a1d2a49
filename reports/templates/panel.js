// One token in full: its verdict in words, the proof, and how to check it again.
const EVIDENCE_SENTENCES = {
  float64: "The proof was recomputed in float64, apart from the solver that found it.",
  rigorous: "The proof was recomputed and holds even after every possible rounding error (rigorous).",
  exact: "The proof was checked in exact rational arithmetic, without any rounding.",
};
// A point beats every other token: not each of these comparisons needs fractions.
const EXACT_WITNESS =
  "The proof was checked in rational arithmetic against the runner-up, and against every token that a bound on the " +
  "rounding error could not exclude (exact).";
const WITNESS_SENTENCES = {
  "own-row": "The point lies along the token's own row.",
  "centred-row": "The point lies along the token's row minus the mean row.",
  "margin-weights": "The point follows from the stored weights that bound its margin from above.",
  stored: "The point is stored in the run's witnesses folder.",
};
const MOST_BLOCKERS = 24;

function makePanel(tokens, hooks) {
  const name = (i) => tokenNode(tokens.text(i) ?? tokens.token(i), 40, `#${i}`);
  const link = (i) => {
    const made = element("a", "tokenlink");
    made.href = tokenAddress(i);
    made.append(name(i));
    return made;
  };
  const paragraph = (...parts) => {
    const made = element("p");
    made.append(...parts);
    return made;
  };
  const logits = (value, direction) => `${bound(value, direction)} logits`;
  const some = (id) => id !== null && id < tokens.rows;

  function speakable(i) {
    const parts = [];
    const lower = tokens.lower(i);
    const lead = lower === null ? "" : ` by at least ${logits(lower, -1)}`;
    parts.push(paragraph(`There is a point of the domain where this token has the highest logit${lead}.`));
    const runner = tokens.runnerUp(i);
    if (some(runner)) parts.push(paragraph("The runner-up there is ", link(runner), "."));
    const witness = tokens.witness(i);
    if (witness) parts.push(paragraph(WITNESS_SENTENCES[witness] ?? `Witness: ${witness}.`));
    if (tokens.category(i) === 1) {
      parts.push(paragraph("Hard-to-speak: no win along its own row was proved. Other places let it through."));
    }
    if (tokens.upper(i) !== null) {
      parts.push(paragraph(`At no point can its lead be more than ${logits(tokens.upper(i), 1)}.`));
    }
    if (tokens.nearlyNever(i) !== null) {
      const format = tokens.nearlyNever(i);
      parts.push(paragraph(
        element("span", "badge", "nearly never"),
        ` That is less than a step of ${format}, the distance between neighbouring numbers, at its logit of ` +
        `${decimal(tokens.winningLogit(i))} there. A head evaluated in ${format} may never show it.`
      ));
    }
    return parts;
  }

  function unspeakable(i) {
    return [...whyNever(i), ...howDeep(i), ...silencers(i)];
  }

  // How near the token comes, and what a sampler with min-p then makes of it.
  function howDeep(i) {
    const [lower, upper] = tokens.bracket(i);
    const { temperature } = tokens.header;
    const parts = [];
    if (lower === 0 && upper === 0) parts.push(paragraph("Its margin is exactly 0: somewhere it ties for the top."));
    else if (lower !== null && upper !== null) {
      parts.push(paragraph(`Its margin lies between ${bound(lower, -1)} and ${logits(upper, 1)}, at its best point.`));
    }
    if (temperature === null || upper === null) return parts;
    const [least, most] = [lower === null ? 0 : Math.exp(lower / temperature), Math.exp(upper / temperature)];
    const from = lower === null || least === 0 ? "" : share(least, -1);
    if (lower === 0) parts.push(paragraph("Min-p keeps it there, whatever the threshold (at temperature 1)."));
    else if (from) {
      parts.push(paragraph(
        `The largest min-p at which a sampler can still return it, at temperature 1, lies between ${from} and ${share(most, 1)}.`
      ));
    } else if (most < 1) parts.push(paragraph(`With min-p above ${share(most, 1)} a sampler never returns it, at temperature 1.`));
    return parts;
  }

  // A part of 1, rounded so that a bound stays one; next to 1 with as many nines as it takes.
  function share(value, direction) {
    const room = value * 2 ** -46 * direction;
    const digits = Math.min(15, Math.max(4, 3 - Math.floor(Math.log10(Math.max(1 - value, 1e-15)))));
    const unit = 10 ** -digits;
    if (value < 1e-3) return bound(value + room, direction);
    const steps = (value + room) / unit;
    const kept = Math.min(1, (direction < 0 ? Math.floor(steps) : Math.ceil(steps)) * unit);
    return kept.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  }

  function silencers(i) {
    const count = tokens.silenced(i);
    if (!count) return [];
    const few = tokens.silencers(i);
    const made = element("p", "", count === 1 ? "A single token keeps it from the top, everywhere and all alone: " :
      `${grouped(count)} single tokens keep it from the top, everywhere and each alone. The strongest: `);
    for (const [at, { row, bound: most }] of few.entries()) {
      made.append(at ? ", " : "", link(row), ` (${logits(most, 1)} at most)`);
    }
    made.append(".");
    return [made];
  }

  function ceiling(i) {
    const [lower, upper] = tokens.ceiling(i);
    if (lower === null || upper === null) return [];
    const percent = (value, direction) => `${bound(100 * Math.min(1, Math.exp(value) * (1 + direction * 2 ** -40)), direction)} %`;
    return [["Most probable", `${percent(lower, -1)} to ${percent(upper, 1)} at the best point, at temperature 1`]];
  }

  function served(i) {
    const said = tokens.served(i).map(([name, word]) => `${name}: ${word}`);
    return said.length ? [["As served", said.join("; ")]] : [];
  }

  function whyNever(i) {
    const blockers = tokens.blockers(i);
    const upper = tokens.upper(i);
    if (!blockers.length) {
      const most = upper === null ? "" : ` Its margin is at most ${logits(upper, 1)}.`;
      return [paragraph(`No point of the domain makes this token the single winner.${most} No weights are stored.`)];
    }
    // Without offsets, or without a limit on z, only a row that is a mix of others is unspeakable, and its margin is
    // zero. A margin below zero, or a bound that only reaches zero, says less about the row: the mixed logits win.
    const { domain, offsets } = tokens.header;
    const isMix = domain === "free" || (!offsets && !(upper < 0));
    // The heaviest weights of a mix of all rows: for people, while the proof is one for the whole mix.
    const share = blockers.reduce((sum, one) => sum + one.weight, 0);
    if (share < 1 - 1e-6) return [mixOfAll(blockers, share), bars(blockers)];
    const few = tokens.few(i);
    if (few.length) return fewSuffice(few, blockers, upper);
    const parts = [isMix ? mixEquals(blockers) : mixBeats(blockers, upper), bars(blockers)];
    if (tokens.evidence(i) === "exact" && isMix) {
      parts.push(paragraph("The weights shown are rounded; the check solves for them again as fractions."));
    }
    return parts;
  }

  function mixBeats(blockers, upper) {
    const above = upper < 0 ? `above this token, by at least ${bound(-upper, -1)} logits` : "at least as high as this token";
    const beats = upper < 0 ? "beats it" : "matches or beats it";
    if (blockers.length === 1) return paragraph(link(blockers[0].row), ` is ${above}, at every point of the domain.`);
    return paragraph(
      `Mix the logits of its ${blockers.length} blockers with the weights below: at every point of the domain the mix `,
      `is ${above}. So one of them always ${beats}.`
    );
  }

  // A proof that can be read, and behind it the one with the best bound.
  function fewSuffice(few, blockers, upper) {
    const whole = element("details");
    whole.append(
      element("summary", "", `All ${blockers.length} blockers of the stored proof`), mixBeats(blockers, upper), bars(blockers)
    );
    const said = few.length === 1 ? "A single one of its blockers suffices" : `${few.length} of its ${blockers.length} blockers suffice`;
    return [paragraph(`${said} to prove it: `), mixBeats(few, few[0].bound), bars(few), whole];
  }

  function mixEquals(blockers) {
    const made = element("p", "", "Its row is ");
    for (const [at, { row, weight }] of blockers.slice(0, 3).entries()) {
      made.append(at ? " + " : "", `${decimal(weight)} × `, link(row));
    }
    const offsets = tokens.header.offsets ? ", and its offset is no greater than theirs mixed the same way" : "";
    made.append(
      blockers.length > 3 ? ` + ${blockers.length - 3} more` : "",
      `${offsets}. A mix is never above everything that went into it, so this token can never beat all of them.`
    );
    return made;
  }

  function mixOfAll(blockers, share) {
    const offsets = tokens.header.offsets ? ", and its offset is no greater than theirs mixed the same way" : "";
    return paragraph(
      `Its row lies inside the hull of the others: it is a mix of all other rows, each with a weight above zero${offsets}. `,
      "A mix is never above everything that went into it, so this token can never beat all of them. ",
      `Below are the ${blockers.length} heaviest of these weights, ${decimal(share)} of the whole. They are a summary: `,
      "the proof is of all weights together (inside.safetensors)."
    );
  }

  function bars(blockers) {
    const list = element("ul", "bars");
    list.setAttribute("aria-label", "Blockers and their weights");
    for (const { row, weight } of blockers.slice(0, MOST_BLOCKERS)) {
      const item = element("li");
      const bar = element("span", "bar");
      bar.style.width = `${Math.max(0.5, (100 * weight) / blockers[0].weight)}%`;
      const track = element("span", "track");
      track.setAttribute("aria-hidden", "true");
      track.append(bar);
      item.append(link(row), element("span", "num", decimal(weight)), track);
      list.append(item);
    }
    if (blockers.length > MOST_BLOCKERS) {
      const rest = blockers.slice(MOST_BLOCKERS).reduce((sum, one) => sum + one.weight, 0);
      list.append(element("li", "rest", `${blockers.length - MOST_BLOCKERS} more, ${decimal(rest)} together`));
    }
    return list;
  }

  // Rounded, but to a whole only where it is one.
  function likeness(cosine) {
    const shown = cosine.toFixed(3).replace("-", "−");
    return Math.abs(cosine) < 1 && shown.endsWith("1.000") ? shown.replace("1.000", "0.999…") : shown;
  }

  function nearest(i) {
    const rows = tokens.nearest(i);
    if (!rows.length) return [];
    const table = element("table", "nearest");
    table.append(element("caption", "", "Nearest rows"));
    const head = element("tr");
    for (const title of ["Token", "Cosine", "Distance"]) {
      const cell = element("th", title === "Token" ? "" : "num", title);
      cell.scope = "col";
      head.append(cell);
    }
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    for (const { row, cosine, distance } of rows) {
      const line = element("tr");
      const cell = element("td");
      cell.append(link(row));
      line.append(cell, element("td", "num", likeness(cosine)), element("td", "num", decimal(distance)));
      body.append(line);
    }
    table.append(top, body);
    return [table];
  }

  function categories(i) {
    const found = tokens.findings(i);
    if (!found.length) return [];
    const list = element("ul", "kinds");
    list.setAttribute("aria-label", "Categories and the evidence for them");
    for (const { title, detail, others, meaning } of found) {
      const item = element("li");
      const tag = element("span", "tag", title);
      tag.title = meaning;
      item.append(tag, detail === null ? "" : ` ${detail}`);
      for (const [at, other] of others.entries()) item.append(at ? ", " : ": ", link(other));
      list.append(item);
    }
    return [element("h3", "", "What it is"), list];
  }

  // What the other studies of the run found out about it, each with the way to its page.
  function studies(i) {
    const rows = [];
    const page = (record, words) => {
      const found = document.querySelector(`.pages a[data-page="${record}"]`);
      if (!found) return "";
      const made = element("a", "", words);
      made.href = `${found.href.split("#")[0]}#token=${i}`;
      return made;
    };
    const reached = tokens.reached(i);
    if (reached?.level) {
      const words = [`Said after ${reached.words}`];
      if (reached.prompt !== null) words.push(": ", tokenNode(reached.prompt, 200));
      rows.push(["Input", [...words, " (", page("search.json", "the search"), ")"]]);
    } else if (reached) rows.push(["Input", ["None found (", page("search.json", "the search"), "); only the head's verdicts are proofs"]]);
    const wrong = tokens.wrongBackends(i);
    if (wrong) {
      const said = wrong.length ? `Wrong about it: ${wrong.join(", ")}` : "No backend made a false claim about it";
      rows.push(["Solvers", [`${said} (`, page("solvers.json", "the comparison"), ")"]]);
    }
    const suspects = tokens.suspects(i);
    if (suspects) {
      const said = suspects.map(({ name: [title, matrix, all], rank }) =>
        `${title} (${matrix}): ${rank === 1 ? "the smallest" : `number ${grouped(rank)} from below`} of ${grouped(all)}`);
      rows.push(["Indicators", [said.length ? said.join("; ") : "No indicator counts it among its most suspect"]]);
    }
    if (!rows.length) return [];
    const list = element("dl", "details studies");
    for (const [term, parts] of rows) {
      const value = element("dd");
      value.append(...parts);
      list.append(element("dt", "", term), value);
    }
    return [element("h3", "", "What else is known"), list];
  }

  function tied(i) {
    const winner = tokens.argmax(i);
    const first = "Another token has exactly the same row and offset, so this one can share the top and never hold it alone.";
    if (winner === i) return [paragraph(first), paragraph("Where they tie, argmax returns this token.")];
    return some(winner) ? [paragraph(first), paragraph("Where they tie, argmax returns ", link(winner), ".")] : [paragraph(first)];
  }

  function undecided(i) {
    const parts = [paragraph("Neither “it can be said” nor “it never can” was proved. This says nothing about the token itself.")];
    parts.push(paragraph(`Why: ${tokens.reason(i) ?? "not recorded"}.`.replace(/\.\.$/, ".")));
    const [lower, upper] = tokens.bracket(i);
    if (lower !== null || upper !== null) {
      const from = lower === null ? "unknown" : bound(lower, -1);
      const to = upper === null ? "unknown" : bound(upper, 1);
      parts.push(paragraph(`Its margin lies between ${from} and ${to} logits.`));
    }
    return [...parts, ...silencers(i)];
  }

  function proof(i) {
    const verdict = tokens.verdict(i);
    const made = { speakable, unspeakable, tied, undecided }[verdict];
    return made ? made(i) : [paragraph("This scan was not asked about this token: nothing is known about it here.")];
  }

  function facts(i) {
    const full = (value) => (value === null ? "–" : String(value).replaceAll("-", "−"));
    const points = [...(tokens.text(i) ?? tokens.token(i) ?? "")];
    const codes = points.slice(0, 24).map((one) => "U+" + one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0"));
    const rows = [
      ["Piece", tokenNode(tokens.token(i), 2000)],
      ["Text", tokens.text(i) === null && tokens.token(i) !== null ? "does not decode to whole text" : tokenNode(tokens.text(i), 2000)],
      ["Code points", codes.join(" ") + (points.length > 24 ? ` … ${points.length - 24} more` : "") || "none"],
      ["Margin at least", full(tokens.lower(i))],
      ["Margin at most", full(tokens.upper(i))],
      ...ceiling(i),
      ...served(i),
      ...(tokens.header.large && tokens.winningLogit(i) === null ? [] : [["Logit at its witness", full(tokens.winningLogit(i))]]),
      ["Evidence", tokens.evidence(i) ?? "none"],
      ["Settled by stage", tokens.stage(i) ?? "–"],
      ["Norm of its row", full(tokens.norm(i))],
    ];
    const list = element("dl", "details");
    for (const [term, value] of rows) {
      const description = element("dd");
      description.append(value);
      list.append(element("dt", "", term), description);
    }
    return list;
  }

  function content(i) {
    const big = element("p", "bigtoken");
    big.append(tokenNode(tokens.text(i) ?? tokens.token(i), 200, `#${i}`));
    const isWitness = tokens.verdict(i) !== "unspeakable";
    const evidence = isWitness && tokens.evidence(i) === "exact" ? EXACT_WITNESS : EVIDENCE_SENTENCES[tokens.evidence(i)];
    const check = element("p", "help", "Check it again: ");
    check.append(element("code", "", tokens.header.verify));
    return [
      big, paragraph(verdictNode(tokens.verdict(i))), ...proof(i),
      ...(evidence ? [paragraph(evidence)] : []), ...categories(i), ...studies(i), ...nearest(i), facts(i), check,
    ];
  }

  return makeSidePanel({ content, ...hooks });
}
