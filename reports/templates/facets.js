// Groups of boxes to tick. Within a group the boxes add up, several groups narrow each other.
//
// A facet is { name, title, boxes: [{ key, label, count, codes }] } with `column`, a code per row, or `bits`, where
// each set bit of a row is one of its codes. Boxes of one group may share codes.
function makeFacets(place, facets, changed) {
  const groups = facets.map(({ name, title, boxes, ...codes }) => {
    const set = element("fieldset");
    set.append(element("legend", "", title));
    const made = boxes.filter(({ count }) => count).map((entry) => {
      const line = element("label", "pill");
      const box = element("input");
      box.type = "checkbox";
      box.id = `${name}-${entry.key}`;
      box.addEventListener("change", changed);
      line.append(box, entry.label, element("span", "count", grouped(entry.count)));
      set.append(line);
      return { ...entry, box };
    });
    if (made.length) place.append(set);
    return { name, boxes: made, ...codes };
  });

  const ticked = ({ boxes }) => boxes.filter(({ box }) => box.checked);

  function test(group) {
    const codes = ticked(group).flatMap((one) => one.codes);
    if (!codes.length) return null;
    if (group.bits) {
      const { bits } = group;
      const wanted = codes.reduce((mask, code) => mask | (1 << code), 0);
      return (i) => (bits[i] & wanted) !== 0;
    }
    const { column } = group;
    const allowed = new Uint8Array(256);
    for (const code of codes) allowed[code] = 1;
    return (i) => allowed[column[i]] === 1;
  }

  return {
    // Keys of the boxes that are ticked, by the name of the group.
    read: () => new Map(groups.map((group) => [group.name, ticked(group).map(({ key }) => key)])),
    // Ticks these boxes and no others; names and keys that there are not mean nothing.
    set(wanted) {
      for (const { name, boxes } of groups) {
        for (const { box, key } of boxes) box.checked = (wanted.get(name) ?? []).includes(key);
      }
    },
    tests: () => groups.map(test).filter(Boolean),
  };
}

// How many rows have each code.
function countCodes(column) {
  const found = new Uint32Array(256);
  for (const code of column) found[code] += 1;
  return found;
}
