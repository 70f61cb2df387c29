"use strict";

/* Figures of a page (templates/plots.html): their data and the plot library are loaded when a figure is scrolled to, or
   its button is pressed; choices of table, score and so on; and the numbers as a table, without the plot library. */
(() => {
  const { node, text } = bench.plot;

  /* Return the data of a figure. */
  function dataOf(figure) {
    return bench.load(figure.dataset.name, figure.dataset.address);
  }

  /* Return the view that fits a choice: where no view fits all of it, the last choice that was made counts first. */
  function viewOf(plot, picked, last) {
    const fits = (view) => view.picked.filter((name, k) => name === picked[k]).length + (view.picked[last] === picked[last] ? 99 : 0);
    return plot.views.reduce((best, view) => (fits(view) > fits(best) ? view : best));
  }

  /* Show a view: its choices, notes, drawing, and its numbers where they are open. */
  async function show(figure, plot, view) {
    figure.view = view;
    choices(figure, plot, view);
    const notes = figure.querySelector(".plot-notes");
    notes.replaceChildren(...view.notes.map((note) => node("p", "", note)));
    numbers(figure, view);
    if (figure.isDrawn) await drawing(figure, view);
  }

  async function drawing(figure, view) {
    const place = figure.querySelector(".plot-drawing");
    try {
      await bench.plot(place, view);
    } catch (error) {
      place.replaceChildren(node("p", "plot-failed", `This plot cannot be drawn: ${error.message}`));
    }
  }

  /* Make a select for each choice that has more than one option; made once, later only set. */
  function choices(figure, plot, view) {
    const place = figure.querySelector(".plot-choices");
    if (!place.childElementCount) {
      plot.choices.forEach((name, k) => {
        const options = [...new Set(plot.views.map((one) => one.picked[k]))];
        if (options.length < 2) return;
        const label = node("label", "", `${name} `);
        const select = node("select", "");
        select.dataset.choice = k;
        options.forEach((option) => select.append(new Option(option, option)));
        select.addEventListener("change", () => {
          const picked = [...figure.view.picked];
          picked[k] = select.value;
          show(figure, plot, viewOf(plot, picked, k));
        });
        label.append(select);
        place.append(label);
      });
      place.hidden = !place.childElementCount;
    }
    place.querySelectorAll("select").forEach((select) => {
      select.value = view.picked[select.dataset.choice];
    });
  }

  /* Write the numbers of a view as a table, where they are open. */
  function numbers(figure, view) {
    const details = figure.querySelector(".plot-numbers");
    details.querySelectorAll(".wide").forEach((old) => old.remove());
    if (!details.open) return;
    const { head, rows } = bench.plotNumbers(view);
    const wide = node("div", "wide");
    wide.tabIndex = 0;
    wide.setAttribute("role", "region");
    wide.setAttribute("aria-label", `${view.label} The numbers.`);
    const table = node("table", "plain");
    const top = table.createTHead().insertRow();
    head.forEach((name) => {
      const cell = node("th", "", name);
      cell.scope = "col";
      top.append(cell);
    });
    const body = table.createTBody();
    rows.forEach((row) => {
      const line = body.insertRow();
      row.forEach((value, k) => {
        const cell = node(k ? "td" : "th", typeof value === "number" ? "number" : "");
        if (!k) cell.scope = "row";
        cell.textContent = value === null || value === undefined ? "" : String(value);
        line.append(cell);
      });
    });
    wide.append(table);
    details.append(wide);
  }

  /* Draw a figure once. */
  async function open(figure) {
    if (figure.isDrawn) return;
    figure.isDrawn = true;
    await ready(figure);
    await drawing(figure, figure.view);
  }

  /* Load the data of a figure and show its first view; without the drawing, which needs the library. */
  async function ready(figure) {
    if (figure.view) return;
    const plot = await dataOf(figure);
    if (!figure.view) await show(figure, plot, plot.views[0]);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      open(entry.target.closest("figure"));
    }
  }, { rootMargin: "100px" });

  for (const figure of document.querySelectorAll("figure.plot")) {
    const button = figure.querySelector(".plot-draw");
    button.hidden = false;
    figure.querySelector(".plot-numbers").hidden = false;
    button.addEventListener("click", () => open(figure));
    seen.observe(figure.querySelector(".plot-drawing"));
    figure.querySelector(".plot-numbers").addEventListener("toggle", async () => {
      await ready(figure);
      numbers(figure, figure.view);
    });
  }
})();
