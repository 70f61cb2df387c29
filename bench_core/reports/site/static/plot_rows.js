"use strict";

/* Shapes of bench.plot with a line for each row: its seeds, and its mean rank. */
(() => {
  const { shapes, panel, colour, text, short, tip, extent, near, LETTER, NARROW } = bench.plot;
  const LINE = 24; // pixels of a row

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
    const { most, left } = leftOf(view.rows, width);
    const chance = near(
      view.chance,
      view.rows.flatMap((row) => row.values).filter((value) => value !== null),
    );
    const points = view.rows.flatMap((row) =>
      row.values.filter((value) => value !== null).map((value) => ({ ...row, value })),
    );
    const ends = view.rows.flatMap((row) => [
      row.mean - (row.half || 0),
      row.mean + (row.half || 0),
    ]);
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
        height: LINE * view.rows.length + (chance.length ? 68 : 52),
        marginLeft: left,
        marginTop: chance.length ? 26 : 8,
        marginRight: 20,
        x: {
          domain: extent([...points.map((p) => p.value), ...ends, ...chance], 0.03),
          label: view.x,
          labelArrow: "none",
          grid: true,
          ticks: Math.max(3, width / 110),
        },
        y: {
          type: "band",
          domain: view.rows.map((row) => row.name),
          label: null,
          tickFormat: (n) => short(n, most),
          tickSize: 0,
        },
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
            view.rows.filter((row) => row.half),
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
          Plot.tickX(view.rows, {
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
    ];
  };

  /* Draw mean ranks with bars as long as the critical difference: rows whose bars do not overlap
     differ. */
  shapes.ranks = (view, width) => {
    const { Plot } = window;
    const { most, left } = leftOf(view.rows, width);
    const half = (view.critical || 0) / 2;
    const groups = view.rows.some((row) => row.groups);
    const right = groups
      ? 24 + LETTER * Math.max(...view.rows.map((row) => row.groups.length))
      : 20;
    const told =
      view.critical !== null &&
      view.rows.map((row) => ({ ...row, far: row.rank - view.rows[0].rank >= view.critical }));
    const rows = told || view.rows.map((row) => ({ ...row, far: false }));
    return [
      panel(view.label, {
        width,
        height: LINE * rows.length + 52,
        marginLeft: left,
        marginTop: 8,
        marginRight: right,
        x: {
          domain: extent(
            rows.flatMap((row) => [row.rank - half, row.rank + half]),
            0.03,
          ),
          label: view.x,
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
            symbol: (row) => (row.far ? "times" : "circle"),
            stroke: colour(0),
            strokeWidth: 2,
            fill: (row) => (row.far ? "none" : colour(0)),
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
    ];
  };
})();
