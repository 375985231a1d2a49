// Starts a page's own part after its first paint, and says when it is ready: two frames, so that it is painted before.
function begin(act, failed) {
  requestAnimationFrame(() => setTimeout(async () => {
    startTheme();
    try {
      await act();
    } catch (problem) {
      failed(problem);
    }
    performance.mark("reach-ready");
    document.documentElement.dataset.ready = "yes";
  }, 0));
}
