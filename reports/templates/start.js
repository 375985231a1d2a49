// Draws a page whose script has drawAll(), after the first paint, and says how that went.
startTheme();
requestAnimationFrame(() => setTimeout(async () => {
  try {
    await drawAll();
    document.documentElement.dataset.plots = "drawn";
  } catch (problem) {
    document.getElementById("plot-note").textContent = `The plots could not be drawn: ${problem.message}`;
    document.documentElement.dataset.plots = "failed";
  }
  document.documentElement.dataset.ready = "yes";
  performance.mark("reach-ready");
}, 0));
