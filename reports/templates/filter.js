// Which tokens are shown: the search box and the boxes to tick.
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
  return { kind: text ? "text" : "all", text: text.toLowerCase(), id: /^\d+$/.test(query) ? Number(query) : -1 };
}

function makeFilter(tokens) {
  let lowered = null;
  const { verdict, evidence, nearly_never: nearly } = tokens.columns;

  function matcher(search) {
    if (search.kind === "regex") {
      return (i) => {
        const piece = tokens.token(i);
        if (piece !== null && search.test.test(piece)) return true;
        const text = tokens.text(i);
        return text !== null && text !== piece && search.test.test(text);
      };
    }
    if (search.kind === "id") return (i) => i === search.id;
    lowered ??= Array.from({ length: tokens.rows }, (_, i) => {
      const piece = tokens.token(i) ?? "";
      const text = tokens.text(i) ?? "";
      // A character that no search can hold keeps a match from reaching from one string into the other.
      return (piece === text ? piece : `${piece}\uffff${text}`).toLowerCase();
    });
    return (i) => lowered[i].includes(search.text) || i === search.id;
  }

  // `ticked` holds one set of codes per group; an empty set lets everything through. `ranges` holds [from, to] for
  // margin and norm; null on either side leaves it open. A token without the value is outside every range.
  // `chosen` holds a 1 for each token that was picked elsewhere on the page; null lets all through.
  return (search, ticked, ranges = {}, chosen = null) => {
    const keep = new Uint8Array(tokens.rows);
    const matches = search.kind === "all" ? null : matcher(search);
    const table = (set) => (set.size ? Uint8Array.from({ length: 256 }, (_, code) => Number(set.has(code))) : null);
    const wanted = [...ticked.kind].reduce((mask, code) => mask | (1 << code), 0);
    const [verdicts, evidences, categories, formats] =
      [ticked.verdict, ticked.evidence, ticked.category, ticked.nearly].map(table);
    const within = [[ranges.margin, tokens.margin], [ranges.norm, tokens.columns.row_norm]]
      .filter(([range]) => range && (range[0] !== null || range[1] !== null))
      .map(([[from, to], values]) => ({ from: from ?? -Infinity, to: to ?? Infinity, values }));
    let count = 0;
    for (let i = 0; i < keep.length; i++) {
      if (chosen && !chosen[i]) continue;
      if (verdicts && !verdicts[verdict[i]]) continue;
      if (evidences && !evidences[evidence[i]]) continue;
      if (categories && !categories[tokens.category(i) & 255]) continue;
      if (formats && !formats[nearly[i]]) continue;
      if (wanted && !(tokens.kinds[i] & wanted)) continue;
      if (!within.every(({ from, to, values }) => values[i] >= from && values[i] <= to)) continue;
      if (matches && !matches(i)) continue;
      keep[i] = 1;
      count += 1;
    }
    return { keep, count };
  };
}
