"use strict";

/* bench.plotNumbers(view): the numbers of a view as a table, {head: [texts], rows: [[...]]}. */
bench.plotNumbers = (() => {
  /* Return the numbers without the columns that are empty in every row. */
  function table(head, rows) {
    const kept = head.map(
      (_, k) => !k || rows.some((row) => row[k] !== null && row[k] !== undefined && row[k] !== ""),
    );
    return {
      head: head.filter((_, k) => kept[k]),
      rows: rows.map((row) => row.filter((_, k) => kept[k])),
    };
  }

  /* Return the middle number; of an even number of them the mean of both in the middle. */
  function median(values) {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length >> 1;
    const middle = sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    return Number(middle.toPrecision(4));
  }

  const tables = {
    scatter(view) {
      const front = view.front || [];
      const rows = view.points.map((p, k) => [
        p.name,
        p.y,
        p.dy,
        p.x,
        p.dx,
        front.includes(k) ? "yes" : "",
      ]);
      return table(["row", view.y, "±", view.x, "±", "on the front"], rows);
    },
    strips(view) {
      const most = Math.max(...view.rows.map((row) => row.values.length));
      const seeds = Array.from({ length: most }, (_, k) => `${k + 1}`);
      const rows = view.rows.map((row) => [
        row.name,
        row.mean,
        row.half,
        ...seeds.map((_, k) => row.values[k]),
      ]);
      return table(
        ["row", `mean of ${view.x}`, "±", ...seeds.map((k) => `seed ${k} of ${most}`)],
        rows,
      );
    },
    ranks(view) {
      return table(
        ["row", "mean rank", "group"],
        view.rows.map((row) => [row.name, row.rank, row.groups]),
      );
    },
    lines(view) {
      const rows = view.series.flatMap((one) =>
        one.x.map((x, k) => [
          one.name,
          x,
          one.y[k],
          one.low && one.low[k],
          one.high && one.high[k],
        ]),
      );
      const first = view.series.filter((one) => typeof one.first === "number");
      const asBoard = first.map((one) => [one.name, "as the board has it", one.first]);
      return table(["row", view.x, view.y, "least", "largest"], [...asBoard, ...rows]);
    },
    areas(view) {
      const rows = view.panels.flatMap((one) =>
        one.x.map((x, k) => [one.name, x, one.density[k], one.prior[k]]),
      );
      return table(["row", view.x, view.y, "prior"], rows);
    },
    clouds(view) {
      const rows = view.panels.flatMap((one) => {
        const classes = one.classes || one.x.map(() => "all");
        return [...new Set(classes)]
          .sort((a, b) => a - b)
          .map((of) => {
            const items = one.x.map((_, k) => k).filter((k) => classes[k] === of);
            const [x, y] = [one.x, one.y].map((values) => median(items.map((k) => values[k])));
            return [one.name, of, items.length, x, y];
          });
      });
      return table(["row", "class", "items", "median of x", "median of y"], rows);
    },
    images(view) {
      return table(
        ["row", "grid"],
        view.panels.map((one) => [one.name, view.label]),
      );
    },
  };

  return (view) => tables[view.shape](view);
})();
