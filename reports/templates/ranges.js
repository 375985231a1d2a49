// Ranges of margin and row norm: typed into four fields, or set by the brush and by the bars.
function makeRanges(changedByHand) {
  const field = (name) => document.getElementById(name);
  const fields = { margin: ["margin-from", "margin-to"].map(field), norm: ["norm-from", "norm-to"].map(field) };
  const listeners = [];
  const number = ({ value }) => (value.trim() === "" || !Number.isFinite(Number(value)) ? null : Number(value));
  const read = () => ({ margin: fields.margin.map(number), norm: fields.norm.map(number) });
  const tell = () => {
    for (const listener of listeners) listener(read());
  };
  for (const box of [...fields.margin, ...fields.norm]) {
    box.addEventListener("input", () => {
      changedByHand();
      tell();
    });
  }
  function set(wanted, { quietly = false } = {}) {
    for (const [name, boxes] of Object.entries(fields)) {
      for (const [at, box] of boxes.entries()) box.value = wanted[name][at] ?? "";
    }
    if (!quietly) changedByHand();
    tell();
  }
  return {
    read,
    set,
    clear: () => set({ margin: [null, null], norm: [null, null] }, { quietly: true }),
    changed: (listener) => listeners.push(listener),
  };
}
