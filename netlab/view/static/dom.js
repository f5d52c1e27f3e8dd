// What every widget is made of: elements, buttons, and a root that follows its model until it is taken away.

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
function make(tag, className, ...children) {
  const el = document.createElement(tag);
  if (className) el.className = className;
  el.append(...children);
  return el;
}

/** @param {string} text @param {() => void} action @param {string} [className] */
function makeButton(text, action, className = "nl-tool") {
  const button = /** @type {HTMLButtonElement} */ (make("button", className, text));
  button.type = "button";
  button.addEventListener("click", action);
  return button;
}

/** A part of the page that scrolls, and that can be reached by keyboard. @param {string} className @param {string} label @param {...(Node | string)} children */
function makeRegion(className, label, ...children) {
  const region = make("div", className, ...children);
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", label);
  return region;
}

/** The head of a table. @param {string[]} texts */
function makeHead(texts) {
  const row = make("tr", "", ...texts.map((text) => make("th", "", text)));
  for (const cell of row.children) cell.setAttribute("scope", "col");
  return make("thead", "", row);
}

/**
 * Put a widget on the page, beside its saved text; returns how to take it away.
 * @param {{model: any, el: HTMLElement}} context
 * @param {HTMLElement} root
 * @param {Record<string, (...values: any[]) => void>} events what to do when the model tells of something
 */
function mount({ model, el }, root, events) {
  root.classList.add("nl-root");
  // Without this, JupyterLab takes the arrow keys and Enter for its own.
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  el.append(root);
  const showStill = hideStill(el, model.get("key"));
  for (const [name, action] of Object.entries(events)) model.on(name, action);
  return () => {
    for (const [name, action] of Object.entries(events)) model.off(name, action);
    showStill();
    root.remove();
  };
}
