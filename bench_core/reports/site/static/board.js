"use strict";

/* The table of a board's page: its rows and cells are those that the page came with. This script
   puts buttons into the headers, moves rows, hides columns, opens cells, and keeps the view in the
   address. */
(() => {
  const { element } = bench;
  const { METHOD, ENCODER, CHOSEN_RANK, KEYS } = bench.table;
  const boards = [];
  // Rows in the page before somebody scrolls: laying out a row takes longer than sorting it.
  const CHUNK = 60;

  /* Return the text of a header, in lines where it is of a task: its name, its metric, the seeds
     that it needs. */
  function headLines(head, column) {
    if (!column || column.kind !== "task") return [...head.childNodes];
    const seeds = column.seeds ? ` (n = ${column.seeds})` : "";
    const rest = column.title
      .slice(column.task.length, column.title.length - seeds.length)
      .replace(/ (?=[↑↓])/, "\u00a0"); // no line holds an arrow alone
    const line = (name, text) => element("span", { class: name }, text);
    const lines = [line("task", column.task), line("metric", rest)];
    return [element("span", {}, ...lines, ...(seeds ? [line("seeds", seeds)] : []))];
  }

  /* Put the text of a header into a button that sorts. */
  function sortButton(head, column, pressed) {
    const button = element("button", { type: "button" });
    button.append(...headLines(head, column));
    head.textContent = "";
    button.addEventListener("click", pressed);
    head.append(button);
  }

  /* Add the column of the mean rank over chosen families, after the names; it is shown while
     families are chosen. */
  function addChosenRank(parts) {
    const head = element("th", { scope: "col", hidden: true }, "mean rank of chosen families ↓");
    parts.names.at(-1).after(head);
    for (const line of parts.rows)
      line.cells[parts.names.length - 1].after(element("td", { hidden: true }));
    return head;
  }

  /* Put a box before each row's name, by which it is chosen for a comparison; the level of chance
     has none. */
  function addBoxes(parts, model) {
    return model.data.rows.map((row, place) => {
      if (row.kind === "chance") return null;
      const box = element("input", {
        type: "checkbox",
        class: "choose",
        "aria-label": `Compare ${row.label}`,
      });
      const name = bench.table.rowName(row);
      box.addEventListener("change", () => {
        const others = model.view().rows.filter((other) => other !== name);
        model.change({ rows: box.checked ? [...others, name].slice(-3) : others });
      });
      parts.rows[place].cells[0].prepend(box);
      return box;
    });
  }

  /* Find the parts of a board's table, in the order of its data. */
  function partsOf(root) {
    const table = root.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    const scores = heads.filter((head) => head.dataset.column !== undefined);
    const body = table.tBodies[0];
    return {
      root,
      table,
      body,
      scores,
      names: heads.filter((head) => head.dataset.column === undefined),
      rows: [...body.rows],
    };
  }

  /* Show and hide columns, and the mean rank over chosen families. Rows that are not in the page
     follow when they come into it: `stamp` says which of them are as the view has it. */
  function showColumns(parts, model) {
    const { families } = model.view();
    const on = [families.length > 0, ...model.data.columns.map(model.isVisible)];
    const now = `${families.join()} ${on.join()}`;
    if (now === parts.stamp) return;
    parts.stamp = now;
    parts.on = on;
    [parts.chosen, ...parts.scores].forEach((head, place) => (head.hidden = !on[place]));
  }

  /* Bring a row to the columns of the view. */
  function dress(parts, model, line) {
    if (line.dataset.stamp === parts.stamp) return line;
    line.dataset.stamp = parts.stamp;
    const { cells } = line;
    const first = parts.names.length; // the column of chosen ranks, before the scores
    parts.on.forEach((on, place) => {
      if (cells[first + place].hidden === on) cells[first + place].hidden = !on;
    });
    if (parts.on[0]) {
      const rank = model.meanRank(model.data.rows[Number(line.dataset.row)]);
      cells[first].textContent = rank === undefined ? "" : rank.toFixed(2);
    }
    return line;
  }

  /* Put the rows of the view into the page, in its order; of many the first ones, the others as
     somebody scrolls to them. Nothing moves where nothing changed. */
  function showRows(parts, model) {
    const order = model.rows().map((row) => parts.rows[row.id]);
    const was = parts.order;
    if (was && order.length === was.length && order.every((line, at) => line === was[at])) {
      for (const line of parts.body.rows) dress(parts, model, line);
      return;
    }
    parts.order = order;
    parts.body.replaceChildren(...order.slice(0, CHUNK).map((line) => dress(parts, model, line)));
    parts.table.setAttribute("aria-rowcount", order.length + 1);
  }

  /* Add rows below those that are in the page. */
  function addRows(parts, model, count) {
    const { length } = parts.body.rows;
    const further = parts.order.slice(length, length + count);
    if (further.length) parts.body.append(...further.map((line) => dress(parts, model, line)));
  }

  /* Add further rows before somebody has scrolled to the last one, and all of them to a print. */
  function addRowsOnDemand(parts, model) {
    const region = parts.root.querySelector(".wide");
    region.addEventListener("scroll", () => {
      if (region.scrollTop + 3 * region.clientHeight > region.scrollHeight)
        addRows(parts, model, CHUNK);
    });
    window.addEventListener("beforeprint", () => addRows(parts, model, parts.order.length));
  }

  /* Say in the headers which column sorts, and in which direction. */
  function showSort(parts, model) {
    const { sort } = model.view();
    for (const { id, head } of parts.sorts) {
      if (!sort || sort.id !== id) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", sort.desc ? "descending" : "ascending");
    }
  }

  /* Mark the rows that are chosen for a comparison. */
  function showChosen(parts, model) {
    const chosen = new Set(model.view().rows);
    if (parts.compared === model.view().rows) return;
    parts.compared = model.view().rows;
    model.data.rows.forEach((row, place) => {
      const on = chosen.has(bench.table.rowName(row));
      parts.rows[place].classList.toggle("chosen", on);
      if (parts.boxes[place]) parts.boxes[place].checked = on;
    });
  }

  /* Return row, column and cell of an element in a table's body; undefined where it is in no
     score. */
  function cellAt(parts, model, target) {
    const place = target.closest("td[data-column]");
    if (!place) return undefined;
    const row = model.data.rows[Number(place.parentElement.dataset.row)];
    const number = place.cellIndex - parts.names.length - 1;
    return {
      place,
      row,
      column: model.data.columns[number],
      cell: model.data.cells[row.id][number],
    };
  }

  /* Open cells by a press or Enter, show their remarks on hover and focus, and let arrow keys lead
     through them. */
  function listen(parts, model, board) {
    const at = (event) => cellAt(parts, model, event.target);
    const open = (found) => bench.cellDialog.open(model.data, board, found);
    parts.body.addEventListener("click", (event) => {
      const found = at(event);
      if (!found) return;
      event.preventDefault(); // a note's link, which leads to its reason: the dialog says it
      focus(parts, found.place);
      open(found);
    });
    parts.body.addEventListener("keydown", (event) => {
      const found = at(event);
      if (!found) return;
      if (event.key === "Enter" || event.key === " ") open(found);
      else if (event.key === "Escape") bench.cellDialog.hideTip();
      else if (!move(parts, found.place, event)) return;
      event.preventDefault();
    });
    const show = (describe) => (event) => {
      const found = at(event);
      if (found) bench.cellDialog.showTip(found.place, found.cell, describe);
    };
    parts.body.addEventListener("mouseover", show(false));
    parts.body.addEventListener("focusin", show(true));
    parts.body.addEventListener("mouseout", bench.cellDialog.hideTip);
    parts.body.addEventListener("focusout", (event) => {
      bench.cellDialog.hideTip();
      event.target.removeAttribute("aria-describedby");
    });
  }

  /* Make a cell the one that the Tab key reaches, and focus it. */
  function focus(parts, place) {
    if (parts.stop) parts.stop.tabIndex = -1;
    parts.stop = place;
    place.tabIndex = 0;
    place.focus({ preventScroll: false });
  }

  /* Follow an arrow key, Home or End to another cell that is shown; returns whether the key leads
     anywhere. */
  function move(parts, place, event) {
    const line = place.parentElement;
    const shown = [...line.cells].filter(
      (cell) => cell.dataset.column !== undefined && !cell.hidden,
    );
    const here = shown.indexOf(place);
    const next = {
      ArrowLeft: shown[here - 1],
      ArrowRight: shown[here + 1],
      Home: shown[0],
      End: shown.at(-1),
    };
    const lines = { ArrowUp: line.previousElementSibling, ArrowDown: line.nextElementSibling };
    if (event.key in next && next[event.key]) focus(parts, next[event.key]);
    else if (event.key in lines && lines[event.key])
      focus(parts, lines[event.key].cells[place.cellIndex]);
    return event.key in next || event.key in lines;
  }

  /* See to it that the Tab key reaches one score that is shown. */
  function keepStop(parts) {
    if (parts.stop && !parts.stop.hidden && parts.stop.isConnected) return;
    if (parts.stop) parts.stop.tabIndex = -1;
    parts.stop = parts.body.querySelector("td[data-column]:not([hidden])");
    if (parts.stop) parts.stop.tabIndex = 0;
  }

  /* Return the names of a table's view in the address: the first table has the plain ones. */
  const keyOf = (data, key) => (data.id ? `${data.id}.${key}` : key);

  /* Write the views of all tables into the address; what others keep there stays. */
  function writeAddress() {
    const view = bench.view();
    for (const { model } of boards) {
      const texts = model.toAddress();
      for (const key of KEYS) view.set(keyOf(model.data, key), texts[key]);
    }
    bench.setView(view);
  }

  /* Read the views of all tables from the address. A link to a place of the page ("#plots") is no
     view: once somebody is there, what the tables show stands in the address again. */
  function readAddress() {
    const isPlace = location.hash.length > 1 && !location.hash.includes("=");
    if (isPlace && hasRead) {
      if (boards.some(({ model }) => Object.values(model.toAddress()).some(Boolean)))
        writeAddress();
      return;
    }
    const view = isPlace ? new Map() : bench.view();
    hasRead = true;
    reading = true;
    for (const { model } of boards) {
      model.fromAddress(
        Object.fromEntries(KEYS.map((key) => [key, view.get(keyOf(model.data, key))])),
      );
    }
    reading = false;
  }
  let reading = false;
  let hasRead = false;

  /* Take over one table. */
  function start(root) {
    const board = root.dataset.board;
    const data = bench.get(`board/${board}`).tables[Number(root.dataset.table)];
    const parts = partsOf(root);
    let update = () => {};
    const model = bench.table.make(data, () => {
      showColumns(parts, model);
      showRows(parts, model);
      showSort(parts, model);
      showChosen(parts, model);
      keepStop(parts);
      bench.cellDialog.hideTip();
      update();
      if (!reading) writeAddress();
    });
    parts.chosen = addChosenRank(parts);
    const names = parts.names.map((head, place) => ({ id: place ? ENCODER : METHOD, head }));
    const scores = data.columns.map((column, place) => ({
      id: column.id,
      column,
      head: parts.scores[place],
    }));
    parts.sorts = [...names, { id: CHOSEN_RANK, head: parts.chosen }, ...scores];
    for (const { id, column, head } of parts.sorts) sortButton(head, column, () => model.press(id));
    parts.boxes = addBoxes(parts, model);
    parts.table.setAttribute("role", "grid");
    // The tip and the cell's dialog say what these do.
    for (const cell of parts.body.querySelectorAll("td[title]")) cell.removeAttribute("title");
    for (const link of parts.body.querySelectorAll("a.note")) link.tabIndex = -1;
    addRowsOnDemand(parts, model);
    listen(parts, model, board);
    update = bench.boardControls.fill(root.querySelector(".controls"), model, board);
    root.dataset.ready = "";
    boards.push({ model });
  }

  for (const root of document.querySelectorAll(".board")) start(root);
  if (boards.length) {
    readAddress();
    window.addEventListener("hashchange", readAddress);
    document.addEventListener(
      "keydown",
      (event) => event.key === "Escape" && bench.cellDialog.hideTip(),
    );
  }
})();
