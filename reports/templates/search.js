// Puts the parts of the search page together.
async function drawAll() {
  const data = JSON.parse(new TextDecoder().decode(await inflate(document.getElementById("data").textContent)));
  const show = startSearchPanel(data);
  const Plotly = await loadPlotly();
  const react = (id, figure) => drawPlot(Plotly, document.getElementById(id), figure);
  const contest = startContest(data, () => drawContest());
  const drawContest = async () => contest && react("plot-contest", contestFigure(data, looks(), ...contest()));
  const draw = async () => {
    const look = looks();
    await drawContest();
    await react("plot-curve", curveFigure(data, look));
    await react("plot-margins", marginsFigure(data, look));
    await react("plot-effort", effortFigure(data, look));
  };
  await draw();
  onTheme(draw);
  document.getElementById("plot-effort").on("plotly_click", ({ points }) => {
    show(points[0].customdata);
    document.getElementById("panel-title").scrollIntoView();
  });
}
