// Ranges of numbers: typed into fields, or set by what is drawn on the page.
//
// A range is { name, title, unit, values }; a row whose value is not a number is outside of every range.
function makeRanges(place, ranges, changedByHand) {
  const fields = new Map();
  const listeners = [];
  for (const { name, title, unit } of ranges) {
    const ends = ["from", "to"].map((end) => {
      const box = element("input");
      box.type = "number";
      box.step = "any";
      box.id = `${name}-${end}`;
      box.placeholder = end;
      box.setAttribute("aria-label", `${title} ${end}${unit ? `, in ${unit}` : ""}`);
      box.addEventListener("input", () => {
        changedByHand();
        tell();
      });
      return box;
    });
    const set = element("fieldset");
    set.append(element("legend", "", title), ends[0], " to ", ends[1]);
    place.append(set);
    fields.set(name, ends);
  }

  const number = ({ value }) => (value.trim() === "" || !Number.isFinite(Number(value)) ? null : Number(value));
  const read = () => Object.fromEntries([...fields].map(([name, boxes]) => [name, boxes.map(number)]));
  function tell() {
    for (const listener of listeners) listener(read());
  }
  // Fields of names that are not given are emptied.
  function set(wanted, { quietly = false } = {}) {
    for (const [name, boxes] of fields) {
      for (const [at, box] of boxes.entries()) box.value = wanted[name]?.[at] ?? "";
    }
    if (!quietly) changedByHand();
    tell();
  }
  return {
    read,
    set,
    changed: (listener) => listeners.push(listener),
    tests() {
      const now = read();
      return ranges.filter(({ name }) => now[name].some((end) => end !== null)).map(({ name, values }) => {
        const [from, to] = [now[name][0] ?? -Infinity, now[name][1] ?? Infinity];
        return (i) => values[i] >= from && values[i] <= to;
      });
    },
  };
}
