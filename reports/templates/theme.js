// Runs in the head, before the first paint. Storage may be forbidden for files opened from disk.
let stored = null;
try {
  stored = localStorage.getItem("reach-theme");
} catch {
  stored = null;
}
const dark = stored ? stored === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.scripts = "on";
document.documentElement.dataset.theme = dark ? "dark" : "light";
