"use strict";

/* The controls above a board's table: filters, columns, downloads and links. They read and change
   the model's view (table.js), and are set to it after every change, so that a link and a press
   lead to the same. */
bench.boardControls = (() => {
  const { element } = bench;
  const KINDS = {
    method: "methods",
    labels: "references with labels",
    network: "networks of others",
    chance: "chance level",
  };

  /* Return a text that other parts of an id can be made of. */
  let made = 0;
  const newId = () => `control-${(made += 1)}`;

  /* A labelled box that one of several texts can be chosen in; `options` are pairs of value and
     text. */
  function select(model, name, label, options) {
    const id = newId();
    const box = element("select", { id });
    for (const [value, text] of [["", "all"], ...options])
      box.append(element("option", { value }, text));
    box.addEventListener("change", () => model.change({ [name]: box.value }));
    const update = () => {
      const value = model.view()[name];
      if (![...box.options].some((option) => option.value === value)) {
        box.append(element("option", { value }, value)); // a link may ask for what this board lacks
      }
      box.value = value;
    };
    return {
      node: element("div", { class: "field" }, element("label", { for: id }, label), box),
      update,
    };
  }

  /* A box for a part of a method's name. */
  function search(model) {
    const id = newId();
    const box = element("input", { id, type: "search", autocomplete: "off", spellcheck: "false" });
    box.addEventListener("input", () => model.change({ text: box.value }));
    const update = () => {
      if (box.value !== model.view().text) box.value = model.view().text;
    };
    return {
      node: element(
        "div",
        { class: "field" },
        element("label", { for: id }, "Method contains"),
        box,
      ),
      update,
    };
  }

  /* A labelled check box. */
  function check(label, changed) {
    const box = element("input", { type: "checkbox" });
    box.addEventListener("change", () => changed(box.checked));
    return { box, node: element("label", { class: "check" }, box, label) };
  }

  /* A fold with check boxes for families of tasks; none is all. */
  function families(model) {
    const title = element("summary", {});
    const panel = element("div", { class: "panel" });
    const boxes = model.families.map((family) => {
      const one = check(family.split("/").pop(), (on) => {
        const others = model.view().families.filter((name) => name !== family);
        model.change({
          families: model.families.filter((name) => (name === family ? on : others.includes(name))),
        });
      });
      panel.append(one.node);
      return [family, one.box];
    });
    const update = () => {
      const chosen = model.view().families;
      const told = chosen.length ? `${chosen.length} of ${boxes.length}` : "all";
      title.textContent = `Families: ${told}`;
      for (const [family, box] of boxes) box.checked = chosen.includes(family);
    };
    return { node: element("details", {}, title, panel), update };
  }

  /* Return the heading that a column stands under in the choice of columns. */
  const groupOf = (column) => column.task || (column.kind === "cost" ? "costs" : "over all tasks");

  /* A fold with all columns, grouped by task; filled when it is first opened, since a board may
     have hundreds. */
  function columns(model) {
    const title = element("summary", {});
    const fold = element("details", {}, title);
    let boxes = [];
    const fill = () => {
      const panel = element("div", { class: "panel" });
      for (const group of [...new Set(model.data.columns.map(groupOf))]) {
        const of = model.data.columns.filter((column) => groupOf(column) === group);
        const set = element("fieldset", {}, element("legend", {}, group));
        for (const column of of) {
          const label = column.kind === "task" ? column.metric || column.title : column.title;
          const one = check(label, (on) => model.choose({ [column.id]: on }));
          boxes.push([column, one.box]);
          set.append(one.node);
        }
        if (of.length > 1) set.append(allOrNone(model, of));
        panel.append(set);
      }
      fold.append(panel);
      update();
    };
    const update = () => {
      const { view, data } = model;
      title.textContent = `Columns: ${model.columns().length} of ${data.columns.length}`;
      for (const [column, box] of boxes) box.checked = view().columns[column.id] ?? column.shown;
    };
    fold.addEventListener("toggle", () => boxes.length || fill());
    return { node: fold, update };
  }

  /* Two buttons for all columns of a group. */
  function allOrNone(model, group) {
    const button = (text, on) => {
      const made = element("button", { type: "button", class: "bare" }, text);
      made.setAttribute("aria-label", `${text} of ${groupOf(group[0])}`);
      made.addEventListener("click", () =>
        model.choose(Object.fromEntries(group.map(({ id }) => [id, on]))),
      );
      return made;
    };
    return element("div", {}, button("All", true), button("None", false));
  }

  /* A button that shows and hides all costs. */
  function costs(model) {
    const of = model.data.columns.filter((column) => column.kind === "cost");
    const button = element("button", { type: "button" }, "Costs");
    const shown = () =>
      of.length > 0 && of.every((column) => model.view().columns[column.id] ?? column.shown);
    button.addEventListener("click", () => {
      const on = !shown();
      model.choose(Object.fromEntries(of.map(({ id }) => [id, on])));
    });
    button.hidden = !of.length;
    return { node: button, update: () => button.setAttribute("aria-pressed", String(shown())) };
  }

  /* A fold with a button for each form of file. */
  function downloads(model, board) {
    const panel = element("div", { class: "panel" });
    for (const [form, { make, end, type }] of Object.entries(bench.downloads.FORMS)) {
      const button = element("button", { type: "button" }, form);
      button.setAttribute("aria-label", `Download the view as ${form}`);
      const name = model.data.id ? `${board}-${model.data.id}.${end}` : `${board}.${end}`;
      button.addEventListener("click", () => bench.downloads.save(name, type, make(model)));
      panel.append(button);
    }
    return {
      node: element("details", { class: "files" }, element("summary", {}, "Download"), panel),
    };
  }

  /* A button that copies the address of the view; where the browser forbids it, the address is
     selected to copy. */
  function copy() {
    const button = element("button", { type: "button" }, "Copy link");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        button.textContent = "Copied";
        setTimeout(() => (button.textContent = "Copy link"), 2000);
      } catch {
        window.prompt("The address of this view:", location.href);
      }
    });
    return { node: button };
  }

  /* A button that shows the board as it was. */
  function reset(model) {
    const button = element("button", { type: "button" }, "Reset view");
    button.addEventListener("click", () => model.reset());
    return { node: button };
  }

  /* A link that compares the two or three rows that are chosen. */
  function compare(model, board) {
    const link = element("a", { class: "button" });
    const update = () => {
      const { rows } = model.view();
      const ready = rows.length === 2 || rows.length === 3;
      link.textContent = ready ? `Compare ${rows.join(", ")}` : "Compare: choose 2 or 3 rows";
      if (ready) {
        const [a, b, c = ""] = rows;
        const view = new URLSearchParams({ table: model.data.id, a, b, c });
        const { root } = document.body.dataset;
        link.href = `${root}compare/${encodeURIComponent(board)}.html#${view}`;
        link.removeAttribute("role");
        link.removeAttribute("aria-disabled");
      } else {
        link.removeAttribute("href");
        link.setAttribute("role", "link");
        link.setAttribute("aria-disabled", "true");
      }
    };
    return { node: link, update };
  }

  /* The line that says what is hidden, and that nothing was computed anew. */
  function state(model) {
    const line = element("p", { class: "state", role: "status" });
    const update = () => {
      const { data } = model;
      const rows = model.rows().length;
      const columns = model.columns().length;
      const narrowed =
        rows < data.rows.length ||
        data.columns.some((column) => column.shown && !model.isVisible(column));
      line.classList.toggle("hiding", narrowed);
      const hidden = rows < data.rows.length || columns < data.columns.length;
      const of = (part, all, name) => `${part} of ${all.length} ${name}`;
      const told = [of(rows, data.rows, "rows"), of(columns, data.columns, "columns")];
      const shown = `Shown: ${told.join(", ")}`;
      const whole = "±, marks and ranks are those of the whole board.";
      const chosen = model.view().families.length
        ? " The mean rank of the chosen families is the mean of each row's ranks in them, " +
          "computed in this page."
        : "";
      line.textContent = hidden
        ? `${shown}. ${whole}${chosen}`
        : `All rows and columns are shown.${chosen}`;
    };
    return { node: line, update };
  }

  /* Return the different values that rows or columns have, in order, as options; none where there
     is no choice. */
  function options(values, text = (value) => value) {
    const found = [...new Set(values)].filter((value) => value !== "");
    return found.length > 1 ? found.map((value) => [String(value), text(value)]) : [];
  }

  /* Return all filters that make sense for a table. */
  function filters(model) {
    const { rows, columns: all } = model.data;
    const trained = rows.filter((row) => row.kind !== "chance");
    const seeds = [...new Set(trained.map((row) => row.seeds))]
      .filter((n) => n > 0)
      .sort((a, b) => a - b);
    const trials = trained.map((row) => row.trials || 0).sort((a, b) => a - b);
    const boxes = [
      [
        "kind",
        "Kind",
        options(
          rows.map((row) => row.kind),
          (kind) => KINDS[kind] ?? kind,
        ),
      ],
      ["labels", "Labels in training", options(trained.map((row) => (row.labels ? "yes" : "no")))],
      ["embedding", "Embedding", options(all.map((column) => column.embedding))],
      ["seeds", "Seeds", trained.length ? seeds.map((n) => [String(n), `at least ${n}`]) : []],
      [
        "trials",
        "Tuning budget",
        options(
          trials.map((n) => (n ? String(n) : "none")),
          (n) => (n === "none" ? "not tuned" : `${n} trials`),
        ),
      ],
    ];
    return boxes.filter(([, , choices]) => choices.length).map((box) => select(model, ...box));
  }

  /* The fold of all filters: open where there is room. */
  function filterFold(nodes) {
    const fold = element(
      "details",
      { class: "filters" },
      element("summary", {}, "Filters"),
      element("div", { class: "row" }, ...nodes),
    );
    const room = matchMedia("(min-width: 40.01rem)");
    const fit = () => (fold.open = room.matches);
    room.addEventListener("change", fit);
    fit();
    return fold;
  }

  /* Close folds that lie over the table by Esc and by a press elsewhere. */
  function closing(place) {
    const open = () => place.querySelectorAll("details[open]:not(.filters)");
    document.addEventListener("click", ({ target }) => {
      for (const fold of open()) if (!fold.contains(target)) fold.open = false;
    });
    place.addEventListener("keydown", ({ key }) => {
      for (const fold of key === "Escape" ? open() : []) {
        fold.open = false;
        fold.querySelector("summary").focus();
      }
    });
  }

  /* Fill the place above a table; returns a function that sets all controls to the model's view. */
  function fill(place, model, board) {
    const boxes = [search(model), ...filters(model)];
    const folds = [...(model.families.length > 1 ? [families(model)] : []), columns(model)];
    const actions = [
      ...folds,
      costs(model),
      reset(model),
      copy(),
      downloads(model, board),
      compare(model, board),
    ];
    const line = state(model);
    const nodes = (parts) => parts.map(({ node }) => node);
    place.append(
      filterFold(nodes(boxes)),
      element("div", { class: "row" }, ...nodes(actions)),
      line.node,
    );
    closing(place);
    place.hidden = false;
    return () => [...boxes, ...actions, line].forEach(({ update }) => update && update());
  }

  return { fill };
})();
