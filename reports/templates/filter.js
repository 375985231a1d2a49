// Which rows are shown: the search box, the boxes to tick and the number fields.
const SIGN_CHARACTERS = { "␣": " ", "␠": " ", "⏎": "\n", "⇥": "\t" };

// "/regex/i" → expression; "#12" and "id:12" → that token; else text, where plain digits also mean an id.
function readSearch(query) {
  const regex = /^\/(.+)\/([imsuv]*)$/s.exec(query);
  if (regex) return { kind: "regex", test: new RegExp(regex[1], regex[2]) };
  const id = /^(?:#|id:)(\d+)$/.exec(query.trim());
  if (id) return { kind: "id", id: Number(id[1]) };
  const text = query
    .replace(/U\+([0-9A-Fa-f]{4,6})/g, (whole, hex) => {
      const point = parseInt(hex, 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
    })
    .replace(/[␣␠⏎⇥]/g, (sign) => SIGN_CHARACTERS[sign]);
  return { kind: text ? "text" : "all", text: text.toLowerCase(), exact: text, id: /^\d+$/.test(query) ? Number(query) : -1 };
}

// The same of what is being typed; none, and the reason below the box, while it is no regular expression.
function typedSearch(text) {
  const error = document.getElementById("search-error");
  error.hidden = true;
  try {
    return readSearch(text);
  } catch (problem) {
    error.textContent = `Not a regular expression: ${problem.message}`;
    error.hidden = false;
    return null;
  }
}

// `names` are functions of a row that give a string or null: what the search box looks in.
function makeFilter(rows, names, ids) {
  let lowered = null;

  async function matcher(search, pause) {
    if (search.kind === "regex") {
      return (i) => names.some((name) => {
        const text = name(i);
        return text !== null && search.test.test(text);
      });
    }
    if (search.kind === "id") return (i) => ids(i) === search.id;
    if (!lowered) {
      const made = new Array(rows);
      await eachOf(rows, (i) => {
        const [first, ...others] = names.map((name) => name(i) ?? "");
        // A character that no search can hold keeps a match from reaching from one string into the other.
        made[i] = others.reduce((all, one) => (one === first ? all : `${all}\uffff${one}`), first).toLowerCase();
      }, pause, 1024);
      lowered = made;
    }
    return (i) => lowered[i].includes(search.text) || ids(i) === search.id;
  }

  // `tests` are further conditions on a row.
  return async (search, tests, pause) => {
    const keep = new Uint8Array(rows);
    const all = [...tests];
    if (search.kind !== "all") all.push(await matcher(search, pause));
    let count = 0;
    await eachOf(rows, (i) => {
      for (const holds of all) if (!holds(i)) return;
      keep[i] = 1;
      count += 1;
    }, pause, 1024);
    return { keep, count };
  };
}

// Rows that a text names outright, by their id or by all of their string: the first few. Spaces around it do not count.
function namedBy({ kind, exact, id }, names, shown, ids, most = 8) {
  if (kind !== "text") return [];
  const wanted = exact.trim() || exact;
  const same = (text) => text !== null && (text === exact || (text.trim() || text) === wanted);
  const found = [];
  for (const i of shown) {
    if (ids(i) !== id && !names.some((name) => same(name(i)))) continue;
    if (ids(i) === id) found.unshift(i);
    else found.push(i);
  }
  return found.slice(0, most);
}
