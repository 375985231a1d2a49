// The panel at the side that shows one token: its frame, its keys, and where the focus goes.
//
// `content(i)` gives the nodes, `title(i)` what stands over them; `neighbour(i, step)` the token before or after it, or undefined; `go(i)` shows another
// one; `closed(i)` is called when the reader has closed it.
function makeSidePanel({ content, neighbour, go, closed, title: named = (i) => `Token ${i}` }) {
  const panel = document.getElementById("panel");
  let shown = null;

  function button(label, act, enabled = true) {
    const made = element("button", "quiet", label);
    made.type = "button";
    made.disabled = !enabled;
    made.addEventListener("click", act);
    return made;
  }

  function open(i) {
    shown = i;
    const title = element("h2", "", named(i));
    title.id = "panel-title";
    title.tabIndex = -1;
    const tools = element("div", "tools");
    tools.append(
      button("‹ Previous", () => go(neighbour(i, -1)), neighbour(i, -1) !== undefined),
      button("Next ›", () => go(neighbour(i, 1)), neighbour(i, 1) !== undefined),
      button("Close", close)
    );
    const inside = element("div", "content");
    inside.append(...content(i));
    const top = element("div", "top");
    top.append(title, tools);
    panel.replaceChildren(top, inside);
    panel.hidden = false;
    panel.scrollTop = 0;
    title.focus({ preventScroll: true });
  }

  // Says whether there was anything to hide.
  function hide() {
    const open = !panel.hidden;
    panel.hidden = true;
    shown = null;
    return open;
  }

  function close() {
    if (panel.hidden) return;
    const last = shown;
    hide();
    closed(last);
  }

  panel.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || neighbour(shown, step) === undefined) return;
    go(neighbour(shown, step));
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) {
      close();
      event.preventDefault();
    }
  });
  return { open, hide };
}
