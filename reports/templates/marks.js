// Token strings made visible, by the rules of reports/marks.py. Strings reach the page through textContent only.
const NAMED_SIGNS = new Map([[" ", "␣"], ["\n", "⏎"], ["\t", "⇥"], ["\x7f", "DEL"]]);
const CONTROLS = (
  "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI " +
  "DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
).split(" ");
const UNSEEN = /[\p{C}\p{Z}]/u;
const COMBINING = /\p{M}/u;

function signOf(character) {
  const named = NAMED_SIGNS.get(character);
  if (named) return named;
  if (character < " ") return CONTROLS[character.charCodeAt(0)];
  if (!UNSEEN.test(character)) return null;
  return "U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A token's address by the page's own name: where links scroll in a box of their own, a bare fragment would read as one
// that skips over content.
function tokenAddress(token) {
  return `./${location.pathname.split("/").pop()}${location.search}#token=${token}`;
}

// A string with signs for what cannot be seen.
function signed(text) {
  return Array.from(text, (one) => signOf(one) ?? one).join("");
}

// `absent` stands for a token without a name: its id, wherever that does not stand beside it.
function tokenNode(text, limit = 80, absent = "none") {
  const node = element("bdi", "tok");
  node.dir = "ltr";
  if (text === null) {
    node.append(element("span", "mark", absent));
    return node;
  }
  let plain = "";
  let shown = 0;
  const flush = () => {
    if (plain) node.append(plain);
    plain = "";
  };
  for (const character of text) {
    if (shown === limit) break;
    shown += 1;
    const sign = signOf(character);
    if (sign === null) {
      if (!plain && COMBINING.test(character)) plain = "◌";
      plain += character;
    } else {
      flush();
      node.append(element("span", "mark", sign));
    }
  }
  flush();
  // Counted only for the rare long string: code points, as everywhere else.
  const hidden = text.length > limit ? [...text].length - shown : 0;
  if (hidden > 0) node.append(element("span", "mark", `… ${hidden} more`));
  if (!text) node.append(element("span", "mark", "empty"));
  return node;
}
