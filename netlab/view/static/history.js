// A slider over all moments of a lab. The words are here; the picture of a moment comes from Python.

/** @typedef {{time: string, lines: string[]}} Moment */

function render({ model, el }) {
  const slider = /** @type {HTMLInputElement} */ (make("input", "nl-slider"));
  slider.type = "range";
  slider.min = "0";
  slider.setAttribute("aria-label", `Moments of lab ${model.get("lab")}`);
  const back = makeButton("◂ earlier", () => go(place() - 1));
  const on = makeButton("later ▸", () => go(place() + 1));
  const now = makeButton("now", () => go(last()));
  const where = make("span", "nl-where");
  const words = make("ul", "nl-words");
  words.setAttribute("aria-live", "polite");
  const picture = makeRegion("nl-picture", `Lab ${model.get("lab")} at that moment`);
  const bar = make("div", "nl-bar", make("b", "", `History of lab ${model.get("lab")}`), back, slider, on, now, where);
  const root = make("div", "nl-history", bar, words, picture);

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
  show();
  draw();
  return mount({ model, el }, root, { "change:times": show, "change:index": show, "change:svg": draw });
}

export default { render };
