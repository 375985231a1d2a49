// What a search found of each token; reports/search_columns.py describes the columns.
const LEVEL_TITLES = { free: "free embeddings", norm: "norm range", hull: "convex hull", tokens: "real tokens", text: "text" };

async function makeSearched({ header, columns }, pause) {
  const breath = async () => {
    const wait = pause();
    if (wait) await wait;
  };
  const { rows, order } = header;
  const { token, text } = stringsOf(columns);
  columns.steps ??= Float64Array.from(columns.asked, (_, i) => order.reduce((sum, name) => sum + (known(columns[`${name}_steps`][i]) ?? 0), 0));
  const inside = (i) => i >= 0 && i < rows; // records of others may name any id
  const number = (column) => (i) => known(column[i]);
  const truth = (column) => (i) => (column[i] === 255 ? null : column[i] === 1);
  const word = (column, names) => (i) => (column[i] < 0 ? null : names[column[i]]);
  await breath();
  const levels = await levelReaders(header, columns, breath);
  const promptText = stringColumn(columns.prompt_length, columns.prompt_units, {
    [SAME_STRING]: (at) => [...idsOf(at)].map((id) => (inside(id) ? text(id) : null) ?? "").join(""),
  });
  const idsOf = (at) => idsOfPrompt(columns, at);
  const prompt = (at) => ({
    level: order[columns.prompt_level[at]], how: header.hows[columns.prompt_how[at]], ids: [...idsOf(at)], text: promptText(at),
  });
  await breath();
  const shortest = shortestPrompts(rows, order, columns);
  await breath();
  return {
    header, columns, rows, token, text, levels,
    inside,
    name: (i) => (inside(i) ? text(i) ?? token(i) : null),
    verdict: word(columns.verdict, header.verdicts),
    first: word(columns.first, header.firsts),
    asked: (i) => columns.asked[i] === 1,
    head: number(columns.head_margin),
    steps: number(columns.steps),
    forms: header.forms.map((name, at) => ({
      name, probability: number(columns[`repeat_${at}_probability`]), top: truth(columns[`repeat_${at}_top`]),
    })),
    // Nobody looked for what the head proves out of reach, or for what was not asked for.
    sought: (i) => columns.asked[i] === 1 && header.firsts[columns.first[i]] !== "head",
    prompts: (i) => slicesOf(columns.prompt_token, i, prompt),
    shortest: (i) => (shortest[i] < 0 ? null : prompt(shortest[i])),
    shortestLength: (i) => (shortest[i] < 0 ? null : idsOf(shortest[i]).length),
    nearest: (i) =>
      slicesOf(columns.near_token, i, (at) => {
        const [start, end] = [columns.near_start[at], columns.near_start[at + 1]];
        return {
          level: order[columns.near_level[at]], position: columns.near_position[at],
          rows: [...columns.near_row.subarray(start, end)], distances: [...columns.near_distance.subarray(start, end)],
        };
      }),
  };
}

// By level: whether each token was found, by a witness of which level, with which margins and length.
async function levelReaders({ rows, order }, columns, breath) {
  const made = order.map(() => ({ margin: new Float64Array(rows).fill(NaN), own: new Float64Array(rows).fill(NaN), length: new Int32Array(rows).fill(-1) }));
  const held = order.map(() => new Uint8Array(rows));
  const own = columns.held_own ?? columns.held_margin; // the same where the model has one dtype
  for (const [at, i] of columns.held_token.entries()) {
    const level = columns.held_level[at];
    made[level].margin[i] = columns.held_margin[at];
    made[level].own[i] = own[at];
    made[level].length[i] = columns.held_length[at];
    held[level][i] = 1;
  }
  // From the strictest down: a looser level has the numbers of the witness that stands for it.
  for (let level = order.length - 2; level >= 0; level--) {
    const witness = columns[`${order[level]}_witness`];
    await breath();
    for (let i = 0; i < rows; i++) {
      if (held[level][i] || witness[i] === 255 || witness[i] < level) continue;
      const strict = made[Math.max(level + 1, witness[i])];
      made[level].margin[i] = strict.margin[i];
      made[level].own[i] = strict.own[i];
      made[level].length[i] = strict.length[i];
    }
  }
  return new Map(order.map((name, level) => {
    const [hit, witness, steps] = ["hit", "witness", "steps"].map((part) => columns[`${name}_${part}`]);
    const { margin, own, length } = made[level];
    return [name, {
      name,
      margins: margin,
      most: length.reduce((most, one) => Math.max(most, one), 0),
      hit: (i) => (hit[i] === 255 ? null : hit[i] === 1),
      margin: (i) => known(margin[i]),
      own: (i) => known(own[i]),
      length: (i) => (length[i] < 0 ? null : length[i]),
      witness: (i) => (witness[i] === 255 ? null : order[witness[i]]),
      steps: (i) => known(steps[i]),
    }];
  }));
}

function idsOfPrompt({ prompt_again: again, prompt_start: start, prompt_id: id }, at) {
  let own = at;
  while (again[own]) own -= 1;
  return id.subarray(start[own], start[own + 1]);
}

// The place of each token's shortest prompt, −1 without one; of two the one that is text as well.
function shortestPrompts(rows, order, columns) {
  const { prompt_token: token, prompt_level: level } = columns;
  const found = new Int32Array(rows).fill(-1);
  const size = (at) => 2 * idsOfPrompt(columns, at).length - (order[level[at]] === "text" ? 1 : 0);
  for (let at = 0; at < token.length; at++) {
    const i = token[at];
    if (i >= 0 && i < rows && (found[i] < 0 || size(at) < size(found[i]))) found[i] = at;
  }
  return found;
}
