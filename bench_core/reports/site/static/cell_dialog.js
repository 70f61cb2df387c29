"use strict";

/* What stands behind a score: one dialog for all cells of a page, and a short line on hover or
   focus. */
bench.cellDialog = (() => {
  const { element } = bench;
  const STATES = {
    skipped: "skipped: the task does not apply",
    failed: "failed",
    missing: "not run",
    stale: "stale",
  };
  let dialog;
  let tip;

  /* Return the sentence on what ± and n are of. */
  function spread(column, cell) {
    const seeds = `${cell.n} ${cell.n === 1 ? "seed" : "seeds"}`;
    if (column.kind !== "task") return "";
    if (cell.h !== undefined)
      return (
        `half-width of the 95 % t interval of the mean over ${seeds}: ` +
        "other trainings, same data"
      );
    if (cell.lo !== undefined)
      return "95 % interval over the test items of one seed; it says nothing about other seeds";
    if (cell.v === undefined) return "";
    return cell.n ? `none: ${seeds}; an interval needs three` : "none";
  }

  /* Return a value as the table shows its unit. */
  function shown(column, value) {
    if (value === null || value === undefined) return "";
    if (column.unit === "fraction") return `${(100 * value).toFixed(2)} %`;
    return `${Number(value.toPrecision(6))}${column.unit ? ` ${column.unit}` : ""}`;
  }

  /* Return name and text of all that is known of a cell. */
  function facts(data, column, cell, first) {
    const better = { true: "higher is better", false: "lower is better" }[column.up];
    const protocol = data.footer.find((line) => column.task && line.startsWith(`${column.task}: `));
    const best = first
      ? "the best mean of its column"
      : "not distinguishable from the best of its column";
    return [
      ["State", cell.s ? (STATES[cell.s] ?? cell.s) : ""],
      ["Reason", cell.w],
      ["Caveat", cell.c],
      ["±", spread(column, cell)],
      ["Marked", cell.b && best],
      [
        "Ranked",
        column.kind === "task" && column.ranks && cell.v !== undefined && !cell.r ? "no" : "",
      ],
      ["Direction", better],
      ["Reads", column.embedding],
      ["Measured by", protocol && protocol.slice(column.task.length + 2)],
    ].filter(([, text]) => text);
  }

  /* Return the list of values by seed, each with a link to the page of its cell. */
  function seedList(seeds, column, root) {
    const items = seeds.map(([seed, value, address]) => {
      const text = `seed ${seed}: ${shown(column, value)}`;
      return element("li", {}, address ? element("a", { href: root + address }, text) : text);
    });
    return element("ul", {}, ...items);
  }

  /* Make the dialog once. It ends by Esc, its button, or a press outside; the browser then gives
     back the focus. */
  function made() {
    if (dialog) return dialog;
    dialog = element("dialog", { class: "cell", "aria-labelledby": "cell-title" });
    dialog.addEventListener("click", (event) => {
      const box = dialog.getBoundingClientRect();
      const inside =
        event.clientX >= box.left &&
        event.clientX <= box.right &&
        event.clientY >= box.top &&
        event.clientY <= box.bottom;
      if (event.target === dialog && event.detail && !inside) dialog.close();
    });
    document.body.append(dialog);
    return dialog;
  }

  /* Show what is known of a cell; values by seed are loaded for it. */
  function open(data, board, { row, column, cell, place }) {
    hideTip();
    const { root } = document.body.dataset;
    const close = element("button", { type: "button", class: "close", autofocus: true }, "Close");
    close.addEventListener("click", () => made().close());
    const links = [
      [row.href, `the method ${row.method}`],
      [column.href, `the task ${column.task}`],
    ]
      .filter(([href]) => href)
      .map(([href, text]) => element("a", { href: root + href }, text));
    const seeds = element("div", { class: "seeds", "aria-live": "polite" });
    made().replaceChildren(
      element("h2", { id: "cell-title" }, `${row.label}: ${column.title}`),
      element(
        "p",
        { class: "lead" },
        element("strong", {}, cell.t || STATES[cell.s] || "no value"),
      ),
      element(
        "dl",
        { class: "facts" },
        ...facts(data, column, cell, place.classList.contains("first")).flatMap(([name, text]) => [
          element("dt", {}, name),
          element("dd", {}, text),
        ]),
      ),
      seeds,
      element(
        "p",
        { class: "ways" },
        ...links.flatMap((link, place) => [place ? " · " : "More: ", link]),
      ),
      close,
    );
    if (!links.length) made().querySelector(".ways").remove();
    if (column.kind === "task" && row.kind !== "chance")
      showSeeds(seeds, data, board, row, column, root);
    made().showModal();
  }

  /* Fill in the values by seed, once they are here. */
  async function showSeeds(place, data, board, row, column, root) {
    place.textContent = "Reading the values by seed …";
    try {
      const all = await bench.load(`seeds/${board}`, `data/seeds/${board}.js`);
      const seeds = all[data.id][row.id][column.id] || [];
      if (seeds.length)
        place.replaceChildren(element("h3", {}, "By seed"), seedList(seeds, column, root));
      else place.textContent = "";
    } catch (error) {
      place.textContent = `Values by seed: ${error.message}.`;
    }
  }

  /* Return the line that a cell without a plain number has: why it is so. */
  function remark(cell) {
    return [cell.s && (STATES[cell.s] ?? cell.s), cell.c, cell.w].filter(Boolean).join("; ");
  }

  /* Show a cell's remark beside it, for pointer and keyboard; `describe` ties it to the focused
     cell. */
  function showTip(place, cell, describe) {
    const text = remark(cell);
    if (!text) return hideTip();
    if (!tip) {
      tip = element("div", { id: "tip", role: "tooltip", class: "tip" });
      document.body.append(tip);
    }
    tip.textContent = text;
    tip.hidden = false;
    const box = place.getBoundingClientRect();
    const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const below = box.bottom + tip.offsetHeight + 8 < window.innerHeight;
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    const top = below ? box.bottom + 4 : box.top - tip.offsetHeight - 4;
    tip.style.top = `${top + window.scrollY}px`;
    if (describe) place.setAttribute("aria-describedby", "tip");
    return undefined;
  }

  /* Take the remark away. */
  function hideTip() {
    if (tip) tip.hidden = true;
  }

  return { open, showTip, hideTip, remark };
})();
