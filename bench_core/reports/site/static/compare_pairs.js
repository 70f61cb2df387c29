"use strict";

/* Two rows of a board side by side: bench.compare.read(data, first, second) reads what bench has
   computed for them, and bench.compare.section(...) shows it. Nothing is computed here but the
   sign, where the second row comes first. */
bench.compare = (() => {
  const el = bench.element;
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 132; // pixels of a difference with its interval
  const HEIGHT = 18;
  const SCALES =
    "Each line is drawn on a scale of its own, so two lengths cannot be compared. " +
    "[low, high] is a 95 % interval of one difference. p is corrected after Holm for all lines " +
    "of this table, so it may be above 0.05 where the interval leaves out 0.";

  /* Turn the sign of a number, or of a very small one, which is a text. */
  function minus(value) {
    if (value === null || value === 0) return value;
    if (typeof value === "number") return -value;
    return value.startsWith("-") ? value.slice(1) : `-${value}`;
  }

  /* Return the numbers of a comparison by test item; null where a line has none. */
  function readItems(packed, flip, data) {
    if (!packed) return null;
    const [split, n, seeds, mean, low, high, p, right, end, counts] = packed;
    const sides = right ? [right[0], right[flip ? 2 : 1], right[flip ? 1 : 2], right[3]] : null;
    const turned = counts && flip ? [...counts].reverse() : counts;
    const all = { split: data.texts[split], n, seeds, p, right: sides, end, counts: turned };
    if (!flip) return { ...all, mean, low, high };
    return { ...all, mean: minus(mean), low: minus(high), high: minus(low) };
  }

  /* Return the lines and notes of two rows, first minus second; null where they have no task in
     common. */
  function read(data, first, second) {
    const flip = first > second;
    const pair = data.pairs[flip ? `${second}-${first}` : `${first}-${second}`];
    if (!pair) return null;
    const lines = pair[0].map((packed) => {
      const [
        table,
        column,
        seeds,
        tableSeeds,
        digits,
        means,
        mean,
        low,
        high,
        p,
        verdict,
        ahead,
        items,
      ] = packed;
      return {
        table,
        column: data.tables[table].columns[column],
        seeds,
        tableSeeds,
        digits,
        p,
        means: flip ? [...means].reverse() : means,
        mean: flip ? minus(mean) : mean,
        low: flip ? minus(high) : low,
        high: flip ? minus(low) : high,
        verdict: data.texts[verdict],
        ahead: flip && ahead ? 3 - ahead : ahead,
        items: readItems(items, flip, data),
      };
    });
    return { lines, notes: pair[1].map((note) => data.texts[note]) };
  }

  /* Return a number as `bench compare` shows it. */
  function shown(value, digits) {
    if (value === null || value === undefined) return "";
    return typeof value === "number" && digits !== null ? value.toFixed(digits) : String(value);
  }

  /* Return a difference with its interval: "1.25 [0.31, 2.19]". */
  function difference(part, digits) {
    const finer = digits === null ? null : digits + 1;
    const mean = shown(part.mean, finer);
    return part.low === null
      ? mean
      : `${mean} [${shown(part.low, finer)}, ${shown(part.high, finer)}]`;
  }

  function pText(p) {
    if (p === null) return "";
    return p === 0 ? "< 1e-4" : String(p);
  }

  /* Draw a difference and its interval around 0, each on a scale of its own: the numbers stand
     beside it. */
  function bar(line, colour) {
    const svg = document.createElementNS(SVG, "svg");
    const make = (tag, values) => {
      const node = document.createElementNS(SVG, tag);
      Object.entries(values).forEach(([key, value]) => node.setAttribute(key, value));
      svg.append(node);
    };
    const x = (value) => (WIDTH / 2) * (1 + (0.94 * Number(value)) / most);
    const middle = HEIGHT / 2;
    const ends = [line.mean, line.low, line.high].map((value) => Math.abs(Number(value || 0)));
    const most = Math.max(...ends) || 1;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("class", "compare-bar");
    svg.setAttribute("aria-hidden", "true");
    make("line", { x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT, class: "zero" });
    if (line.mean === null) return svg;
    const look = line.ahead ? `told ${colour}` : "open";
    if (line.low !== null) {
      make("line", {
        x1: x(line.low),
        x2: x(line.high),
        y1: middle,
        y2: middle,
        class: `range ${look}`,
      });
    }
    make("circle", { cx: x(line.mean), cy: middle, r: 4, class: look });
    return svg;
  }

  /* Make a table in a region that scrolls; heads are texts, or [text, class]. */
  function table(label, heads, body) {
    const head = el(
      "tr",
      {},
      ...heads.map((one) =>
        el(
          "th",
          { scope: "col", class: Array.isArray(one) ? one[1] : undefined },
          Array.isArray(one) ? one[0] : one,
        ),
      ),
    );
    const made = el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
    const region = { class: "wide fit", tabindex: "0", role: "region", "aria-label": label };
    return el("div", region, made);
  }

  /* Make a fold with numbers as a table; make() gives {head, rows} when it is opened. */
  function numbers(label, make) {
    const fold = el("details", { class: "plot-numbers" }, el("summary", {}, label));
    const fill = () => {
      fold.querySelectorAll(".wide").forEach((old) => old.remove());
      if (!fold.open) return;
      const { head, rows } = make();
      const body = rows.map(([first, ...rest]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, first),
          ...rest.map((value) => cell(String(value ?? ""))),
        ),
      );
      const heads = head.map((name, k) => (k ? [name, "number"] : name));
      fold.append(table(label, heads, body));
    };
    fold.addEventListener("toggle", fill);
    return { fold, fill };
  }

  function cell(text, look = "number") {
    return el("td", { class: look }, text);
  }

  /* Return the head of a line: its task, the data where the board has several tables, and further
     parts. */
  function taskHead(data, line, ...more) {
    const where =
      data.tables.length > 1
        ? [el("span", { class: "quiet" }, ` ${data.tables[line.table].title}`)]
        : [];
    const title = line.column.title.replace(/ (?=[↑↓])/, "\u00a0"); // no line holds an arrow alone
    return el("th", { scope: "row" }, title, ...where, ...more);
  }

  /* Return the verdict; who is better is said by word, weight and colour. */
  function verdict(line, colours, tag, look) {
    if (!line.ahead) return el(tag, { class: `verdict quiet ${look}` }, line.verdict);
    return el(
      tag,
      { class: `verdict ${look}` },
      el("span", { class: `dot ${colours[line.ahead - 1]}` }),
      el("strong", {}, line.verdict),
    );
  }

  /* Make the table over seeds; where there is little room, the verdict stands below its task. */
  function seedsTable(data, names, lines, colours) {
    const body = lines.map((line) => {
      const few = line.seeds < line.tableSeeds ? `${line.seeds} of ${line.tableSeeds}` : line.seeds;
      return el(
        "tr",
        {},
        taskHead(data, line, verdict(line, colours, "span", "narrow")),
        cell(shown(line.means[0], line.digits)),
        cell(shown(line.means[1], line.digits)),
        cell(difference(line, line.digits)),
        el("td", { class: "compare-sides" }, bar(line, colours[line.ahead - 1])),
        verdict(line, colours, "td", "roomy"),
        cell(pText(line.p)),
        cell(String(few)),
      );
    });
    const heads = [
      "task",
      [names[0], "number"],
      [names[1], "number"],
      ["difference [95 %]", "number"],
      [`← lower · ${names[0]} · higher →`, "compare-sides"],
      ["verdict", "roomy"],
      ["p (Holm)", "number"],
      ["seeds", "number"],
    ];
    return table(`${names[0]} minus ${names[1]}, over seeds`, heads, body);
  }

  function itemsTable(data, names, lines) {
    const hits = lines.some((line) => line.items.right);
    const body = lines.map((line) => {
      const { items } = line;
      const right = items.right || ["", "", "", ""];
      return el(
        "tr",
        {},
        taskHead(data, line),
        cell(difference(items, line.digits)),
        cell(pText(items.p)),
        cell(`${items.n.toLocaleString("en")} of ${items.split}`),
        cell(String(items.seeds)),
        ...(hits ? right.map((count) => cell(count.toLocaleString("en"))) : []),
      );
    });
    const counts = ["both right", `only ${names[0]}`, `only ${names[1]}`, "none"].map((text) => [
      text,
      "number",
    ]);
    const heads = [
      "task",
      ["difference [95 %]", "number"],
      ["p (Holm)", "number"],
      ["test items", "number"],
      ["seeds", "number"],
      ...(hits ? counts : []),
    ];
    return table(`${names[0]} minus ${names[1]}, over test items`, heads, body);
  }

  /* Return how many lines each row wins, as chips. */
  function summary(names, lines, colours) {
    const count = (ahead) => lines.filter((line) => line.ahead === ahead).length;
    const chip = (text, look) =>
      el("li", {}, ...(look ? [el("span", { class: `dot ${look}` })] : []), text);
    const tasks = (number) => `${number} task${number === 1 ? "" : "s"}`;
    return el(
      "ul",
      { class: "compare-sum" },
      chip(`${names[0]} better on ${tasks(count(1))}`, colours[0]),
      chip(`${names[1]} better on ${tasks(count(2))}`, colours[1]),
      chip(`neither on ${tasks(count(0))}`, ""),
    );
  }

  /* Return the section of two rows: their differences over seeds and over items, and what is left
     out. */
  function section(data, pair, names, colours) {
    const title = el(
      "h2",
      {},
      el("span", { class: `dot ${colours[0]}` }),
      names[0],
      " − ",
      el("span", { class: `dot ${colours[1]}` }),
      names[1],
    );
    if (!pair)
      return el(
        "section",
        { class: "compare-pair" },
        title,
        el("p", {}, "They have no task in common."),
      );
    const { lines } = pair;
    const parts = [
      title,
      summary(names, lines, colours),
      el("h3", {}, "Over seeds: would other trainings give this?"),
      seedsTable(data, names, lines, colours),
      el("p", { class: "quiet" }, SCALES),
    ];
    const byItem = lines.filter((line) => line.items);
    if (byItem.length) {
      parts.push(
        el(
          "h3",
          {},
          "Over test items: would another test set give this, for these trained networks?",
        ),
        itemsTable(data, names, byItem),
      );
      const spreads = byItem.filter((line) => line.items.counts);
      if (spreads.length) parts.push(bench.compare.spread(names, spreads, colours));
    }
    if (pair.notes.length) {
      parts.push(
        el(
          "details",
          {},
          el("summary", {}, `What is left out, and remarks (${pair.notes.length})`),
          el("ul", { class: "notes" }, ...pair.notes.map((note) => el("li", {}, `${note}.`))),
        ),
      );
    }
    return el(
      "section",
      { class: "compare-pair", "aria-label": `${names[0]} minus ${names[1]}` },
      ...parts,
    );
  }

  return { read, section, numbers };
})();
