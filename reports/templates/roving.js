// One Tab stop for each group of links, and arrow keys within it: a hundred chips are no hundred stops on the way to the
// table. The stop is the link that had the focus last. Without this script every link is a stop of its own.
function rovingItems(group) {
  const items = [...group.querySelectorAll("a[href], button:not(:disabled)")];
  const seen = items.filter((item) => item.checkVisibility());
  return seen.length ? seen : items; // in a part that is folded away nothing is in sight
}

function setStop(group, stop) {
  for (const item of group.querySelectorAll("a[href], button")) item.tabIndex = item === stop ? 0 : -1;
}

// Also for groups that come later: their links need a stop before they can get the focus.
function startRoving(root = document) {
  for (const group of root.querySelectorAll("[data-roving]")) setStop(group, rovingItems(group)[0]);
}

function roveBy(event) {
  const group = event.target.closest?.("[data-roving]");
  if (!group || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const items = rovingItems(group);
  const at = items.indexOf(event.target);
  const last = items.length - 1;
  const places = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last };
  const next = items[places[event.key]];
  if (at < 0 || !next || next === event.target) return; // at an end the key keeps its own meaning
  next.focus();
  event.preventDefault();
}

document.addEventListener("keydown", roveBy);
document.addEventListener("focusin", ({ target }) => {
  const group = target.closest?.("[data-roving]");
  if (group) setStop(group, target);
});
// A link that is not shown on narrow screens must not be the only stop.
addEventListener("resize", () => {
  for (const group of document.querySelectorAll("[data-roving]")) {
    const items = rovingItems(group);
    if (!items.some((item) => item.tabIndex === 0)) setStop(group, items[0]);
  }
});
startRoving();
