// Puts the parts of the solver page together.
function startDetection(Plotly, data) {
  const [head, kind] = ["pick-head", "pick-kind"].map((id) => document.getElementById(id));
  if (!head) return () => {};
  for (const name of new Set(data.detection.map((one) => one.head))) head.append(element("option", "", name));
  const draw = () => {
    const place = document.getElementById("plot-detection");
    const figure = detectionFigure(data, head.value, kind.value, looks(), place.clientWidth);
    place.style.height = `${figure.height}px`;
    return drawPlot(Plotly, place, figure);
  };
  for (const box of [head, kind]) box.addEventListener("change", draw);
  return draw;
}

async function drawAll() {
  const data = JSON.parse(new TextDecoder().decode(await inflate(document.getElementById("data").textContent)));
  const pick = startDisagree(data);
  const Plotly = await loadPlotly();
  const detection = startDetection(Plotly, data);
  const react = (id, figure) => drawPlot(Plotly, document.getElementById(id), figure);
  const draw = async () => {
    const look = looks();
    await react("plot-disagree", disagreeFigure(data, look));
    await detection();
    if (data.hidden.length) await react("plot-hidden", hiddenFigure(data, look));
    if (data.profile.tau.length) await react("plot-profile", profileFigure(data, look));
  };
  await draw();
  onTheme(draw);
  document.getElementById("note-profile").textContent = data.profile.tau.length
    ? `Tokens that every backend was given: ${grouped(data.profile.tokens)}.` +
      (data.profile.tokens < 10 ? " Too few to read much into: give slow backends more time, or leave them out." : "")
    : "No token was given to every backend, so there is no profile.";
  document.getElementById("plot-disagree").on("plotly_click", ({ points }) => {
    const [b, a] = [points[0].pointIndex?.[1] ?? points[0].pointNumber[1], points[0].pointIndex?.[0] ?? points[0].pointNumber[0]];
    pick(data.backends[a], data.backends[b]);
  });
}
