"use strict";

/* Further shapes of bench.plot: points with names, embeddings in a plane, and images. */
(() => {
  const { shapes, panel, grid, node, colour, text, short, tip, extent, near } = bench.plot;
  const { LETTER, NARROW } = bench.plot;
  const MOST_CLASSES = 20; // that have a number and a legend

  /* Return the scale of a cost or score: where values differ by more than a factor of 20 small ones
     need room, and zero has none on a logarithmic scale. */
  function spread(values) {
    const positive = values.filter((value) => value > 0);
    if (!positive.length || Math.min(...values) < 0) return "linear";
    if (Math.max(...positive) / Math.min(...positive) < 20) return "linear";
    return Math.min(...values) > 0 ? "log" : "sqrt";
  }

  function domain(values, type) {
    const [low, high] = extent(values, 0.06);
    if (type === "log") return [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
    return type === "sqrt" ? [0, Math.max(...values) * 1.08] : [low, high];
  }

  /* Return names with a place beside their points where there is one, those of the front first. */
  function placed(points, front, at, box, most) {
    const taken = points.map((p) => [at.x(p.x) - 6, at.y(p.y) - 6, at.x(p.x) + 6, at.y(p.y) + 6]);
    const names = [];
    const order = [...front, ...points.map((_, k) => k).filter((k) => !front.includes(k))];
    for (const k of order) {
      const name = short(points[k].name, most);
      const [x, y, wide] = [at.x(points[k].x), at.y(points[k].y), LETTER * name.length];
      const sides = [
        ["start", 9, 0, [x + 8, y - 7, x + 8 + wide, y + 7]],
        ["end", -9, 0, [x - 8 - wide, y - 7, x - 8, y + 7]],
        ["middle", 0, -14, [x - wide / 2, y - 21, x + wide / 2, y - 7]],
        ["middle", 0, 14, [x - wide / 2, y + 7, x + wide / 2, y + 21]],
      ];
      if (front.includes(k)) sides.push(sides.shift()); // the front goes on to the right
      const free = sides.find(
        ([, , , b]) =>
          b[0] >= box[0] &&
          b[1] >= box[1] &&
          b[2] <= box[2] &&
          b[3] <= box[3] &&
          !taken.some((t) => t[0] < b[2] && t[2] > b[0] && t[1] < b[3] && t[3] > b[1]),
      );
      if (!free) continue;
      taken.push(free[3]);
      names.push({
        ...points[k],
        shown: name,
        anchor: free[0],
        dx: free[1],
        dy: free[2],
        front: front.includes(k),
      });
    }
    return names;
  }

  const KINDS = { method: "circle", labels: "square", network: "triangle" };

  /* Draw rows as points: by score and cost with the Pareto front, or by two scores. */
  shapes.scatter = (view, width) => {
    const { Plot } = window;
    const front = view.front || [];
    const points = view.points.map((p, k) => ({ ...p, front: front.includes(k) }));
    const height = Math.round(Math.max(320, Math.min(480, width * 0.58)));
    const margins = { marginTop: 26, marginRight: 20, marginBottom: 44, marginLeft: 60 };
    const [xType, yType] = [spread(points.map((p) => p.x)), "linear"];
    const bars = (key) =>
      points.flatMap((p) => [p[key] - (p[`d${key}`] || 0), p[key] + (p[`d${key}`] || 0)]);
    const chance = near(view.chance, bars("y"));
    const x = {
      type: xType,
      domain: domain(xType === "linear" ? bars("x") : points.map((p) => p.x), xType),
    };
    const y = { type: yType, domain: domain([...bars("y"), ...chance], yType) };
    const at = {
      x: Plot.scale({ x: { ...x, range: [60, width - 20] } }).apply,
      y: Plot.scale({ y: { ...y, range: [height - 44, 26] } }).apply,
    };
    const names = placed(
      points,
      front,
      at,
      [66, 20, width - 2, height - 44],
      width < NARROW ? 16 : 30,
    );
    const line = view.connect ? points : front.map((k) => points[k]);
    const halo = { stroke: "var(--ground)", strokeWidth: 3, paintOrder: "stroke" };
    const svg = panel(view.label, {
      width,
      height,
      ...margins,
      x: { ...x, label: view.x, labelArrow: "none", ticks: Math.max(3, width / 110), grid: true },
      y: { ...y, label: view.y, labelArrow: "none", grid: true },
      marks: [
        Plot.ruleY(chance, { stroke: "var(--quiet)", strokeDasharray: "3 4" }),
        Plot.text(chance, {
          y: (value) => value,
          frameAnchor: "right",
          dy: -8,
          text: () => "chance",
          fill: "var(--quiet)",
        }),
        Plot.line(line, {
          x: "x",
          y: "y",
          curve: view.connect ? "linear" : "step-after",
          stroke: colour(view.connect ? 7 : 0),
          strokeWidth: 1.5,
          strokeDasharray: view.connect ? "4 3" : "",
        }),
        Plot.ruleX(
          points.filter((p) => p.dy),
          {
            x: "x",
            y1: (p) => p.y - p.dy,
            y2: (p) => p.y + p.dy,
            stroke: "var(--quiet)",
            strokeOpacity: 0.6,
          },
        ),
        Plot.ruleY(
          points.filter((p) => p.dx),
          {
            y: "y",
            x1: (p) => p.x - p.dx,
            x2: (p) => p.x + p.dx,
            stroke: "var(--quiet)",
            strokeOpacity: 0.6,
          },
        ),
        ...Object.entries(KINDS).map(([kind, symbol]) =>
          Plot.dot(
            points.filter((p) => p.kind === kind && !p.front),
            {
              x: "x",
              y: "y",
              symbol,
              r: 4.5,
              stroke: colour(1),
              strokeWidth: 1.6,
              fill: "var(--ground)",
            },
          ),
        ),
        Plot.dot(
          points.filter((p) => p.front),
          { x: "x", y: "y", symbol: "diamond", r: 6.5, fill: colour(0) },
        ),
        ...names.map((name) =>
          Plot.text([name], {
            x: "x",
            y: "y",
            text: "shown",
            textAnchor: name.anchor,
            dx: name.dx,
            dy: name.dy,
            ...halo,
            fill: "var(--text)",
            fontWeight: name.front ? 650 : 400,
          }),
        ),
        tip(points, {
          x: "x",
          y: "y",
          title: (p) =>
            [
              p.name,
              `${view.y}: ${text(p.y)}${p.dy ? ` ± ${text(p.dy)}` : ""}`,
              `${view.x}: ${text(p.x)}${p.dx ? ` ± ${text(p.dx)}` : ""}`,
              p.front ? "on the Pareto front" : "",
            ]
              .filter(Boolean)
              .join("\n"),
        }),
      ],
    });
    const marks = [];
    if (front.length) marks.push(["diamond", "on the Pareto front", 0]);
    if (front.length) marks.push(["circle", "another row", 1]);
    if (points.some((p) => p.kind === "labels")) marks.push(["square", "trained with labels", 1]);
    if (points.some((p) => p.kind === "network")) marks.push(["triangle", "one network", 1]);
    const hidden = points.length - names.length;
    const further = hidden
      ? [node("p", "plot-axes", `${hidden} points have no room for their name: see the numbers.`)]
      : [];
    return [
      legend(marks.map(([symbol, name, k]) => ({ symbol, name, k, hollow: k === 1 }))),
      svg,
      ...further,
    ];
  };

  /* Return the names of symbols and colours. */
  function legend(items) {
    const { d3, Plot } = window;
    const all = node("p", "plot-legend");
    for (const item of items) {
      const one = node("span", "");
      const svg = d3
        .create("svg")
        .attr("width", 14)
        .attr("height", 14)
        .attr("viewBox", "-7 -7 14 14");
      svg
        .attr("aria-hidden", "true")
        .append("path")
        .attr("d", d3.symbol(symbolType(item.symbol), 52)())
        .attr("fill", item.hollow ? "var(--ground)" : colour(item.k))
        .attr("stroke", colour(item.k));
      one.append(svg.node(), ` ${item.name}`);
      all.append(one);
    }
    return all;
  }

  function symbolType(name) {
    const types = {
      circle: "symbolCircle",
      square: "symbolSquare",
      triangle: "symbolTriangle",
      diamond: "symbolDiamond",
      cross: "symbolCross",
      star: "symbolStar",
      wye: "symbolWye",
    };
    return window.d3[types[name]];
  }

  const SYMBOLS = ["circle", "triangle", "square", "diamond", "cross", "star", "wye"];

  /* Draw embeddings in a plane: a panel for each row, colour and shape for each class; with images
     of the items where the view has them. */
  shapes.clouds = (view, width) => {
    const classes = [...new Set(view.panels.flatMap((one) => one.classes || []))].sort(
      (a, b) => a - b,
    );
    const named = classes.length <= MOST_CLASSES;
    const key = classes.map((name, k) => ({
      name: `class ${name}`,
      symbol: SYMBOLS[k % SYMBOLS.length],
      k,
    }));
    const items = view.pictures ? bench.plotItems(view) : null;
    const panels = grid(view.panels, width, width < NARROW ? 140 : 230, (one, each) => {
      const svg = cloud(one, classes, named, each, Boolean(items));
      return items ? items.framed(one, svg) : svg;
    });
    return [
      ...(items ? [items.control] : []),
      ...(named && key.length ? [legend(key)] : []),
      panels,
    ];
  };

  /* Draw the points of one row; the nearest one is given a tip, or only handed over as svg.value. */
  function cloud(one, classes, named, size, pointed) {
    const { Plot, d3 } = window;
    const points = one.x.map((x, k) => ({
      x,
      y: one.y[k],
      of: one.classes ? one.classes[k] : null,
      k,
    }));
    const middle = [d3.mean(d3.extent(one.x)), d3.mean(d3.extent(one.y))];
    const reach = Math.max(...[one.x, one.y].map((v) => d3.max(v) - d3.min(v))) * 0.54 || 1;
    const groups = classes.length ? classes : [null];
    const centres =
      named && one.classes
        ? d3.rollups(
            points,
            (of) => ({ x: d3.median(of, (p) => p.x), y: d3.median(of, (p) => p.y) }),
            (p) => p.of,
          )
        : [];
    return panel(`${one.name}: ${points.length} items in the plane.`, {
      width: size,
      height: size,
      marginTop: 2,
      marginRight: 2,
      marginBottom: 2,
      marginLeft: 2,
      x: { domain: [middle[0] - reach, middle[0] + reach], axis: null },
      y: { domain: [middle[1] - reach, middle[1] + reach], axis: null },
      marks: [
        Plot.frame({ stroke: "var(--line)" }),
        ...groups.map((of, k) =>
          Plot.dot(
            points.filter((p) => p.of === of),
            {
              x: "x",
              y: "y",
              r: 2.4,
              symbol: SYMBOLS[k % SYMBOLS.length],
              fill: colour(k),
              fillOpacity: 0.8,
            },
          ),
        ),
        Plot.text(centres, {
          x: (c) => c[1].x,
          y: (c) => c[1].y,
          text: (c) => String(c[0]),
          fontWeight: 700,
          fontSize: 13,
          fill: "var(--text)",
          stroke: "var(--ground)",
          strokeWidth: 4,
        }),
        pointed
          ? Plot.dot(points, Plot.pointer({ x: "x", y: "y", r: 5, stroke: "var(--text)" }))
          : tip(points, {
              x: "x",
              y: "y",
              title: (p) => (p.of === null ? "an item" : `class ${p.of}`),
            }),
      ],
    });
  }

  /* Show grids of images, small ones enlarged with sharp pixels. */
  const images = (view, width) => [
    grid(view.panels, width, width < NARROW ? 150 : 220, (one) => {
      const image = node("img", "plot-image");
      image.src = `data:image/png;base64,${one.png}`;
      image.alt = `${one.name}: ${view.label}`;
      return image;
    }),
  ];
  shapes.images = Object.assign(images, { plain: true });
})();
