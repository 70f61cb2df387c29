"use strict";

/* The page "Live" of `bench serve`: asks for the state of the store every two seconds while
   somebody looks, and shows what has changed. It is served, never read from a file, so it may use
   fetch. */
bench.live = (() => {
  const POLL_MS = 2000;
  const SVG = "http://www.w3.org/2000/svg";
  let tag = ""; // of the state that is shown
  let wrong = ""; // what the state says is wrong
  let timer = 0;

  function one(selector) {
    return document.querySelector(selector);
  }

  /* Make an element with a class and a text. */
  function element(name, kind, text) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /* Write a text only where it differs, so that screen readers say it once. */
  function write(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function fill(list, texts) {
    list.replaceChildren(...texts.map((text) => element("li", "", text)));
  }

  function showRun(state) {
    one(".live-run").hidden = false;
    write(one(".live-command code"), state.command);
    const goes = state.goes_on ? "goes on" : state.chains.length ? "does not run now" : "is over";
    write(one(".live-goes"), state.command ? goes : "No run has said what it does.");
    one(".live-bar").hidden = !state.total;
    one(".live-bar").max = Math.max(1, state.total);
    one(".live-bar").value = state.done;
    const counts = ["running", "failed", "left"].filter((name) => state.counts[name]);
    const parts = counts.map((name) => `${state.counts[name]} ${name}`);
    const text = [`${state.done} of ${state.total} cells done`, ...parts].join(", ");
    write(one(".live-summary"), state.left ? `${text}; ${state.left} left` : text);
    fill(one(".live-notes"), state.notes);
  }

  function showChains(state) {
    one(".live-chains").hidden = !state.chains.length;
    one(".live-chains tbody").replaceChildren(
      ...state.chains.map((chain) => {
        const row = element("tr", `live-${chain.state}`);
        const label = element("th", "", chain.label);
        label.scope = "row";
        const epochs = chain.epochs ? `${chain.epoch} of ${chain.epochs}` : "";
        row.append(
          label,
          element("td", "live-state", chain.state),
          element("td", "number", epochs),
          element("td", "number", String(chain.cells)),
          element("td", "", chain.left),
          element("td", "live-note", chain.note),
        );
        return row;
      }),
    );
    const more = state.more_chains;
    write(one(".live-more"), more ? `and ${more} more chains` : "");
  }

  function showOthers(state) {
    one(".live-others").hidden = !state.others.length;
    fill(one(".live-others ul"), state.others);
  }

  /* Draw one curve as a line, with its ends as text: what it shows can be read without the
     picture. */
  function figure(curve) {
    const made = element("figure", "live-curve");
    const [first, last] = [curve.points[0], curve.points[curve.points.length - 1]];
    const values = curve.points.map((point) => point[1]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const [width, height, edge] = [240, 72, 4];
    const x = (epoch) =>
      edge + ((width - 2 * edge) * (epoch - first[0])) / (last[0] - first[0] || 1);
    const y = (value) => edge + ((height - 2 * edge) * (high - value)) / (high - low || 1);
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(SVG, "polyline");
    const points = curve.points.map(
      (point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`,
    );
    line.setAttribute("points", points.join(" "));
    const dot = document.createElementNS(SVG, "circle");
    dot.setAttribute("cx", x(last[0]).toFixed(1));
    dot.setAttribute("cy", y(last[1]).toFixed(1));
    dot.setAttribute("r", "3");
    svg.append(line, dot);
    const caption = element("figcaption", "");
    caption.append(element("b", "", curve.name), ` ${last[1]} at epoch ${last[0]}`);
    const from = `from ${first[1]} at epoch ${first[0]}; lowest ${low}, highest ${high}`;
    caption.append(element("span", "quiet", from));
    made.append(svg, caption);
    return made;
  }

  /* Make the fold with the last lines of a log; it stays, and only its text changes. */
  function logDetails(training) {
    const details = element("details", "");
    const log = element("pre", "");
    log.tabIndex = 0;
    log.setAttribute("role", "region");
    log.setAttribute("aria-label", `Last lines of the log of ${training.label}`);
    details.append(element("summary", "", "Last lines of the log"), log);
    return details;
  }

  /* Show one training. */
  function fillTraining(article, training) {
    const of = training.epochs ? ` of ${training.epochs}` : "";
    const heading = element("h3", "", training.label);
    const told = element("p", "live-epoch", `epoch ${training.epoch}${of}`);
    const bar = element("progress", "live-bar");
    bar.max = training.epochs || 1;
    bar.value = training.epoch;
    bar.setAttribute("aria-label", `Epochs done of ${training.label}`);
    const curves = element("div", "live-curves");
    curves.append(...training.curves.map(figure));
    const above = element("div", "");
    above.append(heading, told, ...(training.epochs ? [bar] : []), curves);
    if (article.firstChild) article.firstChild.replaceWith(above);
    else article.append(above, logDetails(training));
    write(article.querySelector("pre"), training.log.join("\n"));
  }

  /* Keep the article of each training, so that what has the focus in it keeps its place in the
     page. */
  function showTrainings(state) {
    const list = one(".live-list");
    one(".live-trainings").hidden = !state.trainings.length;
    const known = new Map([...list.children].map((article) => [article.dataset.key, article]));
    const articles = state.trainings.map((training) => {
      const article = known.get(training.key) || element("article", "live-training");
      article.dataset.key = training.key;
      const shown = JSON.stringify(training);
      if (article.shown !== shown) fillTraining(article, training);
      article.shown = shown;
      return article;
    });
    if (
      articles.some((article, place) => list.children[place] !== article) ||
      articles.length !== list.children.length
    )
      list.replaceChildren(...articles);
  }

  function showPages(pages) {
    const parts = [`The other pages show the records of ${pages.built}`];
    if (pages.building) parts.push("newer ones are being made");
    if (pages.error) parts.push(`newer ones could not be made: ${pages.error}`);
    write(one(".live-pages"), `${parts.join("; ")}.`);
  }

  function lost(text) {
    one(".live-lost").hidden = !text;
    write(one(".live-lost"), text);
  }

  function show(state) {
    showPages(state.pages);
    wrong = state.error || "";
    lost(wrong);
    if (state.error) return;
    showRun(state);
    showTrainings(state);
    showChains(state);
    showOthers(state);
  }

  /* Ask for the state; the browser sends the tag of what it has, and nothing is done where that is
     still right. */
  async function ask() {
    try {
      const answer = await fetch("state.json", { cache: "no-cache" });
      if (answer.status === 403) {
        lost("The server wants its token: open the address that `bench serve` has printed.");
      } else if (answer.headers.get("ETag") !== tag) {
        show(await answer.json());
        tag = answer.headers.get("ETag");
      } else {
        lost(wrong);
      }
    } catch (error) {
      tag = "";
      lost("The server does not answer; what is shown may be old.");
    }
  }

  /* Ask again and again while the page can be seen. */
  async function poll() {
    clearTimeout(timer);
    if (document.hidden) return;
    await ask();
    timer = setTimeout(poll, POLL_MS);
  }

  document.addEventListener("visibilitychange", poll);
  return { poll };
})();

bench.live.poll();
