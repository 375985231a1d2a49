// What the dots of the map can be coloured by. Each gives groups in the order of painting with a code for each token,
// or a ramp of colours with a step for each.
const NO_GROUP = { name: "none", colour: "none-fill", shape: "circle", size: 3.6, alpha: 0.6 };
const CLUSTER_SHAPES = ["circle", "square"];
const KIND_SHAPES = ["circle", "square", "triangle", "diamond"];

const paletteLook = (at, shapes) => ({ colour: `cat-${at % 10}`, shape: shapes[Math.floor(at / 10) % shapes.length], size: 4.5 });

function byVerdict(tokens) {
  const groups = [{ ...NO_GROUP, name: "not asked" }, ...SCATTER_GROUPS];
  return { groups, codes: scatterGroups(tokens).map((group) => (group + 1) & 255) };
}

// For each set of bits the place of its lowest one from 1, 0 for none.
function firstKinds(kinds) {
  const codes = new Uint8Array(kinds.length);
  for (let i = 0; i < codes.length; i++) codes[i] = kinds[i] ? 32 - Math.clz32(kinds[i] & -kinds[i]) : 0;
  return codes;
}

// A token of several categories has the colour of the first.
function byKind(tokens) {
  const names = tokens.header.categories;
  const groups = [{ ...NO_GROUP, name: "no category" }, ...names.map(({ title }, at) => ({ name: title, ...paletteLook(at, KIND_SHAPES), size: 5.5 }))];
  return { groups, codes: firstKinds(tokens.kinds) };
}

function byCluster(tokens, { header, columns }) {
  const name = (i) => [...(tokens.text(i) ?? tokens.token(i) ?? `#${i}`)].slice(0, 12).map((one) => signOf(one) ?? one).join("");
  const groups = header.typical.map((some, at) => ({
    name: `${at + 1}: ${some.slice(0, 3).map(name).join(" · ")}`, title: `nearest to its centre: ${some.map(name).join(" · ")}`,
    ...paletteLook(at, CLUSTER_SHAPES), size: 4,
  }));
  return { groups, codes: columns.cluster };
}

// Groups of a ramp are its steps, and after them those without a value.
function byValue(values, name, words) {
  const found = ramped(values, name);
  if (!found) return null;
  const steps = rampColours(name);
  const groups = [...steps.map((colour) => ({ name: "", colour, shape: "circle", size: 4 })), { ...NO_GROUP, name: "not known" }];
  return { groups, codes: found.codes, ramp: { steps, labels: found.labels.map((value) => (value ? decimal(value) : "0")), words } };
}

function mapColours(tokens, packed) {
  const { margin: margins, columns: { row_norm: norms } } = tokens;
  const both = margins.some((value) => value < 0);
  const ends = "colours end where a hundredth of the tokens lies beyond";
  return [
    { key: "verdict", title: "verdict", make: () => byVerdict(tokens) },
    { key: "margin", title: "margin", make: () => byValue(margins, both ? "div" : "seq", `margin, logits; ${ends}`) },
    { key: "norm", title: "row norm", make: () => byValue(norms, "seq", `norm of the row; ${ends}`) },
    ...(tokens.header.categories.length ? [{ key: "category", title: "category", make: () => byKind(tokens) }] : []),
    { key: "cluster", title: "cluster", make: () => byCluster(tokens, packed) },
  ];
}
