"use strict";

/* Shapes of bench.plot with a line for each row: its seeds, and its mean rank. */
(() => {
  const { shapes, panel, node, colour, text, short, tip, extent, near, LETTER, NARROW } =
    bench.plot;
  const LINE = 24; // pixels of a row
  const MOST_ROWS = 80; // that are drawn, the best

  /* Return the first rows, and a line on those that are left out. */
  function first(all) {
    if (all.length <= MOST_ROWS) return { rows: all, further: [] };
    const told = `Drawn: the best ${MOST_ROWS} of ${all.length} rows; the numbers have all.`;
    return { rows: all.slice(0, MOST_ROWS), further: [node("p", "plot-axes", told)] };
  }

  /* Return both axes: values below, a name of at most so many letters beside each row. */
  function axes(label, values, rows, most, width) {
    return {
      x: {
        domain: extent(values, 0.03),
        label,
        labelArrow: "none",
        grid: true,
        ticks: Math.max(3, width / 110),
      },
      y: {
        type: "band",
        domain: rows.map((row) => row.name),
        label: null,
        tickFormat: (n) => short(n, most),
        tickSize: 0,
      },
    };
  }

  /* Return pixels for the names of rows on the left. */
  function leftOf(rows, width) {
    const most = width < NARROW ? 17 : 34;
    return {
      most,
      left: 14 + LETTER * Math.min(most, Math.max(...rows.map((row) => row.name.length))),
    };
  }

  /* Return the half-width of an interval as text. */
  function half(row) {
    return row.half ? ` ± ${text(row.half)}` : "";
  }

  /* Draw each row's seeds as points on one line, with their mean and interval. */
  shapes.strips = (view, width) => {
    const { Plot } = window;
    const { rows, further } = first(view.rows);
    const { most, left } = leftOf(rows, width);
    const chance = near(
      view.chance,
      rows.flatMap((row) => row.values).filter((value) => value !== null),
    );
    const points = rows.flatMap((row) =>
      row.values.filter((value) => value !== null).map((value) => ({ ...row, value })),
    );
    const ends = rows.flatMap((row) => [row.mean - (row.half || 0), row.mean + (row.half || 0)]);
    const dots = (bold) =>
      Plot.dot(
        points.filter((p) => p.bold === bold),
        {
          x: "value",
          y: "name",
          r: 3.8,
          stroke: colour(0),
          strokeWidth: 1.4,
          fill: bold ? colour(0) : "var(--ground)",
          fillOpacity: bold ? 0.75 : 1,
        },
      );
    return [
      panel(view.label, {
        width,
        height: LINE * rows.length + (chance.length ? 68 : 52),
        marginLeft: left,
        marginTop: chance.length ? 26 : 8,
        marginRight: 20,
        ...axes(view.x, [...points.map((p) => p.value), ...ends, ...chance], rows, most, width),
        marks: [
          Plot.ruleX(chance, { stroke: "var(--quiet)", strokeDasharray: "3 4" }),
          Plot.text(chance, {
            x: (v) => v,
            frameAnchor: "top",
            dy: -14,
            text: () => "chance",
            fill: "var(--quiet)",
          }),
          Plot.ruleY(
            rows.filter((row) => row.half),
            {
              y: "name",
              x1: (row) => row.mean - row.half,
              x2: (row) => row.mean + row.half,
              stroke: colour(0),
              strokeWidth: 9,
              strokeOpacity: 0.22,
            },
          ),
          dots(false),
          dots(true),
          Plot.tickX(rows, {
            x: "mean",
            y: "name",
            stroke: "var(--text)",
            strokeWidth: 2,
            inset: 3,
          }),
          tip(points, {
            x: "value",
            y: "name",
            title: (p) => [p.name, text(p.value), `mean: ${text(p.mean)}${half(p)}`].join("\n"),
          }),
        ],
      }),
      ...further,
    ];
  };

  /* Draw mean ranks with bars as long as the critical difference: rows whose bars do not overlap
     differ. */
  shapes.ranks = (view, width) => {
    const { Plot } = window;
    const { rows, further } = first(view.rows);
    const { most, left } = leftOf(rows, width);
    const half = (view.critical || 0) / 2;
    const groups = rows.some((row) => row.groups);
    const right = groups ? 24 + LETTER * Math.max(...rows.map((row) => row.groups.length)) : 20;
    const isFar = (row) => Boolean(half) && row.rank - rows[0].rank >= view.critical;
    return [
      panel(view.label, {
        width,
        height: LINE * rows.length + 52,
        marginLeft: left,
        marginTop: 8,
        marginRight: right,
        ...axes(
          view.x,
          rows.flatMap((row) => [row.rank - half, row.rank + half]),
          rows,
          most,
          width,
        ),
        marks: [
          Plot.ruleY(half ? rows : [], {
            y: "name",
            x1: (row) => row.rank - half,
            x2: (row) => row.rank + half,
            stroke: colour(0),
            strokeWidth: 7,
            strokeOpacity: 0.25,
          }),
          Plot.dot(rows, {
            x: "rank",
            y: "name",
            r: 5,
            symbol: (row) => (isFar(row) ? "times" : "circle"),
            stroke: colour(0),
            strokeWidth: 2,
            fill: (row) => (isFar(row) ? "none" : colour(0)),
          }),
          Plot.text(groups ? rows : [], {
            y: "name",
            frameAnchor: "right",
            dx: right - 8,
            textAnchor: "end",
            text: "groups",
            fontFamily: "var(--mono)",
            fill: "var(--quiet)",
          }),
          tip(rows, {
            x: "rank",
            y: "name",
            title: (row) => `${row.name}\nmean rank ${text(row.rank)}`,
          }),
        ],
      }),
      ...further,
    ];
  };
})();
