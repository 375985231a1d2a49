// The button that changes the theme; `theme.js` chose the first one.
function startTheme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const show = () => {
    const dark = root.dataset.theme === "dark";
    document.getElementById("theme-label").textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", dark ? "Use the light theme" : "Use the dark theme");
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("reach-theme", root.dataset.theme);
    } catch {
      // The choice then lasts as long as the page.
    }
    show();
    document.dispatchEvent(new CustomEvent("reach-theme"));
  });
  show();
}
