// Links to the run's other pages lead to the token that is open here.
for (const event of ["pointerdown", "focusin", "click"]) {
  document.addEventListener(event, ({ target }) => {
    const link = target.closest?.("a[data-page]");
    if (!link) return;
    const token = /(?:^#|&)token=(\d+)/.exec(location.hash)?.[1];
    link.href = link.href.split("#")[0] + (token === undefined ? "" : `#token=${token}`);
  }, true);
}
