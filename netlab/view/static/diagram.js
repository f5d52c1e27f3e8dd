// The widget: follows the traits of the Python side, and puts picture, signs, keyboard and details together.

const NEWS_MS = 1000;
const MOST_NEWS = 3;
let views = 0;

/** @param {string} text @param {string} title @param {() => void} action */
function tool(text, title, action) {
  const button = makeButton(text, action);
  button.title = title;
  return button;
}

/** @param {HTMLElement} root @param {string} lab */
function frame(root, lab) {
  const label = (/** @type {string} */ text, /** @type {string} */ title) => {
    const button = make("button", "nl-tool", text);
    button.setAttribute("aria-label", title);
    button.title = title;
    return button;
  };
  const parts = {
    status: make("span", "nl-status", ""),
    smaller: label("−", "Zoom out"),
    fit: label("fit", "Fit the picture to the page"),
    larger: label("+", "Zoom in"),
    save: label("save", "Save the picture as SVG; with Shift, as PNG"),
    search: /** @type {HTMLInputElement} */ (make("input", "nl-search")),
    stage: make("div", "nl-stage"),
    panel: make("aside", "nl-panel"),
    news: make("div", "nl-news"),
  };
  const number = ++views;
  parts.stage.id = `nl-stage-${number}`;
  parts.panel.id = `nl-panel-${number}`;
  parts.panel.setAttribute("aria-label", "Details");
  parts.panel.tabIndex = -1;
  parts.search.type = "search";
  parts.search.placeholder = "find";
  parts.search.setAttribute("aria-label", "Find a host by its name, address or process");
  parts.news.setAttribute("role", "log");
  parts.news.setAttribute("aria-live", "polite");
  const name = make("span", "nl-name", "lab ", make("b", "", lab));
  const tools = make("div", "nl-tools", parts.search, parts.smaller, parts.fit, parts.larger, parts.save);
  const bar = make("div", "nl-bar", name, parts.status, tools);
  root.classList.add("nl-root");
  root.append(bar, make("div", "nl-body", parts.stage, parts.panel), parts.news);
  return parts;
}

/** Save what is shown as SVG, or with Shift as PNG. @param {PictureView} picture @param {string} name @param {boolean} png */
function savePicture(picture, name, png) {
  if (!picture.svg) return;
  const copy = /** @type {SVGElement} */ (picture.svg.cloneNode(true));
  copy.querySelector(".nl-overlay")?.remove();
  for (const size of ["width", "height"]) copy.setAttribute(size, copy.getAttribute(`data-${size}`) ?? "");
  const source = new XMLSerializer().serializeToString(copy);
  const url = URL.createObjectURL(new Blob([source], { type: "image/svg+xml" }));
  const download = (/** @type {string} */ href, /** @type {string} */ ending) => {
    const link = document.createElement("a");
    link.href = href;
    link.download = `${name}.${ending}`;
    link.click();
    URL.revokeObjectURL(url);
  };
  if (!png) return download(url, "svg");
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.width * 2, image.height * 2];
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.fillStyle = "#ffffff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    download(canvas.toDataURL("image/png"), "png");
  };
  image.src = url;
}

/** @param {{model: any, el: HTMLElement}} context @returns {() => void} */
function render({ model, el }) {
  const root = make("div", "");
  el.append(root);
  const parts = frame(root, model.get("lab"));
  const picture = new PictureView(parts.stage);
  const marks = new Marks(picture);
  const rates = new Rates(picture);
  const details = () => ({ ...model.get("details"), ...model.get("fresher") });
  const finder = new Finder(picture, parts.search, (found) => keyboard.focus(found));
  const folds = (/** @type {string} */ id) => byId(picture.svg, id)?.classList.contains("folded") ?? false;
  const foldOrUnfold = (/** @type {string} */ name) => {
    model.set("unfolded", model.get("unfolded") === name ? "" : name);
    model.save_changes();
  };
  const tools = (/** @type {string} */ id) => {
    const name = id.replace("host:", "");
    const buttons = id.startsWith("host:") ? [tool("focus", "Dim all but this host and its neighbours", () => finder.look(id))] : [];
    const fold = () => foldOrUnfold(name);
    return folds(id) ? [...buttons, tool(model.get("unfolded") === name ? "fold" : "unfold", "Show the hosts on this bridge, or fold them", fold)] : buttons;
  };
  const panel = new DetailPanel(parts.panel, () => keyboard.focus(byId(picture.svg, keyboard.current)), tools);
  const select = (/** @type {string} */ id) => {
    picture.svg?.querySelector(".sel")?.classList.remove("sel");
    if (id) byId(picture.svg, id)?.classList.add("sel");
  };
  const open = (/** @type {string} */ id) => {
    // A folded node opens above the row; what is known of it is told by that box.
    if (folds(id)) return foldOrUnfold(id.replace("host:", ""));
    if (panel.id === id) panel.close();
    else panel.open(id, details());
    select(panel.id);
    picture.fit();
  };
  const keyboard = new Keyboard(picture, { open, escape: () => panel.close() && (select(""), picture.fit(), true) });
  let seen = { marks: model.get("marks").seq ?? 0, news: model.get("news").seq ?? 0 };
  let due = false;

  const update = () => {
    due = false;
    const focused = picture.svg?.contains(document.activeElement) ?? false;
    const before = picture.show(model.get("svg"), model.get("patch"));
    const change = model.get("marks");
    const fresh = (change.seq ?? 0) !== seen.marks;
    seen.marks = change.seq ?? 0;
    if (fresh || before) marks.add(fresh ? change.items : [], before);
    else marks.draw();
    keyboard.refresh();
    finder.apply();
    rates.update(details());
    if (focused && before) byId(picture.svg, keyboard.current)?.focus({ preventScroll: true });
    panel.update(details());
    select(panel.id);
    const closed = model.get("closed");
    root.classList.toggle("nl-closed", closed);
    parts.status.textContent = closed ? "this lab is closed" : "live";
  };
  // One message of the kernel sets several traits: draw once, when all of them are set.
  const soon = () => {
    if (!due) queueMicrotask(update);
    due = true;
  };
  /** @type {string[]} */
  let waiting = [];
  /** @type {number | undefined} */
  let speaking;
  const speak = () => {
    speaking = undefined;
    if (!waiting.length) return;
    const time = new Date().toLocaleTimeString("en-GB");
    for (const line of waiting.splice(0).slice(-MOST_NEWS)) {
      const kind = { "+": "add", "−": "del", "~": "chg" }[line[0]];
      const words = kind ? [make("b", kind, line[0]), line.slice(1)] : [line]; // "and 3 more changes" has no sign
      parts.news.append(make("p", "", make("time", "", time), " ", ...words));
    }
    while (parts.news.children.length > MOST_NEWS) parts.news.firstElementChild?.remove();
    speaking = window.setTimeout(speak, NEWS_MS);
  };
  const announce = () => {
    const news = model.get("news");
    if ((news.seq ?? 0) === seen.news) return;
    seen.news = news.seq ?? 0;
    waiting.push(...(news.lines ?? []));
    if (speaking === undefined) speak();
  };

  parts.stage.addEventListener("click", (event) => {
    const target = /** @type {SVGGElement | null} */ (/** @type {Element} */ (event.target).closest("[data-nl-id]"));
    if (!target) return;
    keyboard.focus(target);
    open(target.dataset.nlId ?? "");
  });
  parts.stage.addEventListener("keydown", (event) => keyboard.onKey(event));
  parts.stage.addEventListener("focusin", (event) => {
    keyboard.current = /** @type {any} */ (event.target).dataset?.nlId ?? keyboard.current;
  });
  parts.smaller.addEventListener("click", () => picture.zoomBy(1 / 1.25));
  parts.larger.addEventListener("click", () => picture.zoomBy(1.25));
  parts.fit.addEventListener("click", () => picture.zoomBy(0));
  parts.save.addEventListener("click", (event) => savePicture(picture, model.get("lab"), event.shiftKey));
  pullable(parts.stage);
  const sizes = new ResizeObserver(() => picture.fit());
  sizes.observe(parts.stage);
  update();
  const traits = ["svg", "patch", "details", "fresher", "marks", "closed"];
  const events = Object.fromEntries(traits.map((trait) => [`change:${trait}`, soon]));
  const unmount = mount({ model, el }, root, { ...events, "change:news": announce });

  return () => {
    unmount();
    sizes.disconnect();
    marks.stop();
    window.clearTimeout(speaking);
  };
}

export default { render };
