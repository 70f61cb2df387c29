"use strict";

/* The page that compares rows of a board. Its view is in the address:
   #table=0&a=nac&b=simclr&c=sela. */
(() => {
  const el = bench.element;
  const NAMES = ["a", "b", "c"];
  const COLOURS = ["s1", "s2", "s3"]; // classes of the rows, as many as can be compared
  const page = document.querySelector(".compare");
  const board = page.dataset.board;
  const [form, said, place] = ["pick", "said", "shown"].map((name) =>
    page.querySelector(`.compare-${name}`),
  );

  /* Return a word as a shell takes it. */
  function quoted(word) {
    return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
  }

  /* Return the view of the address: table and rows, as far as this board has them, and names that
     it has not. */
  function readView(data) {
    const wanted = bench.view();
    const known = new Map(data.rows.map((row, k) => [row.name, k]));
    const named = NAMES.map((name) => wanted.get(name) || "").filter(Boolean);
    const rows = [
      ...new Set(named.filter((name) => known.has(name)).map((name) => known.get(name))),
    ];
    for (let k = 0; rows.length < 2; k += 1) if (!rows.includes(k)) rows.push(k);
    const table = data.tables.findIndex((one) => String(one.id) === wanted.get("table"));
    return { table: Math.max(0, table), rows, unknown: named.filter((name) => !known.has(name)) };
  }

  /* Write the view into the address. */
  function writeView(data, view) {
    const map = new Map([["table", data.tables[view.table].id]]);
    NAMES.forEach((name, k) =>
      map.set(name, k < view.rows.length ? data.rows[view.rows[k]].name : ""),
    );
    bench.setView(map);
  }

  /* Make the selects of rows; the third may be empty. */
  function picks(data, view) {
    const labels = ["First row", "Second row", "Third row"];
    const selects = NAMES.map((name, k) => {
      const options = data.rows.map((row, number) =>
        el(
          "option",
          { value: String(number) },
          row.marks.length ? `${row.name} (${row.marks.join(", ")})` : row.name,
        ),
      );
      if (k === 2) options.unshift(el("option", { value: "" }, "none"));
      const select = el("select", { id: `compare-${name}` }, ...options);
      select.value = k < view.rows.length ? String(view.rows[k]) : "";
      const label = el(
        "label",
        { for: select.id },
        el("span", { class: `dot ${COLOURS[k]}` }),
        labels[k],
      );
      return { select, field: el("div", { class: "field" }, label, select) };
    });
    selects.forEach(({ select }, k) =>
      select.addEventListener("change", () => {
        const chosen = selects.map((one) => one.select.value);
        const double = chosen.findIndex(
          (value, other) => other !== k && value !== "" && value === select.value,
        );
        // Two rows change places.
        if (double >= 0) chosen[double] = k < view.rows.length ? String(view.rows[k]) : "";
        const rows = chosen.filter((value) => value !== "").map(Number);
        update(data, { ...view, rows, unknown: [] });
        document.getElementById(select.id).focus();
      }),
    );
    return selects.map(({ field }) => field);
  }

  /* Make the select of the table from which curves and images come, where there are several. */
  function tablePick(data, view) {
    const options = data.tables.map((table, k) => el("option", { value: String(k) }, table.title));
    const select = el("select", { id: "compare-table" }, ...options);
    select.value = String(view.table);
    select.addEventListener("change", () => {
      update(data, { ...view, table: Number(select.value), unknown: [] });
      document.getElementById(select.id).focus();
    });
    return el(
      "div",
      { class: "field" },
      el("label", { for: select.id }, "Trainings and curves of"),
      select,
    );
  }

  /* Return the pairs of the rows: one of two, three of three. */
  function pairsOf(rows) {
    return rows.flatMap((_, k) => rows.slice(k + 1).map((__, m) => [k, k + 1 + m]));
  }

  /* Show the comparison of a view. */
  function show(data, view) {
    const names = view.rows.map((row) => data.rows[row].name);
    form.replaceChildren(
      ...picks(data, view),
      ...(data.tables.length > 1 ? [tablePick(data, view)] : []),
    );
    form.hidden = false;
    const sections = pairsOf(view.rows).map(([k, m]) =>
      bench.compare.section(
        data,
        bench.compare.read(data, view.rows[k], view.rows[m]),
        [names[k], names[m]],
        [COLOURS[k], COLOURS[m]],
      ),
    );
    const commands = pairsOf(names).map(([k, m]) =>
      data.command.replace("{rows}", () => `${quoted(names[k])} ${quoted(names[m])}`),
    );
    const same = el(
      "section",
      {},
      el("h2", {}, "The same in a checkout"),
      el("pre", { tabindex: "0" }, el("code", {}, commands.join("\n"))),
    );
    const out = data.left_out.map((text) => el("p", { class: "compare-out" }, text));
    place.replaceChildren(
      ...out,
      ...sections,
      bench.compare.more(data, board, view.table, names),
      same,
    );
    const unknown = view.unknown.length
      ? `This board has no row ${view.unknown.join(", ")} with a task to compare. `
      : "";
    said.classList.toggle("compare-out", Boolean(unknown));
    said.textContent = `${unknown}Compared: ${names.join(", ")}.`;
    document.title = `${names.join(" and ")} compared · bench`;
  }

  function update(data, view) {
    writeView(data, view);
    show(data, view);
  }

  async function start() {
    try {
      const data = await bench.load(`compare/${board}`, `data/compare/${board}.js`);
      update(data, readView(data));
      window.addEventListener("hashchange", () => show(data, readView(data)));
    } catch (error) {
      said.textContent = `The comparisons cannot be shown: ${error.message}.`;
    }
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  start();
})();
