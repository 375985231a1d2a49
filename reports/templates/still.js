// A page without data of its own.
startTheme();
document.documentElement.dataset.ready = "yes";
