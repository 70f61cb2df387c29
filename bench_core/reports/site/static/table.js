"use strict";

/* The view of a board's table, without the page: which rows in which order, and which columns.
   TanStack Table's core sorts and filters; here stand what the filters mean, how a view is written
   into an address, and the one number that is computed in the browser: the mean of a row's ranks
   over the chosen families. All else comes from Python. */
bench.table = (() => {
  // Columns that are no scores begin with a blank, so no task can be called so.
  const METHOD = " method";
  const ENCODER = " encoder";
  const CHOSEN_RANK = " chosen rank";
  const PLAIN = {
    q: "text",
    kind: "kind",
    labels: "labels",
    reads: "embedding",
    seeds: "seeds",
    tuned: "trials",
  };

  /* Return a view that hides nothing but what the board hides at first. */
  function emptyView() {
    const texts = Object.fromEntries(Object.values(PLAIN).map((name) => [name, ""]));
    return { sort: null, ...texts, families: [], columns: {}, rows: [] };
  }

  /* Return the mean of a row's ranks over families; undefined where it is not ranked in one of
     them. */
  function meanRank(row, families) {
    const ranks = families.map((family) => row.family_ranks[family]);
    if (!ranks.length || ranks.some((rank) => rank === undefined)) return undefined;
    return ranks.reduce((sum, rank) => sum + rank, 0) / ranks.length;
  }

  /* Return the name of a row as addresses hold it: no two rows of a table share it. */
  function rowName(row) {
    return row.encoder ? `${row.name} with ${row.encoder}` : row.name;
  }

  /* Return the columns that TanStack gets: all scores, and what rows are filtered by. The chance
     level is a level for all rows, so that the numbers of a row's seeds and trials do not hide
     it. */
  function definitions(data, view) {
    const reference = (test) => (row, id, value) =>
      row.original.kind === "chance" || test(row.getValue(id), value);
    const trials = (row) => (row.trials ? String(row.trials) : "none");
    const of = (id, accessorFn, filterFn) => ({ id, accessorFn, filterFn, sortingFn: "text" });
    const scores = data.columns.map((column, place) => ({
      id: column.id,
      accessorFn: (row) => data.cells[row.id][place].v,
      sortingFn: "basic",
      sortUndefined: "last",
      sortDescFirst: column.up !== false,
    }));
    return [
      of(METHOD, (row) => row.label, "includesString"),
      of(ENCODER, (row) => row.encoder, "equalsString"),
      of(" kind", (row) => row.kind, "equalsString"),
      of(
        " labels",
        (row) => (row.labels ? "yes" : "no"),
        reference((a, b) => a === b),
      ),
      of(
        " seeds",
        (row) => row.seeds,
        reference((a, b) => a >= Number(b)),
      ),
      of(
        " trials",
        trials,
        reference((a, b) => a === b),
      ),
      {
        id: CHOSEN_RANK,
        accessorFn: (row) => meanRank(row, view().families),
        sortingFn: "basic",
        sortUndefined: "last",
        sortDescFirst: false,
      },
      ...scores,
    ];
  }

  /* Make the model of one table of a board's data; `changed` is called after every change of its
     view. */
  function make(data, changed) {
    let view = emptyView();
    const places = new Map(data.columns.map((column, place) => [column.id, place]));
    const families = [...new Set(data.columns.map((column) => column.family))].filter(Boolean);
    const chance = data.rows.filter((row) => row.kind === "chance").map((row) => String(row.id));
    let tanstack;

    /* Make TanStack's table; again where what its columns hold has changed, since it keeps their
       values. */
    function build() {
      tanstack = TableCore.createTable({
        data: data.rows,
        columns: definitions(data, () => view),
        getRowId: (row) => String(row.id),
        getCoreRowModel: TableCore.getCoreRowModel(),
        getFilteredRowModel: TableCore.getFilteredRowModel(),
        getSortedRowModel: TableCore.getSortedRowModel(),
        keepPinnedRows: false,
        onStateChange: () => {},
        renderFallbackValue: null,
        state: {},
      });
    }

    /* Hand the view to TanStack as its state. */
    function pass() {
      const filters = { [METHOD]: view.text, " kind": view.kind, " labels": view.labels };
      Object.assign(filters, { " seeds": view.seeds, " trials": view.trials });
      const columnFilters = Object.entries(filters)
        .filter(([, value]) => value !== "")
        .map(([id, value]) => ({ id, value }));
      const state = {
        ...tanstack.initialState,
        columnFilters,
        sorting: view.sort ? [view.sort] : [],
        // The level of chance stays the last row, as in every other format.
        rowPinning: { top: [], bottom: chance },
      };
      tanstack.setOptions((options) => ({ ...options, state }));
    }

    /* Change parts of the view. */
    function change(parts) {
      const other = "families" in parts && parts.families.join() !== view.families.join();
      view = { ...view, ...parts };
      if (other) build();
      if (view.sort && view.sort.id === CHOSEN_RANK && !view.families.length) view.sort = null;
      pass();
      changed();
    }

    /* Return whether a column is in the view. Families and embeddings narrow what was chosen; what
       belongs to no family, such as means and costs, stays. */
    function isVisible(column) {
      const chosen = view.columns[column.id] ?? column.shown;
      const family =
        !view.families.length || !column.family || view.families.includes(column.family);
      const embedding =
        !view.embedding || column.kind !== "task" || column.embedding === view.embedding;
      return chosen && family && embedding;
    }

    /* Show or hide columns by their names; what the board does anyhow is not noted. */
    function choose(wanted) {
      const columns = { ...view.columns };
      for (const [id, on] of Object.entries(wanted)) {
        if (data.columns[places.get(id)].shown === on) delete columns[id];
        else columns[id] = on;
      }
      change({ columns });
    }

    /* Sort by a column: best first, then the other way round, then as the board has it. */
    function press(id) {
      const next = tanstack.getColumn(id).getNextSortingOrder();
      change({ sort: next ? { id, desc: next === "desc" } : null });
    }

    build();
    pass();
    return {
      data,
      families,
      press,
      change,
      choose,
      isVisible,
      view: () => view,
      reset: () => change(emptyView()),
      meanRank: (row) => meanRank(row, view.families),
      rows: () =>
        [...tanstack.getCenterRows(), ...tanstack.getBottomRows()].map((row) => row.original),
      columns: () => data.columns.filter(isVisible),
      toAddress: () => toAddress(view),
      fromAddress: (texts) => change(fromAddress(texts, data)),
    };
  }

  /* Write names as one text; commas inside names are spelled out. */
  function join(names) {
    return names.map((name) => name.replace(/[%,]/g, encodeURIComponent)).join(",");
  }

  /* Read what `join` wrote; what nobody wrote so is left out. */
  function split(text) {
    try {
      return (text || "").split(",").filter(Boolean).map(decodeURIComponent);
    } catch {
      return [];
    }
  }

  /* Return a view as names and texts for the address; "" is the usual. */
  function toAddress(view) {
    const chosen = (on) => join(Object.keys(view.columns).filter((id) => view.columns[id] === on));
    return {
      sort: view.sort ? (view.sort.desc ? "-" : "") + view.sort.id.trim() : "",
      ...Object.fromEntries(Object.entries(PLAIN).map(([short, name]) => [short, view[name]])),
      families: join(view.families),
      show: chosen(true),
      hide: chosen(false),
      rows: join(view.rows),
    };
  }

  /* Read a view from an address. What this board does not have, such as a column of an older one,
     is left out. */
  function fromAddress(texts, data) {
    const view = emptyView();
    const ids = new Map([METHOD, ENCODER, CHOSEN_RANK].map((id) => [id.trim(), id]));
    for (const column of data.columns) ids.set(column.id, column.id);
    const sort = texts.sort || "";
    if (ids.has(sort)) view.sort = { id: ids.get(sort), desc: false };
    else if (ids.has(sort.slice(1))) view.sort = { id: ids.get(sort.slice(1)), desc: true };
    for (const [short, name] of Object.entries(PLAIN)) view[name] = texts[short] || "";
    const has = (id) => data.columns.some((column) => column.id === id);
    for (const id of split(texts.show).filter(has)) view.columns[id] = true;
    for (const id of split(texts.hide).filter(has)) view.columns[id] = false;
    const families = new Set(data.columns.map((column) => column.family));
    view.families = split(texts.families).filter((family) => families.has(family));
    const names = new Set(data.rows.map(rowName));
    view.rows = split(texts.rows).filter((name) => names.has(name));
    return view;
  }

  return { make, rowName, METHOD, ENCODER, CHOSEN_RANK, KEYS: Object.keys(toAddress(emptyView())) };
})();
