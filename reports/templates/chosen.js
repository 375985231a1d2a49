// Tokens that were picked in a plot: a further filter of the table, with words and a button that lets go of it.
function makeChosen(changed) {
  const line = element("p", "chosen");
  const words = element("span", "");
  const button = element("button", "quiet", "Show the others, too");
  line.id = "chosen";
  line.hidden = true;
  button.type = "button";
  button.id = "chosen-clear";
  line.append(words, button);
  document.getElementById("status").after(line);
  const listeners = [];
  const self = {
    mask: null,
    // A 1 for each token that stays, or null for all; `text` says what was done, such as "chosen on the map".
    set(mask, text = "") {
      self.clear();
      if (mask) {
        const count = mask.reduce((sum, one) => sum + one, 0);
        self.mask = mask;
        words.textContent = `${grouped(count)} ${count === 1 ? "token" : "tokens"} ${text}`;
        line.hidden = false;
      }
      changed();
    },
    clear() {
      self.mask = null;
      line.hidden = true;
      for (const listener of listeners) listener();
    },
    // `listener` is called when the choice is let go.
    whenCleared: (listener) => listeners.push(listener),
  };
  button.addEventListener("click", () => self.set(null));
  return self;
}
