"use strict";

/* Light or dark: the system's choice, or the reader's, which is kept where the browser keeps
   things. This script is read before the page is shown, so that a dark page is never white for a
   moment. */
(() => {
  const KEY = "bench-theme";
  const NEXT = { auto: "light", light: "dark", dark: "auto" };
  const LABELS = { auto: "Auto", light: "Light", dark: "Dark" };

  /* Return what the reader chose earlier; pages from a file, or without cookies, may have no
     storage. */
  function kept() {
    try {
      return localStorage.getItem(KEY) in NEXT ? localStorage.getItem(KEY) : "auto";
    } catch {
      return "auto";
    }
  }

  /* Keep a choice where that is possible. */
  function keep(theme) {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // the choice then holds for this page alone
    }
  }

  /* Colour the page; "auto" leaves it to the system. */
  function apply(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  /* Write a choice onto the button. */
  function label(button, theme) {
    button.textContent = LABELS[theme];
    button.setAttribute("aria-label", `Colours: ${LABELS[theme]}`);
  }

  let theme = kept();
  apply(theme);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("button.theme");
    if (!button) return;
    label(button, theme);
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = NEXT[theme];
      keep(theme);
      apply(theme);
      label(button, theme);
    });
  });
})();
