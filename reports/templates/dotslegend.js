// What the colours and shapes of dots mean, with counts. A button for each group shows and hides its dots.
function swatch(group) {
  const picture = drawn("svg", { class: "swatch-dot", viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" });
  const path = drawn("path", { d: shapePath(group.shape, 0, 0, 4.6) });
  path.style[isHollow(group.shape) ? "stroke" : "fill"] = `var(--${group.colour})`;
  path.style[isHollow(group.shape) ? "fill" : "stroke"] = "none";
  path.style.strokeWidth = "2";
  picture.append(path);
  return picture;
}

// `off` is the set of hidden groups, by their places; `changed` is called when it has changed.
function groupLegend(place, groups, off, changed) {
  const keys = groups.map((group, at) => {
    const button = element("button", "quiet dotkey");
    button.type = "button";
    const words = element("span", "", group.name);
    button.append(swatch(group), words, element("span", "count", grouped(group.count)));
    if (group.title) button.title = group.title;
    button.hidden = group.count === 0;
    button.setAttribute("aria-pressed", String(!off.has(at)));
    button.addEventListener("click", () => {
      if (off.has(at)) off.delete(at);
      else off.add(at);
      button.setAttribute("aria-pressed", String(!off.has(at)));
      changed();
    });
    return button;
  });
  place.replaceChildren(...keys);
}

// A row of colours from small to large, with the numbers that belong to its ends and, where there is one, its middle.
function rampLegend(place, { steps, labels, words }) {
  const bar = element("span", "ramp");
  bar.setAttribute("aria-hidden", "true");
  for (const colour of steps) {
    const step = element("span", "");
    step.style.background = `rgb(${colour.join(" ")})`;
    bar.append(step);
  }
  const [low, high] = [labels[0], labels[labels.length - 1]];
  const box = element("span", "ramped");
  box.append(element("span", "", low), bar, element("span", "", high));
  const between = labels.length === 3 ? `the middle is ${labels[1]}; ` : "";
  place.replaceChildren(box, element("span", "aside", between + words));
}
