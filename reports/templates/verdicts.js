// Verdicts as signs and words.
const VERDICT_SIGNS = { speakable: "●", tied: "◐", unspeakable: "✕", undecided: "?" };

function verdictNode(name) {
  const node = element("span", `verdict ${name ?? "none"}`);
  const sign = element("span", "sign", VERDICT_SIGNS[name] ?? "–");
  sign.setAttribute("aria-hidden", "true");
  node.append(sign, name ?? "not asked");
  return node;
}
