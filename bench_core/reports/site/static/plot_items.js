"use strict";

/* Images of the items that embeddings show: bench.plotItems(view) gives a control that chooses an
   item, by keyboard too, and frames around panels that ring its point in each of them. An image is
   a cell of one sheet, which the browser loads with the first image that is shown. */
bench.plotItems = (() => {
  const { node } = bench.plot;
  const SHOWN = 64; // pixels of an image on the page
  const SVG = "http://www.w3.org/2000/svg";
  let last = 0; // number of the last control, for its label

  /* Return an element that shows one cell of the sheet. */
  function picture(pictures) {
    const made = node("span", "plot-item-picture");
    const address = document.body.dataset.root + pictures.address;
    made.style.backgroundImage = `url("${address}")`;
    made.style.backgroundSize = `${pictures.across * SHOWN}px ${pictures.down * SHOWN}px`;
    return made;
  }

  function showCell(made, pictures, cell) {
    const [left, top] = [cell % pictures.across, Math.floor(cell / pictures.across)];
    made.style.backgroundPosition = `${-left * SHOWN}px ${-top * SHOWN}px`;
  }

  /* Return the class of each cell that a view shows, those of the first class first. */
  function classesOf(view) {
    const { draws, numbers } = view.pictures;
    const classes = new Map();
    for (const one of view.panels.filter((panel) => panel.items !== undefined)) {
      draws[one.items].forEach((cell, k) => classes.set(cell, one.classes[k]));
    }
    const order = (a, b) => a[1] - b[1] || numbers[a[0]] - numbers[b[0]];
    return new Map([...classes].sort(order));
  }

  return (view) => {
    const { pictures } = view;
    const classes = classesOf(view);
    const cells = [...classes.keys()];
    const rings = []; // for each panel a function that rings an item
    if (!classes.has(view.chosen)) view.chosen = cells[0]; // kept when the view is drawn anew

    const said = (cell) => `item ${pictures.numbers[cell]} of the test split, class ${classes.get(cell)}`;
    const range = node("input", "plot-item-range");
    Object.assign(range, { type: "range", min: 0, max: cells.length - 1, id: `plot-item-${++last}` });
    const label = node("label", "", "Item");
    label.htmlFor = range.id;
    const shown = picture(pictures);
    shown.setAttribute("role", "img");
    const text = node("span", "plot-item-text");
    const control = node("div", "plot-item");
    control.append(shown, label, range, text);

    /* Show an item: its image, its name, and a ring around its point in every panel. */
    function choose(cell) {
      view.chosen = cell;
      range.value = cells.indexOf(cell);
      range.setAttribute("aria-valuetext", said(cell));
      showCell(shown, pictures, cell);
      shown.setAttribute("aria-label", `Image of ${said(cell)}`);
      text.textContent = said(cell);
      rings.forEach((ring) => ring(cell));
    }

    /* Return a panel in a frame that shows the image of the point which the pointer is nearest to. */
    function framed(one, svg) {
      const frame = node("div", "plot-item-frame");
      frame.append(svg);
      if (one.items === undefined) return frame;
      const draw = pictures.draws[one.items];
      const places = new Map(draw.map((cell, k) => [cell, k]));
      const at = (k) => [svg.scale("x").apply(one.x[k]), svg.scale("y").apply(one.y[k])];
      const circle = document.createElementNS(SVG, "circle");
      circle.setAttribute("class", "plot-item-ring");
      circle.setAttribute("r", 7);
      svg.append(circle);
      rings.push((cell) => {
        const k = places.get(cell);
        circle.style.display = k === undefined ? "none" : "";
        if (k === undefined) return;
        const [x, y] = at(k);
        circle.setAttribute("cx", x);
        circle.setAttribute("cy", y);
      });
      rings[rings.length - 1](view.chosen);
      const near = node("div", "plot-item-near");
      const image = picture(pictures);
      const name = node("span", "");
      near.setAttribute("aria-hidden", "true"); // the control says the same
      near.hidden = true;
      near.append(image, name);
      frame.append(near);
      svg.addEventListener("input", () => {
        near.hidden = !svg.value;
        if (!svg.value) return;
        const { k } = svg.value;
        const [x, y] = at(k);
        choose(draw[k]);
        showCell(image, pictures, draw[k]);
        name.textContent = `class ${one.classes[k]}`;
        near.style.top = `${y}px`;
        near.style.left = `${x}px`;
        near.classList.toggle("left", x > svg.clientWidth / 2);
        near.classList.toggle("above", y > svg.clientHeight / 2);
      });
      return frame;
    }

    range.addEventListener("input", () => choose(cells[Number(range.value)]));
    if (cells.length) choose(view.chosen);
    else control.hidden = true;
    return { control, framed };
  };
})();
