"use strict";

/* Plots: bench.plot(element, view) draws a view into an element, and again when its width changes.

     bench.plot(element, {
       shape: "lines", label: "Loss of two rows over epochs.", x: "epoch", y: "loss",
       series: [{ name: "nac", x: [1, 2, 3], y: [0.9, 0.5, 0.4] }, ...],
     });

   The library (D3 and Observable Plot) is loaded with the first drawing. Shapes are functions in
   bench.plot.shapes: "lines" and "areas" here, "scatter", "clouds" and "images" in plot_points.js,
   "strips" and "ranks" in plot_rows.js. Series differ by colour and by dashes, markers or names
   beside them; colours are the custom properties of site.css, so light and dark need no second
   drawing. */
bench.plot = (() => {
  const PANELS_FROM = 7; // series from which each has a panel of its own
  const PANELS_FROM_NARROW = 5; // the same where there is little room
  const NARROW = 480; // pixels
  const MOST_PANELS = 24; // that are drawn at once
  const MOST_GREY = 60; // other lines behind one
  const MOST_MARKERS = 40; // points of a line that has a marker on each
  const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
  const MARKERS = ["circle", "circle-stroke"];
  const GREY = { stroke: "var(--edge)", strokeOpacity: 0.4, strokeWidth: 1 };
  const LETTER = 6.6; // pixels of a letter
  const shapes = {}; // name -> function; one with `plain` needs no library
  const drawn = new Map(); // element -> {view, width}
  let observer = null;

  /* Load the plot library once. */
  async function library() {
    await bench.script("assets/d3.min.js");
    await bench.script("assets/plot.min.js");
    return window.Plot;
  }

  /* Draw a view into an element. */
  async function plot(element, view) {
    if (!shapes[view.shape].plain) await library();
    drawn.set(element, { view, width: 0 });
    observer = observer || new ResizeObserver((entries) => entries.forEach((e) => draw(e.target)));
    observer.observe(element);
    draw(element);
  }

  /* Draw what an element shows, unless it has this width already or is not in the page any more. */
  function draw(element) {
    const state = drawn.get(element);
    if (!element.isConnected || !state) {
      observer.unobserve(element);
      drawn.delete(element);
      return;
    }
    const width = Math.floor(element.clientWidth);
    if (width === 0 || width === state.width) return;
    state.width = width;
    element.classList.add("drawn");
    element.replaceChildren(...shapes[state.view.shape](state.view, width));
  }

  /* Return the svg of one panel: an image with a label, without the library's labels of parts. */
  function panel(label, options) {
    for (const mark of options.marks.flat()) mark.ariaLabel = null;
    const svg = window.Plot.plot({
      marginTop: 22,
      marginRight: 16,
      marginBottom: 40,
      ...options,
      style: {
        background: "transparent",
        color: "var(--text)",
        fontFamily: "inherit",
        fontSize: "12px",
      },
      ariaLabel: label,
    });
    svg.setAttribute("role", "img");
    svg.querySelectorAll("[aria-label]").forEach((part) => part.removeAttribute("aria-label"));
    return svg;
  }

  /* Return an element with a class and a text. */
  function node(tag, name, text = "") {
    const made = document.createElement(tag);
    made.className = name;
    made.textContent = text;
    return made;
  }

  /* Return a grid of small panels with their names: make(item, width) gives one svg. A button
     draws more of many. */
  function grid(items, width, least, make) {
    const gap = 16;
    const across = Math.max(1, Math.min(items.length, Math.floor((width + gap) / (least + gap))));
    const each = Math.min(360, Math.floor((width - gap * (across - 1)) / across));
    const all = node("div", "plot-panels");
    const rest = [...items];
    const more = node("button", "plot-more");
    more.type = "button";
    const add = () => {
      for (const item of rest.splice(0, MOST_PANELS)) {
        const one = node("div", "plot-panel");
        one.append(node("p", "plot-name", item.name), make(item, each));
        one.style.width = `${each}px`;
        all.append(one);
      }
      more.textContent = `Draw more (${rest.length})`;
      more.remove();
      if (rest.length) all.append(more);
    };
    more.addEventListener("click", add);
    add();
    return all;
  }

  function colour(k) {
    return `var(--series-${(k % 8) + 1})`;
  }

  /* Return a number as text; four digits are enough beside a point. */
  function text(value) {
    return typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);
  }

  /* Return a name that takes at most so many characters. */
  function short(name, most) {
    return name.length > most ? `${name.slice(0, most - 1)}…` : name;
  }

  /* Return the tip of the point that the pointer is nearest to. */
  function tip(points, channels) {
    const options = { ...channels, fill: "var(--raised)", stroke: "var(--edge)", lineWidth: 24 };
    return window.Plot.tip(points, window.Plot.pointer(options));
  }

  /* Return the least and the largest number, a little apart where they are equal. */
  function extent(values, room = 0) {
    const [low, high] = window.d3.extent(values);
    const more = high > low ? (high - low) * room : Math.abs(high) * 0.1 || 1;
    return [low - more, high + more];
  }

  /* Return the level of chance in a list; none where it is so far away that values lack room. */
  function near(chance, values) {
    if (typeof chance !== "number") return [];
    const [low, high] = extent(values);
    return chance < low - (high - low) || chance > high + (high - low) ? [] : [chance];
  }

  /* Return the points of a series; those without a number are left out. */
  function pointsOf(series) {
    return series.x
      .map((x, k) => ({
        name: series.name,
        x,
        y: series.y[k],
        low: series.low ? series.low[k] : null,
        high: series.high ? series.high[k] : null,
      }))
      .filter((point) => point.x !== null && point.y !== null);
  }

  /* Draw curves: one panel with names at the ends of lines, or a panel for each of many. */
  shapes.lines = (view, width) => {
    const series = view.series.map((one, k) => ({ ...one, k, points: pointsOf(one) }));
    const all = series.flatMap((one) => one.points);
    const names = typeof series[0].x[0] === "string";
    const values = all.flatMap((p) => [p.y, p.low, p.high]).filter((value) => value !== null);
    const firsts = series.map((one) => one.first).filter((value) => typeof value === "number");
    const longest = series.reduce((best, one) => (one.x.length > best.x.length ? one : best));
    const axes = {
      names,
      values: [...new Set(all.map((p) => p.x))].sort((a, b) => a - b),
      log: !names && isGeometric(all.map((p) => p.x)),
      x: names ? [...new Set([...longest.x, ...all.map((p) => p.x)])] : extent(all.map((p) => p.x)),
      y: extent(values.concat(view.apart ? [] : firsts), 0.04),
      whole: all.every((p) => Number.isInteger(p.x)),
    };
    const from = width < NARROW ? PANELS_FROM_NARROW : PANELS_FROM;
    if (series.length < from) return [linesTogether(view, series, axes, width)];
    const caption = node("p", "plot-axes", `${view.y} over ${view.x}; grey: the other rows`);
    const least = width < NARROW ? 150 : 190;
    return [
      caption,
      grid(series, width, least, (one, each) => lineAlone(view, one, series, axes, each)),
    ];
  };

  /* Return whether numbers are few and at least double, as numbers of bits do. */
  function isGeometric(values) {
    const different = [...new Set(values)].sort((a, b) => a - b);
    const ratio = different[different.length - 1] / different[0];
    return (
      different[0] > 0 &&
      different.length > 2 &&
      different.length < 9 &&
      ratio >= 2 ** (different.length - 1)
    );
  }

  /* Return as many of the numbers as have room on a logarithmic axis with so many ticks. */
  function apart(values, ticks) {
    const gap = Math.log(values[values.length - 1] / values[0]) / (ticks + 1);
    const kept = [];
    for (const value of values) {
      if (!kept.length || Math.log(value / kept[kept.length - 1]) >= gap) kept.push(value);
    }
    return kept;
  }

  function xScale(view, axes, label, ticks) {
    if (axes.log) {
      return {
        type: "log",
        domain: axes.x,
        label,
        ticks: apart(axes.values, ticks),
        labelArrow: "none",
        tickFormat: text,
      };
    }
    if (axes.names) return { type: "point", domain: axes.x, label, tickRotate: -35, padding: 0.2 };
    const most = axes.whole ? Math.min(ticks, axes.x[1] - axes.x[0]) : ticks;
    return { domain: axes.x, label, ticks: most, nice: !axes.whole, labelArrow: "none" };
  }

  function bands(Plot, one, more) {
    if (!one.low) return [];
    return [
      Plot.areaY(one.points, {
        x: "x",
        y1: "low",
        y2: "high",
        fill: colour(one.k),
        fillOpacity: 0.15,
        ...more,
      }),
    ];
  }

  function line(Plot, one, more) {
    const marker = one.points.length <= MOST_MARKERS ? MARKERS[one.k % MARKERS.length] : null;
    return Plot.line(one.points, {
      x: "x",
      y: "y",
      stroke: colour(one.k),
      strokeWidth: 1.8,
      marker,
      strokeDasharray: DASHES[one.k % DASHES.length],
      ...more,
    });
  }

  /* Return where the names of lines stand, each near the end of its line, none over another. */
  function ends(series, axes, height, top, bottom) {
    const apply = window.d3.scaleLinear(axes.y, [height - bottom, top]);
    const gap = 15;
    const places = series
      .map((one) => ({ one, end: one.points[one.points.length - 1] }))
      .filter((place) => place.end)
      .map((place) => ({ ...place, at: apply(place.end.y) }))
      .sort((a, b) => a.at - b.at);
    places.forEach((place, k) => {
      if (k) place.at = Math.max(place.at, places[k - 1].at + gap);
    });
    let low = height - bottom;
    for (const place of [...places].reverse()) {
      place.at = Math.min(place.at, low);
      low = place.at - gap;
    }
    return places.map((place) => ({ ...place, y: apply.invert(place.at) }));
  }

  function linesTogether(view, series, axes, width) {
    const { Plot } = window;
    const [top, bottom] = [26, axes.names ? 70 : 40];
    const height = Math.max(260, Math.min(380, width * 0.55));
    const most = width < NARROW ? 14 : 28;
    const right = 16 + 7 * Math.min(most, Math.max(...series.map((one) => one.name.length)));
    const last = axes.names ? axes.x[axes.x.length - 1] : axes.x[1];
    const places = ends(series, axes, height, top, bottom);
    return panel(view.label, {
      width,
      height,
      marginTop: top,
      marginBottom: bottom,
      marginRight: right,
      marginLeft: 52,
      x: { ...xScale(view, axes, view.x, width / 90), nice: false },
      y: { domain: axes.y, label: view.y, labelArrow: "none", grid: true },
      marks: [
        ...series.flatMap((one) => bands(Plot, one)),
        ...series.map((one) => line(Plot, one)),
        ...places.map((place) =>
          Plot.link([place], {
            x1: () => place.end.x,
            y1: () => place.end.y,
            x2: () => last,
            y2: () => place.y,
            stroke: colour(place.one.k),
            strokeOpacity: 0.5,
            strokeDasharray: "1 3",
          }),
        ),
        ...places.map((place) =>
          Plot.text([place], {
            x: () => last,
            y: () => place.y,
            dx: 8,
            textAnchor: "start",
            text: () => short(place.one.name, most),
            fill: colour(place.one.k),
            fontWeight: 600,
          }),
        ),
        tip(
          series.flatMap((one) => one.points),
          {
            x: "x",
            y: "y",
            title: (p) => `${p.name}\n${view.x}: ${text(p.x)}\n${view.y}: ${text(p.y)}`,
          },
        ),
      ],
    });
  }

  /* Draw one line before the grey ones of all others. */
  function lineAlone(view, one, series, axes, width) {
    const { Plot } = window;
    const own = { ...one, k: 0 };
    const first =
      typeof one.first === "number"
        ? [{ x: axes.x[0], y: clamp(one.first, axes.y), value: one.first }]
        : [];
    const step = Math.ceil(series.length / MOST_GREY);
    const others = series.filter((other, k) => other !== one && k % step === 0);
    const last = one.points[one.points.length - 1];
    return panel(
      `${one.name}: ${view.y} over ${view.x}${last ? `, at the end ${text(last.y)}` : ""}.`,
      {
        width,
        height: Math.round(width * 0.62) + (axes.names ? 36 : 0),
        marginTop: 8,
        marginLeft: 44,
        marginRight: 12,
        marginBottom: axes.names ? 62 : 24,
        x: xScale(view, axes, null, 4),
        y: { domain: axes.y, label: null, ticks: 4, grid: true, tickFormat: text },
        marks: [
          ...others.map((other) => Plot.line(other.points, { x: "x", y: "y", ...GREY })),
          ...bands(Plot, own),
          line(Plot, own, {
            strokeWidth: 2.2,
            marker: one.points.length <= 12 ? "circle" : null,
            r: 2,
          }),
          Plot.dot(first, {
            x: "x",
            y: "y",
            r: 4,
            fill: "var(--ground)",
            stroke: colour(0),
            strokeWidth: 1.5,
          }),
          tip(one.points, {
            x: "x",
            y: "y",
            title: (p) => `${view.x}: ${text(p.x)}\n${view.y}: ${text(p.y)}`,
          }),
        ],
      },
    );
  }

  function clamp(value, [low, high]) {
    return Math.min(high, Math.max(low, value));
  }

  /* Draw distributions as areas, each in a panel of its own, and what they should be as lines. */
  shapes.areas = (view, width) => {
    const { Plot } = window;
    const x = extent(view.panels.flatMap((one) => one.x));
    const key = node(
      "p",
      "plot-axes",
      `${view.y} over ${view.x}, each to its own height; area: the embedding, line: the prior`,
    );
    return [
      key,
      grid(view.panels, width, width < NARROW ? 150 : 190, (one, each) => {
        const points = one.x.map((value, k) => ({
          x: value,
          density: one.density[k],
          prior: one.prior[k],
        }));
        return panel(`${one.name}: ${view.y} over ${view.x}, and the prior.`, {
          width: each,
          height: Math.round(each * 0.62),
          marginTop: 8,
          marginLeft: 44,
          marginRight: 12,
          marginBottom: 24,
          x: { domain: x, label: null, ticks: 4 },
          y: {
            domain: [0, Math.max(...one.density, ...one.prior)],
            label: null,
            ticks: 4,
            grid: true,
            tickFormat: text,
          },
          marks: [
            Plot.areaY(points, {
              x: "x",
              y: "density",
              curve: "step",
              fill: colour(0),
              fillOpacity: 0.45,
            }),
            Plot.lineY(points, { x: "x", y: "prior", stroke: "var(--text)", strokeWidth: 1.5 }),
            tip(points, {
              x: "x",
              y: "density",
              title: (p) => `${text(p.x)}\nembedding: ${text(p.density)}\nprior: ${text(p.prior)}`,
            }),
          ],
        });
      }),
    ];
  };

  const tools = { shapes, library, panel, grid, node, colour, text, short, tip, extent, near };
  return Object.assign(plot, tools, { LETTER, NARROW });
})();
