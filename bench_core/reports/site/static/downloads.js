"use strict";

/* Files of a view: the rows and columns that are shown, in their order, in the forms that `bench
   table --format` has. Text in them may be a stranger's: a spreadsheet must not calculate it, and
   LaTeX and Markdown must not read it. */
bench.downloads = (() => {
  const FORMULA = /^[=+\-@\t\r\n\0＝＋－＠]/;
  const NUMBER = "[+-]?(?:\\d[\\d,]*(?:\\.\\d*)?|\\.\\d+)(?:[eE][+-]?\\d+)?";
  const SCORE = new RegExp(
    `^${NUMBER}(?: ?± ?${NUMBER}| \\[${NUMBER}, ${NUMBER}\\])?` +
      "(?: \\(\\d+ of \\d+ seeds\\)| \\(stale\\))?(?: †)?$",
  );
  const LATEX = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    $: "\\$",
    "&": "\\&",
    "#": "\\#",
    "%": "\\%",
    _: "\\_",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "`": "\\textasciigrave{}",
    "[": "{[}",
    "*": "{*}",
    "±": "$\\pm$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "†": "\\textsuperscript{\\dag}",
    "–": "--",
  };
  const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  const HEADS = [
    "dataset",
    "encoder",
    "method",
    "row",
    "column",
    "metric",
    "unit",
    "higher_is_better",
    "shown",
    "mean",
    "halfwidth",
    "low",
    "high",
    "n",
    "ranked",
    "bold",
    "caveat",
    "state",
    "reason",
  ];

  /* Return text on one line, without characters that nobody sees. */
  const oneLine = (text) => text.replace(/[\p{C}\p{Z}\s]+/gu, " ").trim();

  /* Escape text for LaTeX's text mode. */
  const latexText = (text) => [...oneLine(text)].map((letter) => LATEX[letter] ?? letter).join("");

  /* Escape text for a cell of a Markdown table; a "_" inside a word has no meaning and stays. */
  function markdownText(text) {
    return oneLine(text)
      .replace(/[&<>]/g, (letter) => ENTITIES[letter])
      .replace(/[\\`*[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, "\\$&")
      .replace(/^(?:([#+-])|(\d+)([.)]))(?=\s|$)/, (all, sign, number, end) =>
        sign ? `\\${sign}` : `${number}\\${end}`,
      );
  }

  /* Return one field of a line of comma-separated values; a text that a spreadsheet would calculate
     gets a "'". */
  function field(value) {
    if (typeof value === "boolean") return value ? "True" : "False";
    if (typeof value !== "string")
      return value === undefined || value === null ? "" : String(value);
    let text = oneLine(value);
    if (FORMULA.test(text) && !SCORE.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /* Return whether a cell takes part in ranks; columns that are computed from others rank nothing
     by themselves. */
  const ranked = (column, cell) => column.kind !== "task" || Boolean(cell.r);

  /* Return what is shown as lines of cells: {row, cells: [{column, cell}]}. */
  function lines(model) {
    const { data } = model;
    const columns = model.columns().map((column) => [column, data.columns.indexOf(column)]);
    return model.rows().map((row) => ({
      row,
      cells: columns.map(([column, place]) => ({ column, cell: data.cells[row.id][place] })),
    }));
  }

  /* Comma-separated values: a line for each cell, with its mean and interval in full. */
  function csv(model) {
    const { data } = model;
    const made = [HEADS];
    for (const { row, cells } of lines(model)) {
      for (const { column, cell } of cells) {
        made.push([
          data.dataset,
          row.encoder || data.encoder,
          row.name,
          row.kind,
          column.name,
          column.metric,
          column.unit,
          column.up,
          cell.t ?? "",
          cell.v,
          cell.h,
          cell.lo,
          cell.hi,
          cell.n ?? 0,
          ranked(column, cell),
          Boolean(cell.b),
          cell.c ?? "",
          cell.s ?? "done",
          cell.w ?? "",
        ]);
      }
    }
    return made.map((line) => `${line.map(field).join(",")}\n`).join("");
  }

  /* JSON: everything that the page knows of the rows and columns that are shown. Of the address it
     holds the view alone: the rest may be a path of the reader's machine. */
  function json(model) {
    const { data } = model;
    const rows = lines(model).map(({ row, cells }) => ({
      name: row.name,
      encoder: row.encoder || data.encoder,
      kind: row.kind,
      marks: row.marks,
      seeds: row.seeds,
      trials: row.trials,
      cells: cells.map(({ column, cell }) => ({
        column: column.id,
        shown: cell.t ?? "",
        mean: cell.v ?? null,
        halfwidth: cell.h ?? null,
        low: cell.lo ?? null,
        high: cell.hi ?? null,
        n: cell.n ?? 0,
        ranked: ranked(column, cell),
        bold: Boolean(cell.b),
        caveat: cell.c ?? "",
        state: cell.s ?? "done",
        reason: cell.w ?? "",
      })),
    }));
    const columns = model.columns().map((column) => ({
      id: column.id,
      title: column.title,
      task: column.task,
      metric: column.metric,
      unit: column.unit,
      family: column.family,
      higher_is_better: column.up,
    }));
    const all = { dataset: data.dataset, view: location.hash, columns, rows };
    return `${JSON.stringify(all, null, 1)}\n`;
  }

  /* Return the cells before the scores: the row's name, and its encoder where encoders differ. */
  function heads(model) {
    const both = model.data.rows.some((row) => row.encoder);
    const names = both ? ["method", "encoder"] : ["method"];
    return { names, of: (row) => [row.label, row.encoder].slice(0, names.length) };
  }

  /* LaTeX with booktabs. */
  function latex(model) {
    const head = heads(model);
    const columns = model.columns();
    const line = (cells) => `${cells.join(" & ")} \\\\`;
    const shown = ({ cell }) =>
      cell.b ? `\\textbf{${latexText(cell.t ?? "")}}` : latexText(cell.t ?? "");
    const body = lines(model).flatMap(({ row, cells }) => [
      ...(row.kind === "chance" ? ["\\midrule"] : []),
      line([...head.of(row).map(latexText), ...cells.map(shown)]),
    ]);
    return [
      "% In the preamble: \\usepackage{booktabs}",
      "\\begin{table}",
      "\\centering",
      `\\caption{${latexText(model.data.title)}. ${latexText(note(model))}}`,
      `\\begin{tabular}{${"l".repeat(head.names.length)}${"r".repeat(columns.length)}}`,
      "\\toprule",
      line([...head.names, ...columns.map((column) => latexText(column.title))]),
      "\\midrule",
      ...body,
      "\\bottomrule",
      "\\end{tabular}",
      "\\end{table}",
      "",
    ].join("\n");
  }

  /* A Markdown table. */
  function markdown(model) {
    const head = heads(model);
    const columns = model.columns();
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const shown = ({ cell }) =>
      cell.b ? `**${markdownText(cell.t ?? "")}**` : markdownText(cell.t ?? "");
    return [
      `**${markdownText(model.data.title)}**`,
      "",
      line([...head.names, ...columns.map((column) => markdownText(column.title))]),
      `|${[...head.names.map(() => ":--"), ...columns.map(() => "--:")].join("|")}|`,
      ...lines(model).map(({ row, cells }) =>
        line([...head.of(row).map(markdownText), ...cells.map(shown)]),
      ),
      "",
      markdownText(note(model)),
      "",
    ].join("\n");
  }

  /* Return what a reader of the file must know, since the rest of the page is not in it. */
  function note(model) {
    const whole = "Bold: the best of the column, or not distinguishable from it";
    const parts = [`${model.rows().length} of ${model.data.rows.length} rows`];
    parts.push(`${model.columns().length} of ${model.data.columns.length} columns`);
    const shown = parts.join(" and ");
    return `${whole}. Shown are ${shown}; ±, bold and ranks are those of the whole board.`;
  }

  /* Give the reader a file, without a request. */
  function save(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  const FORMS = {
    CSV: { make: csv, end: "csv", type: "text/csv" },
    JSON: { make: json, end: "json", type: "application/json" },
    LaTeX: { make: latex, end: "tex", type: "text/x-tex" },
    Markdown: { make: markdown, end: "md", type: "text/markdown" },
  };

  return { FORMS, save };
})();
