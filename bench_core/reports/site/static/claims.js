"use strict";

/* The list of all claims: a press on a verdict shows the claims that have it. The choice is in the
   address. */
(() => {
  const list = document.querySelector("[data-filter=claims]");
  const state = document.querySelector(".state");
  const claims = [...document.querySelectorAll(".papers [data-verdict]")];
  const papers = [...document.querySelectorAll(".papers .paper")];

  /* Put each verdict with its count into a button. */
  function buttons() {
    return [...list.children].map((item) => {
      const button = bench.element("button", { type: "button", class: "bare" }, ...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        const now =
          bench.view().get("verdict") === item.dataset.verdict ? "" : item.dataset.verdict;
        bench.setView(new Map([["verdict", now]]));
        show();
      });
      return { button, verdict: item.dataset.verdict };
    });
  }

  /* Show the claims with the verdict of the address, and the papers that have one. */
  function show() {
    const asked = bench.view().get("verdict");
    const chosen = made.some(({ verdict }) => verdict === asked) ? asked : "";
    for (const { button, verdict } of made) {
      button.setAttribute("aria-pressed", String(verdict === chosen));
    }
    for (const claim of claims) claim.hidden = Boolean(chosen) && claim.dataset.verdict !== chosen;
    for (const paper of papers) paper.hidden = !paper.querySelector("[data-verdict]:not([hidden])");
    const shown = claims.filter((claim) => !claim.hidden).length;
    state.textContent = chosen
      ? `${shown} of ${claims.length} claims are shown: ${chosen}. Press it again to show all.`
      : "";
  }

  const made = buttons();
  window.addEventListener("hashchange", show);
  show();
})();
