"use strict";

/* Figures of a page (templates/plots.html): their data and the library are loaded when a figure
   is scrolled to, or its button is pressed; choices of table, score and so on; and the numbers as a
   table, without the plot library. */
(() => {
  const { node } = bench.plot;

  /* Return the data of a figure. */
  function dataOf(figure) {
    return bench.load(figure.dataset.name, figure.dataset.address);
  }

  /* Return the view that fits most of what is picked, and in any case the choice that was made last
     and those before it. */
  function viewOf(plot, picked, last) {
    const agreed = (view) => view.picked.filter((name, k) => name === picked[k]).length;
    const fitting = plot.views.filter((view) =>
      picked.slice(0, last + 1).every((name, k) => name === view.picked[k]),
    );
    return fitting.reduce((best, view) => (agreed(view) > agreed(best) ? view : best));
  }

  /* Show a view: its choices, notes, drawing, and its numbers where they are open. */
  async function show(figure, plot, picked) {
    const view = whole(plot, picked);
    figure.view = view;
    choices(figure, plot, view);
    const notes = figure.querySelector(".plot-notes");
    notes.replaceChildren(...view.notes.map((note) => node("p", "", note)));
    numbers(figure, view);
    if (figure.isDrawn) await bench.plot(figure.querySelector(".plot-drawing"), view);
  }

  /* Return a view with what it shares with others: images of items, or points, which are the rows
     with both numbers. */
  function whole(plot, view) {
    if (plot.shared.items) return { ...view, pictures: plot.shared.items };
    if (!view.of) return view;
    const [title, cost, score] = view.of;
    const { names, kinds, columns } = plot.shared[title];
    const [x, y] = [columns[cost], columns[score]];
    const kept = names.map((_, k) => k).filter((k) => x.value[k] !== null && y.value[k] !== null);
    const points = kept.map((k) => ({
      name: names[k],
      kind: kinds[k],
      x: x.value[k],
      y: y.value[k],
      dy: y.half[k],
    }));
    return { ...view, points, front: view.front.map((k) => kept.indexOf(k)) };
  }

  /* Do a step with a figure; where it fails, as a file is missing, the figure says so. */
  async function attempt(figure, step) {
    try {
      await step();
    } catch (error) {
      const failed = node("p", "plot-failed", `This plot cannot be drawn: ${error.message}`);
      figure.querySelector(".plot-drawing").replaceChildren(failed);
    }
  }

  /* Make a select for each choice; its options are those that fit the choices before it. */
  function choices(figure, plot, view) {
    const place = figure.querySelector(".plot-choices");
    if (!place.childElementCount)
      plot.choices.forEach((name, k) => place.append(choice(figure, plot, name, k)));
    place.querySelectorAll("select").forEach((select, k) => {
      const fits = (one) =>
        one.picked.slice(0, k).every((name, place) => name === view.picked[place]);
      const options = [...new Set(plot.views.filter(fits).map((one) => one.picked[k]))];
      select.replaceChildren(...options.map((option) => new Option(option, option)));
      select.value = view.picked[k];
      select.parentElement.hidden = options.length < 2;
    });
    place.hidden = ![...place.children].some((label) => !label.hidden);
  }

  function choice(figure, plot, name, k) {
    const label = node("label", "", `${name} `);
    const select = node("select", "");
    select.addEventListener("change", () => {
      const picked = [...figure.view.picked];
      picked[k] = select.value;
      attempt(figure, () => show(figure, plot, viewOf(plot, picked, k)));
    });
    label.append(select);
    return label;
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
  function open(figure) {
    if (figure.isDrawn) return;
    figure.isDrawn = true;
    attempt(figure, async () => {
      if (figure.view) await bench.plot(figure.querySelector(".plot-drawing"), figure.view);
      else await ready(figure);
    });
  }

  /* Load the data of a figure and show its first view; drawn only where the figure is open. */
  async function ready(figure) {
    if (figure.view) return;
    const plot = await dataOf(figure);
    if (!figure.view) await show(figure, plot, plot.views[0]);
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        seen.unobserve(entry.target);
        open(entry.target.closest("figure"));
      }
    },
    { rootMargin: "100px" },
  );

  for (const figure of document.querySelectorAll("figure.plot")) {
    const button = figure.querySelector(".plot-draw");
    button.hidden = false;
    figure.querySelector(".plot-numbers").hidden = false;
    button.addEventListener("click", () => open(figure));
    seen.observe(figure.querySelector(".plot-drawing"));
    figure.querySelector(".plot-numbers").addEventListener("toggle", () => {
      attempt(figure, async () => {
        await ready(figure);
        numbers(figure, figure.view);
      });
    });
  }
})();
