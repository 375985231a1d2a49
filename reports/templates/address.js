// What the page shows, in the fragment of its address: `#token=17&verdict=unspeakable&margin=-1..&sort=-margin`.
// A fragment without "=" is a place on the page and says nothing about what is shown.

// Entries by name; null where the fragment is a place.
function readAddress(fragment) {
  const text = fragment.replace(/^#/, "");
  if (text === "") return new Map();
  return text.includes("=") ? new Map(new URLSearchParams(text)) : null;
}

function writeAddress(entries) {
  const coded = ([name, value]) => new URLSearchParams([[name, value]]).toString();
  const kept = [...entries].filter(([, value]) => value !== "" && value !== null);
  // Signs that a fragment may hold as they are: it is there to be read.
  return kept.map(coded).join("&").replace(/%2C/g, ",").replace(/%2F/g, "/").replace(/%3A/g, ":");
}

// "from..to", either end open; what is no number is open.
function readRange(text) {
  const at = (text ?? "").indexOf("..");
  if (at < 0) return [null, null];
  const ends = [text.slice(0, at), text.slice(at + 2)];
  return ends.map((end) => (end.trim() === "" || !Number.isFinite(Number(end)) ? null : Number(end)));
}

function writeRange([from, to]) {
  return from === null && to === null ? "" : `${from ?? ""}..${to ?? ""}`;
}

// Browsers may forbid to change the address of a file, or to do so often; the fragment alone can still be set.
function setAddress(fragment, { push }) {
  if (fragment === location.hash.replace(/^#/, "")) return;
  try {
    const url = location.href.split("#")[0] + (fragment ? `#${fragment}` : "");
    if (push) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  } catch {
    location.hash = fragment;
  }
}
