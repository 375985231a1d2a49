// Starts a page without a table. What it shows is there already; scripts make it easier to ask.
begin(async () => {
  if (typeof drawAll === "function") await drawAll();
  else startReadouts();
  document.documentElement.dataset.plots = "drawn";
}, (problem) => {
  const note = document.createElement("p");
  note.className = "note warn";
  note.setAttribute("role", "alert");
  note.textContent = `A part of this page could not be started: ${problem.message}`;
  document.getElementById("main").prepend(note);
  document.documentElement.dataset.plots = "failed";
});
