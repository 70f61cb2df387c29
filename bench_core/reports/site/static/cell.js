"use strict";

/* The page of a cell: its curves and the log of its chain as drawings, and on cell.html the cell
   whose key stands in the address. Numbers of curves are read from their tables in the page; those
   of a log are data of its chain. */
(() => {
  const KEY = /^[0-9a-f]{16,64}$/;
  const DIGITS = 16; // of a key in addresses
  const CLOUD = "x,y,label"; // columns of a curve that is a plane
  const AREAS = "centre,density,prior"; // columns of a distribution

  /* Return the numbers in a table of the page: {columns: [names], rows: [[values]]}. */
  function numbersIn(table) {
    const value = (cell) => {
      const text = cell.textContent.trim();
      return text === "" || Number.isNaN(Number(text)) ? null : Number(text);
    };
    return {
      columns: [...table.tHead.rows[0].cells].map((cell) => cell.textContent),
      rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map(value)),
    };
  }

  /* Return what bench.plot draws of a table of numbers: one column over the first, or all of a
     plane. */
  function viewOf(numbers, title, column) {
    const values = (k) => numbers.rows.map((row) => row[k]);
    const names = numbers.columns.map((name) => name.replaceAll("_", " "));
    if (numbers.columns.join() === CLOUD) {
      return {
        shape: "clouds",
        label: title,
        panels: [{ name: title, x: values(0), y: values(1), classes: values(2) }],
      };
    }
    if (numbers.columns.join() === AREAS) {
      const panel = { name: title, x: values(0), density: values(1), prior: values(2) };
      return { shape: "areas", label: title, x: "value", y: "density", panels: [panel] };
    }
    const series = [{ name: "", x: values(0), y: values(column) }];
    return {
      shape: "lines",
      label: `${title}: ${names[column]} over ${names[0]}.`,
      x: names[0],
      y: names[column],
      series,
    };
  }

  /* Draw numbers into a figure; where there are several columns, a reader chooses which one. */
  async function drawFigure(figure, numbers) {
    const title = figure.querySelector("h3").textContent;
    const place = figure.querySelector(".plot-drawing");
    const draw = async (column) => {
      try {
        await bench.plot(place, viewOf(numbers, title, column));
      } catch (error) {
        place.replaceChildren(
          bench.plot.node("p", "plot-failed", `This plot cannot be drawn: ${error.message}`),
        );
      }
    };
    if (viewOf(numbers, title, 1).shape === "lines" && numbers.columns.length > 2) {
      choose(figure.querySelector(".plot-choices"), numbers.columns.slice(1), (k) => draw(k + 1));
    }
    await draw(1);
  }

  /* Put a choice of columns above a drawing. */
  function choose(place, names, chosen) {
    const label = document.createElement("label");
    const select = document.createElement("select");
    label.append("shown ", select);
    names.forEach((name) => select.append(new Option(name.replaceAll("_", " "), name)));
    select.addEventListener("change", () => chosen(select.selectedIndex));
    place.replaceChildren(label);
    place.hidden = false;
  }

  /* Return the numbers of a figure: those of its table, or the data of its log, which is loaded. */
  async function numbersOf(figure) {
    if (!figure.dataset.address) return numbersIn(figure.querySelector("table"));
    return bench.load(figure.dataset.name, figure.dataset.address);
  }

  /* Write the numbers of a log as a table, once, when a reader opens them. */
  async function writeTable(figure) {
    const details = figure.querySelector("details");
    if (details.querySelector("table")) return;
    const numbers = await numbersOf(figure);
    if (details.querySelector("table")) return;
    const wide = document.createElement("div");
    wide.className = "wide";
    wide.tabIndex = 0;
    wide.setAttribute("role", "region");
    wide.setAttribute("aria-label", "Log: the numbers");
    const table = document.createElement("table");
    table.className = "plain";
    const head = table.createTHead().insertRow();
    for (const name of numbers.columns) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = "number";
      cell.textContent = name;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const row of numbers.rows) {
      const line = body.insertRow();
      for (const value of row) {
        const cell = line.insertCell();
        cell.className = "number";
        cell.textContent = value === null ? "" : String(value);
      }
    }
    wide.append(table);
    details.append(wide);
  }

  /* Draw each figure when it is scrolled to; the plot library is loaded with the first one. */
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((one) => one.isIntersecting)) {
        seen.unobserve(entry.target);
        const figure = entry.target.closest("figure");
        numbersOf(figure).then((numbers) => drawFigure(figure, numbers));
      }
    },
    { rootMargin: "100px" },
  );

  /* Make the figures of the page live. */
  function start() {
    for (const place of document.querySelectorAll(".cell .plot-drawing")) {
      place.hidden = false;
      seen.observe(place);
    }
    for (const figure of document.querySelectorAll(".cell figure[data-address]")) {
      const details = figure.querySelector("details");
      details.hidden = false;
      details.addEventListener("toggle", () => writeTable(figure));
    }
  }

  /* Return the part of the page for a key, or null. The data holds it as HTML that was made, and
     escaped, with all other pages of the site; it goes into the page as it is. */
  async function partOf(key, digits) {
    const name = `cells/${key.slice(0, digits)}`;
    const parts = await bench.load(name, `data/${name}.js`);
    if (!Object.hasOwn(parts, key)) return null;
    return new DOMParser().parseFromString(parts[key], "text/html").querySelector("article.cell");
  }

  /* Show the cell of the address on cell.html; an address inside the page, such as #main, changes
     nothing. */
  async function show(place) {
    const text = location.hash.slice(1);
    const part = KEY.test(text)
      ? await partOf(text.slice(0, DIGITS), Number(place.dataset.digits)).catch(() => null)
      : null;
    if (text !== location.hash.slice(1)) return; // another one was asked for meanwhile
    if (part) {
      place.replaceChildren(document.adoptNode(part));
      document.title = `${place.querySelector("h1").textContent} · bench`;
      start();
      window.scrollTo(0, 0);
    } else if (!place.querySelector(".cell") || KEY.test(text)) {
      say(
        place,
        text
          ? `No record on this page has the key ${text}.`
          : "The address names no record: its key belongs behind #.",
      );
    }
  }

  /* Say why there is no cell. */
  function say(place, text) {
    const heading = document.createElement("h1");
    heading.textContent = "No such cell";
    const line = document.createElement("p");
    line.className = "said";
    line.textContent = text;
    place.replaceChildren(heading, line);
    document.title = "No such cell · bench";
  }

  const place = document.getElementById("cell");
  if (place) {
    window.addEventListener("hashchange", () => show(place));
    show(place);
  } else {
    start();
  }
})();
