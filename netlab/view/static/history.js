// A slider over all moments of a lab. The words are here; the picture of a moment comes from Python.

/** @typedef {{time: string, lines: string[]}} Moment */

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
function make(tag, className, ...children) {
  const el = document.createElement(tag);
  if (className) el.className = className;
  el.append(...children);
  return el;
}

function render({ model, el }) {
  const slider = /** @type {HTMLInputElement} */ (make("input", "nl-slider"));
  slider.type = "range";
  slider.min = "0";
  slider.setAttribute("aria-label", `Moments of lab ${model.get("lab")}`);
  const back = /** @type {HTMLButtonElement} */ (make("button", "nl-tool", "◂ earlier"));
  const on = /** @type {HTMLButtonElement} */ (make("button", "nl-tool", "later ▸"));
  const now = /** @type {HTMLButtonElement} */ (make("button", "nl-tool", "now"));
  for (const button of [back, on, now]) button.type = "button";
  const where = make("span", "nl-where");
  const words = make("ul", "nl-words");
  words.setAttribute("aria-live", "polite");
  const picture = make("div", "nl-picture");
  picture.tabIndex = 0;
  picture.setAttribute("role", "region");
  picture.setAttribute("aria-label", `Lab ${model.get("lab")} at that moment`);
  const bar = make("div", "nl-bar", make("b", "", `History of lab ${model.get("lab")}`), back, slider, on, now, where);
  const root = make("div", "nl-root nl-history", bar, words, picture);
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  el.append(root);
  const showStill = hideStill(el, model.get("key"));

  const last = () => model.get("times").length - 1;
  const place = () => (model.get("index") < 0 ? last() : model.get("index"));

  const show = () => {
    /** @type {Moment[]} */
    const times = model.get("times");
    const index = place();
    slider.max = String(Math.max(last(), 0));
    slider.value = String(index);
    back.disabled = index <= 0;
    on.disabled = index >= last();
    now.disabled = model.get("index") < 0;
    const moment = times[index];
    where.textContent = moment ? `${moment.time} · ${index + 1} of ${times.length}` : "nothing yet";
    slider.setAttribute("aria-valuetext", where.textContent);
    words.replaceChildren(...(moment?.lines ?? []).map((line) => make("li", "", line)));
  };
  const draw = () => {
    picture.innerHTML = model.get("svg");
    fitPicture(picture);
  };
  /** @param {number} index */
  const go = (index) => {
    model.set("index", index >= last() ? -1 : Math.max(index, 0));
    model.save_changes();
    show();
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  back.addEventListener("click", () => go(place() - 1));
  on.addEventListener("click", () => go(place() + 1));
  now.addEventListener("click", () => go(last()));
  model.on("change:times", show);
  model.on("change:index", show);
  model.on("change:svg", draw);
  show();
  draw();
  return () => {
    model.off("change:times", show);
    model.off("change:index", show);
    model.off("change:svg", draw);
    showStill();
    root.remove();
  };
}

export default { render };
