"use strict";

/* How the differences of two rows are spread over the test items: bench.compare.spread(...) makes a
   fold with histograms, a panel for each task, drawn when it is opened, and their numbers. */
(() => {
  const el = bench.element;

  /* Show differences of items as histograms, a panel for each task, drawn when they are opened. */
  bench.compare.spread = (names, lines, colours) => {
    const place = el("div", { class: "plot-drawing" });
    const fold = el(
      "details",
      { class: "compare-spread" },
      el("summary", {}, "How the differences are spread over the items"),
      el(
        "p",
        { class: "quiet" },
        `${names[0]} minus ${names[1]} for each test item, mean over the seeds; items further
        out than the axis are in its last bars. Heights grow with the root of the number of items.`,
      ),
      place,
    );
    const panels = lines.map((line) => ({
      name: line.column.title,
      end: line.items.end,
      counts: line.items.counts,
    }));
    const fills = colours.map((colour) => `var(--series-${colour.slice(1)})`);
    const view = { shape: "spread", label: `${names[0]} minus ${names[1]} by item`, panels, fills };
    fold.append(bench.compare.numbers("The numbers", () => numbersOf(panels)).fold);
    fold.addEventListener("toggle", () => fold.open && bench.plot(place, view));
    return fold;
  };

  /* Return the ends of a histogram's bars with their items. */
  function bins(panel) {
    const wide = (2 * panel.end) / panel.counts.length;
    return panel.counts.map((count, k) => ({
      from: k * wide - panel.end,
      to: (k + 1) * wide - panel.end,
      count,
    }));
  }

  /* Return the bars of all tasks as a table. */
  function numbersOf(panels) {
    const { text } = bench.plot;
    const rows = panels.flatMap((panel) =>
      bins(panel).map((bin) => [panel.name, text(bin.from), text(bin.to), bin.count]),
    );
    return { head: ["task", "from", "to", "items"], rows };
  }

  /* Return the colour of the row that a bar speaks for; grey in the middle. */
  function side(bin, wide, fills) {
    const middle = (bin.from + bin.to) / 2;
    if (Math.abs(middle) < wide / 4) return "var(--series-8)";
    return fills[middle > 0 ? 0 : 1];
  }

  /* Draw counts of items by their difference; bars lie around 0. */
  bench.plot.shapes.spread = (view, width) => {
    const { panel, grid, text, tip, NARROW } = bench.plot;
    const { Plot } = window;
    return [
      grid(view.panels, width, width < NARROW ? 150 : 220, (one, each) => {
        const bars = bins(one);
        const wide = bars[0].to - bars[0].from;
        return panel(`${one.name}: ${view.label}`, {
          width: each,
          height: Math.round(each * 0.62),
          marginTop: 10,
          marginLeft: 44,
          marginRight: 10,
          marginBottom: 24,
          x: { domain: [-one.end, one.end], label: null, ticks: 4 },
          y: { label: null, ticks: 2, grid: true, type: "sqrt", tickFormat: text },
          marks: [
            Plot.rectY(bars, {
              x1: "from",
              x2: "to",
              y: "count",
              insetLeft: 0.5,
              insetRight: 0.5,
              fill: (bin) => side(bin, wide, view.fills),
            }),
            Plot.ruleX([0], { stroke: "var(--quiet)", strokeDasharray: "2 3" }),
            tip(bars, {
              x: (bin) => (bin.from + bin.to) / 2,
              y: "count",
              title: (bin) => `${text(bin.from)} to ${text(bin.to)}\n${bin.count} items`,
            }),
          ],
        });
      }),
    ];
  };
})();
