// Curves of what was found, margins by level, and head margin against effort.
const LEVEL_DASHES = { free: "solid", norm: "dash", hull: "dot", tokens: "dashdot", text: "longdash" };

function curveFigure({ header: data }, look) {
  // Lengths and optimisers follow each other on one line per level; pointing at it tells them apart.
  const traces = data.levels.map((level, at) => {
    const points = data.curve.filter((one) => one.level === level);
    return {
      type: "scatter", mode: "lines+markers", name: LEVEL_TITLES[level], x: points.map((one) => one.inputs), y: points.map((one) => one.found),
      hovertext: points.map((one) => `${LEVEL_TITLES[level]}, length ${one.length}, ${plotText(one.optimiser)}<br>${grouped(one.found)} found after ${grouped(one.inputs)} inputs, ${one.seconds} s`),
      hoverinfo: "text", line: { color: look.colour(`run-${at}`), dash: LEVEL_DASHES[level], width: 1.8 }, marker: { size: 4, color: look.colour(`run-${at}`) },
    };
  });
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 56, r: 14, t: 34, b: 46 },
    xaxis: { fixedrange: true, title: { text: "inputs tried" }, tickformat: ",d" }, yaxis: { fixedrange: true, title: { text: "tokens found" }, rangemode: "tozero" },
  });
  return { traces, layout };
}

const CONTEST_DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

function contestFigure({ header: data }, look, level, length) {
  const runs = data.contests.filter((one) => one.level === level && one.length === length);
  const traces = runs.map((run, at) => ({
    type: "scatter", mode: "lines+markers", name: plotText(run.method), x: run.points.map(([inputs]) => inputs), y: run.points.map(([, , found]) => found),
    hovertext: run.points.map(([inputs, seconds, found]) => `${plotText(run.method)}<br>${found} of ${run.sample} found after ${grouped(inputs)} inputs, ${seconds.toFixed(2)} s`),
    hoverinfo: "text", line: { color: look.colour(`run-${at}`), dash: CONTEST_DASHES[at], shape: "hv", width: 1.8 }, marker: { size: 4, color: look.colour(`run-${at}`) },
  }));
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 56, r: 14, t: 34, b: 46 },
    xaxis: { fixedrange: true, title: { text: "inputs tried" }, tickformat: ",d", rangemode: "tozero" },
    yaxis: { fixedrange: true, title: { text: `tokens found, of ${runs[0]?.sample ?? 0}` }, rangemode: "tozero" },
  });
  return { traces, layout };
}

function fillChoice(select, values, words = String) {
  const before = select.value;
  select.replaceChildren(...values.map((value) => new Option(words(value), value)));
  if (values.map(String).includes(before)) select.value = before;
}

// Two choices that pick one figure; a level has only the lengths it was searched at.
function startContest({ header: data }, redraw) {
  const level = document.getElementById("contest-level");
  const length = document.getElementById("contest-length");
  if (!level) return null;
  const levels = [...new Set(data.contests.map((one) => one.level))];
  const lengths = () => fillChoice(length, [...new Set(data.contests.filter((one) => one.level === level.value).map((one) => one.length))]);
  fillChoice(level, levels, (name) => LEVEL_TITLES[name]);
  lengths();
  level.addEventListener("change", () => { lengths(); redraw(); });
  length.addEventListener("change", redraw);
  return () => [level.value, Number(length.value)];
}

function marginsFigure(found, look) {
  const traces = found.header.levels.map((level, at) => ({
    type: "box", name: LEVEL_TITLES[level], x: found.levels.get(level).margins.filter((one) => one > 0),
    boxpoints: false, hoverinfo: "x", line: { color: look.colour(`run-${at}`) },
  }));
  const layout = plotLayout(look, {
    dragmode: false, showlegend: false, margin: { l: 130, r: 14, t: 10, b: 46 },
    xaxis: { type: "log", fixedrange: true, title: { text: "margin, logits (log scale)" }, exponentformat: "e" },
    yaxis: { fixedrange: true, autorange: "reversed", ticks: "" },
  });
  return { traces, layout };
}

function effortFigure(found, look) {
  const kinds = [["text", "reached by text"], ["tokens", "reached by real tokens only"], ["some", "reached by embeddings only"], ["none", "not found"]];
  const levels = found.header.levels.map((name) => found.levels.get(name));
  const kindOf = (token) => {
    for (const { name, margins } of [...levels].reverse()) {
      if (!Number.isNaN(margins[token])) return name === "text" || name === "tokens" ? name : "some";
    }
    return "none";
  };
  const groups = new Map(kinds.map(([key]) => [key, []]));
  for (let token = 0; token < found.rows; token++) {
    if (found.asked(token) && found.head(token) > 0) groups.get(kindOf(token)).push(token);
  }
  // Drawn one by one, so a large vocabulary is thinned.
  const most = 1500;
  for (const [key, tokens] of groups) {
    if (key !== "none" && tokens.length > most) groups.set(key, tokens.filter((_, at) => Math.floor((at * most) / tokens.length) !== Math.floor(((at - 1) * most) / tokens.length)));
    else if (tokens.length > 4 * most) groups.set(key, tokens.slice(0, 4 * most));
  }
  const symbols = ["circle", "diamond", "square", "x"];
  const traces = kinds.map(([key, name], at) => ({
    type: "scatter", mode: "markers", name, customdata: groups.get(key), x: groups.get(key).map((token) => found.steps(token) + 1),
    y: groups.get(key).map(found.head), hoverinfo: "text", marker: { size: 6, symbol: symbols[at], color: look.colour(`run-${at}`), opacity: 0.75 },
    hovertext: groups.get(key).map((token) => `${plotToken(found.name(token), token)} (${token})<br>head margin ${bound(found.head(token), -1)}<br>${grouped(found.steps(token))} steps`),
  }));
  const layout = plotLayout(look, {
    dragmode: false, showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 56, r: 14, t: 34, b: 46 },
    xaxis: { type: "log", fixedrange: true, title: { text: "1 + optimisation steps spent on the token, all levels (log scale)" } },
    yaxis: { type: "log", fixedrange: true, title: { text: "margin at the head, logits (log scale)" }, exponentformat: "e" },
  });
  return { traces, layout };
}
