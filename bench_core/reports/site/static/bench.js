"use strict";

/* The one global of all pages: data that scripts hand over, files that are loaded on demand, and
   the view in the address. Pages work from file://, so there is no fetch and there are no
   modules. */
const bench = (() => {
  const values = new Map(); // name -> value
  const waiting = new Map(); // name -> callbacks that wait for it
  const scripts = new Map(); // address -> promise of the script

  /* Take a value from a data script; whoever waits for it gets it. */
  function put(name, value) {
    values.set(name, value);
    for (const callback of waiting.get(name) || []) callback(value);
    waiting.delete(name);
  }

  /* Return a value that is here already, or undefined. */
  function get(name) {
    return values.get(name);
  }

  /* Load a script of the site once; the promise fails where it cannot be read. */
  function script(address) {
    if (!scripts.has(address)) {
      scripts.set(
        address,
        new Promise((resolve, reject) => {
          const tag = document.createElement("script");
          tag.src = document.body.dataset.root + address;
          tag.onload = resolve;
          tag.onerror = () => reject(new Error(`${address} cannot be read`));
          document.head.append(tag);
        }),
      );
    }
    return scripts.get(address);
  }

  /* Return a promise of a value; its script is loaded where it is not here yet. */
  async function load(name, address) {
    if (!values.has(name)) await script(address);
    return values.get(name);
  }

  /* Read the view from the address: "#sort=knn&rows=a" -> Map of names and texts. */
  function view() {
    return new Map(new URLSearchParams(location.hash.slice(1)));
  }

  /* Write the view into the address without a new step of the history. */
  function setView(map) {
    const text = new URLSearchParams([...map].filter(([, value]) => value !== "")).toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  }

  /* Make an element: its attributes (true is an empty one; false and undefined are none), then
     texts and elements. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== false && value !== undefined)
        made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  }

  return { put, get, script, load, view, setView, element };
})();
