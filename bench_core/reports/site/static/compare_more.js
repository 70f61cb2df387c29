"use strict";

/* What records and logs hold of the rows that are compared: trainings, curves over each other,
   images side by side. It comes from the data of the board's plots and of its logs, which are
   loaded when a part is scrolled to. */
(() => {
  const el = bench.element;

  /* Make a select with a label; change is called with its value. */
  function choose(label, options, value, change) {
    const select = el(
      "select",
      {},
      ...options.map(([key, text]) => el("option", { value: key }, text)),
    );
    select.value = value;
    select.addEventListener("change", () => change(select.value));
    return el("label", {}, `${label} `, select);
  }

  /* Put choices in the place of others; the one that is in use stays in use. */
  function pick({ choices }, ...labels) {
    const used = [...choices.querySelectorAll("select")].indexOf(document.activeElement);
    choices.replaceChildren(...labels);
    if (used >= 0) choices.querySelectorAll("select")[used]?.focus();
  }

  /* Make a part with a title, a place for choices and one for the drawing; it is filled when it is
     scrolled to. */
  function part(title, text, fill) {
    const choices = el("div", { class: "plot-choices" });
    const place = el("div", { class: "plot-drawing" });
    const said = el("p", { class: "quiet", role: "status" });
    let shown = null;
    const { fold, fill: refresh } = bench.compare.numbers(`${title}: the numbers`, () =>
      bench.plotNumbers(shown),
    );
    fold.hidden = true;
    const draw = (view) => {
      shown = view;
      fold.hidden = false;
      refresh();
      return bench.plot(place, view);
    };
    const figure = el(
      "figure",
      { class: "plot" },
      el("figcaption", {}, el("h3", {}, title), el("p", {}, text)),
      choices,
      place,
      said,
      fold,
    );
    const seen = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        seen.disconnect();
        fill({ choices, place, said, draw }).catch((error) => {
          place.classList.add("drawn");
          said.textContent = `This cannot be shown: ${error.message}.`;
        });
      },
      { rootMargin: "100px" },
    );
    seen.observe(figure);
    return figure;
  }

  /* Say why nothing is drawn, in the place of a drawing. */
  function nothing({ choices, place, said }, text) {
    choices.replaceChildren();
    place.replaceChildren();
    place.classList.add("drawn");
    said.textContent = text;
  }

  /* Load the logs of rows at one seed: [name, log]; rows without one are left out. */
  async function logsAt(logs, names, seed) {
    const found = [];
    for (const name of names) {
      const log = (logs[name] || []).find((one) => one[0] === seed);
      if (log) found.push([name, await bench.load(`log/${log[1]}`, `data/logs/${log[1]}.js`)]);
    }
    return found;
  }

  /* Show one number of the logs over the epochs, at one seed. */
  function training(data, table, names) {
    const logs = data.logs[table] || {};
    const kept = names.filter((name) => logs[name]);
    const without = names.filter((name) => !logs[name]);
    const note = without.length ? `Not kept, or nothing was trained: ${without.join(", ")}.` : "";
    return part(
      "Training",
      "One number of the training logs over the epochs, at one seed.",
      async (places) => {
        if (!kept.length) return nothing(places, "Logs of these rows are not kept.");
        const seeds = [...new Set(kept.flatMap((name) => logs[name].map((one) => one[0])))].sort(
          (a, b) => a - b,
        );
        let [seed, number] = [seeds[0], ""];
        const show = async () => {
          const found = await logsAt(logs, kept, seed);
          const numbers = [...new Set(found.flatMap(([, log]) => log.columns.slice(1)))];
          if (!numbers.length) return nothing(places, "These logs hold no numbers.");
          if (!numbers.includes(number)) [number] = numbers;
          pick(
            places,
            choose(
              "number",
              numbers.map((one) => [one, one.replaceAll("_", " ")]),
              number,
              (value) => {
                number = value;
                show();
              },
            ),
            choose(
              "seed",
              seeds.map((one) => [one, String(one)]),
              seed,
              (value) => {
                seed = Number(value);
                show();
              },
            ),
          );
          const series = found
            .filter(([, log]) => log.columns.includes(number))
            .map(([name, log]) => {
              const at = log.columns.indexOf(number);
              const rows = log.rows.filter((row) => row[at] !== null && row[at] !== undefined);
              return { name, x: rows.map((row) => row[0]), y: rows.map((row) => row[at]) };
            });
          places.said.textContent = note;
          const y = number.replaceAll("_", " ");
          return places.draw({
            shape: "lines",
            label: `${y} over epochs of ${names.join(", ")}, seed ${seed}`,
            x: "epoch",
            y,
            series: inOrder(series, names),
          });
        };
        return show();
      },
    );
  }

  /* Return series in the order of the rows, so that each has the colour of its row where all are
     there. */
  function inOrder(series, names) {
    return names.flatMap((name) => series.filter((one) => one.name === name));
  }

  /* Return the views of plots that hold at least one of the rows in this table, cut down to the
     rows. */
  function viewsOf(plots, title, names) {
    const found = [];
    for (const plot of plots) {
      for (const view of plot.views.filter((one) => one.picked[0] === title)) {
        const key = view.series ? "series" : "panels";
        const kept = inOrder(view[key], names);
        if (kept.length)
          found.push({
            view: { ...view, [key]: kept },
            name: `${plot.title}: ${view.picked.slice(1).join(", ")}`,
            kept,
          });
      }
    }
    return found;
  }

  /* Show what some plots of the board have of these rows, one at a time. */
  function fromPlots(heading, text, kinds, board, title, names) {
    return part(heading, text, async (places) => {
      const plots = [];
      for (const kind of kinds)
        plots.push(await bench.load(`plot/${board}/${kind}`, `data/plots/${board}/${kind}.js`));
      const views = viewsOf(plots, title, names);
      if (!views.length) return nothing(places, "The records of these rows keep none.");
      const show = (number) => {
        const { view, name, kept } = views[number];
        const options = views.map((one, k) => [k, one.name]);
        if (views.length > 1)
          pick(
            places,
            choose("show", options, number, (value) => show(Number(value))),
          );
        else places.choices.replaceChildren(el("span", {}, name));
        const without = names.filter((row) => !kept.some((one) => one.name === row));
        const notes = [
          ...view.notes,
          ...(without.length ? [`Not kept of ${without.join(", ")}.`] : []),
        ];
        places.said.textContent = notes.join(" ");
        return places.draw(view);
      };
      return show(0);
    });
  }

  /* Return the parts on trainings, curves and images of some rows in one table of a board. */
  bench.compare.more = (data, board, table, names) => {
    const { title } = data.tables[table];
    const curves = data.plots.filter((kind) => kind !== "samples");
    const parts = [training(data, table, names)];
    if (curves.length) {
      parts.push(
        fromPlots(
          "Curves",
          "Curves that tasks keep beside their scores, over each other.",
          curves,
          board,
          title,
          names,
        ),
      );
    }
    if (data.plots.includes("samples")) {
      parts.push(
        fromPlots(
          "Images",
          "Grids of images that the rows draw, decode or confuse, beside each other.",
          ["samples"],
          board,
          title,
          names,
        ),
      );
    }
    return el(
      "section",
      { class: "compare-more" },
      el("h2", {}, "Trainings, curves and images"),
      ...parts,
    );
  };
})();
