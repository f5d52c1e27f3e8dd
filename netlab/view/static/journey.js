// A journey: the picture with the way on it, and the table. The table is the text; the picture repeats it.

/**
 * @typedef {{number: number, time: string, leg: string, packet: string, host: string, where: string, rule: string, flow: string, verdict: string, outer: string, label: string, shape: string, observed: boolean, rewritten: boolean, stopped: boolean}} Row
 */

const SPEEDS = [0.5, 1, 2, 4];
const HEADS = ["#", "ms", "host", "where", "verdict", "source → destination", "rule or route that decided"];

class JourneyPlayer {
  /** @param {HTMLElement} root @param {any} model */
  constructor(root, model) {
    this.root = root;
    /** @type {Row[]} */
    this.steps = model.get("rows");
    this.at = -1; // all of it
    this.speed = 1;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;

    this.play = makeButton("▶ play", () => (this.timer ? this.pause() : this.start()));
    const back = makeButton("◂ step", () => this.go(this.at < 0 ? this.steps.length - 2 : this.at - 1));
    const on = makeButton("step ▸", () => this.go(this.at + 1));
    const all = makeButton("all", () => this.go(-1));
    this.pace = makeButton("speed 1×", () => {
      this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length];
      this.pace.textContent = `speed ${this.speed}×`;
    });
    this.said = make("p", "nl-said");
    this.said.setAttribute("aria-live", "polite");
    const bar = make("div", "nl-bar", make("b", "", model.get("title")), this.play, back, on, all, this.pace);
    const end = model.get("end");
    const outcome = make("p", `nl-end ${end.ok ? "ok" : "bad"}`, `${end.ok ? "✓" : "✕"} ${end.text}`);
    this.picture = makeRegion("nl-picture", "The way over the picture of the lab");
    this.picture.innerHTML = model.get("svg");
    this.scroll = this.table();
    this.ribbon = make("div", "nl-stops");
    this.ribbon.innerHTML = model.get("ribbon");
    const both = make("div", "nl-both", this.picture, this.scroll);
    root.append(bar, outcome, both, this.said);
    both.insertBefore(this.ribbon, this.scroll);
    fitPicture(this.picture);
    root.addEventListener("keydown", (event) => this.key(event));
    for (const mark of this.marks(".nl-hop, .nl-col, .nl-bar-of")) {
      mark.addEventListener("click", () => this.go(this.indexOf(Number(mark.getAttribute("data-step")))));
    }
    this.show();
  }

  /** Signs in the picture and in the ribbon. @param {string} selector @returns {Element[]} */
  marks(selector) {
    return [this.picture, this.ribbon].flatMap((place) => [...place.querySelectorAll(selector)]);
  }

  table() {
    this.body = make("tbody", "");
    let part = "";
    /** @type {HTMLElement[]} */
    this.lines = [];
    for (const [index, step] of this.steps.entries()) {
      if (`${step.leg} ${step.packet}` !== part) {
        part = `${step.leg} ${step.packet}`;
        const cell = /** @type {HTMLTableCellElement} */ (make("th", "nl-part", `${step.leg === "reply" ? "Reply" : "Request"}: ${step.packet}`));
        cell.colSpan = HEADS.length;
        this.body.append(make("tr", "", cell));
      }
      const line = this.line(step, index);
      this.lines.push(line);
      this.body.append(line);
    }
    return makeRegion("nl-scroll", "All steps of the journey", make("table", "", makeHead(HEADS), this.body));
  }

  /** @param {Row} step @param {number} index */
  line(step, index) {
    const number = step.observed ? String(step.number) : `(${step.number})`;
    const open = makeButton(number, () => this.go(index), "nl-open");
    open.tabIndex = index ? -1 : 0;
    open.setAttribute("aria-label", `Step ${step.number}: ${step.host}, ${step.where}, ${step.verdict}. Show it in the picture.`);
    const rule = [step.rule, step.outer && `inside ${step.outer}`].filter(Boolean).join(" · ");
    const mark = step.stopped ? "✕ " : step.rewritten ? "◆ " : "";
    const cells = [step.time, step.host, step.where, mark + step.verdict, step.flow.replace(" ⇒ ", "\n⇒\u00a0").replaceAll("→ ", "→\u00a0"), rule];
    const first = make("td", "", open);
    if (step.shape) {
      const sign = make("span", `nl-mark ${step.leg} ${step.shape}`, make("span", "", step.shape === "octagon" ? "✕" : step.label));
      sign.setAttribute("aria-hidden", "true");
      first.prepend(sign);
    }
    const line = make("tr", "", first, ...cells.map((text) => make("td", "", text)));
    line.classList.toggle("nl-rewritten", step.rewritten);
    line.classList.toggle("nl-stopped", step.stopped);
    line.classList.toggle("nl-unseen", !step.observed);
    if (!step.observed) line.title = "This follows from other evidence; it was not seen of this packet itself.";
    line.addEventListener("click", (event) => {
      if (event.target !== open) this.go(index);
    });
    return line;
  }

  /** @param {number} number */
  indexOf(number) {
    const found = this.steps.findIndex((step) => step.number === number);
    return found < 0 ? this.steps.length - 1 : found;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (move) this.go(this.at < 0 && move < 0 ? this.steps.length - 1 : this.at + move, true);
    else if (event.key === "Home") this.go(0, true);
    else if (event.key === "End") this.go(this.steps.length - 1, true);
    else if (event.key === "Escape") this.go(-1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  start() {
    if (this.at >= this.steps.length - 1) this.at = -1;
    this.play.textContent = "❙❙ pause";
    const next = () => {
      this.go(this.at + 1);
      if (this.at >= this.steps.length - 1 || this.at < 0) return this.pause();
      this.timer = setTimeout(next, 700 / this.speed);
    };
    this.timer = setTimeout(next, 0);
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.play.textContent = "▶ play";
  }

  /** @param {number} index @param {boolean} [focus] */
  go(index, focus) {
    this.at = index < 0 ? -1 : Math.min(index, this.steps.length - 1);
    this.show();
    if (focus && this.at >= 0) this.lines?.[this.at].querySelector("button")?.focus();
  }

  /** Bring the place and the row of the present step into view, each within its own frame. */
  follow() {
    if (this.at < 0) return;
    reveal(this.picture, this.picture.querySelector(".nl-hop.nl-now"));
    reveal(this.scroll, this.lines?.[this.at]?.firstElementChild);
  }

  /** Show the way up to the present step, and mark its row and its place. */
  show() {
    const step = this.steps[this.at];
    const number = step ? step.number : Infinity;
    let place = 0;
    for (const mark of this.picture.querySelectorAll(".nl-hop")) {
      const own = Number(mark.getAttribute("data-step"));
      if (own <= number) place = Math.max(place, own);
    }
    for (const mark of this.marks("[data-step]")) {
      const own = Number(mark.getAttribute("data-step"));
      mark.classList.toggle("nl-later", own > number);
      mark.classList.toggle("nl-now", Boolean(step) && own === place && mark.matches(".nl-hop, .nl-col"));
    }
    for (const [index, line] of (this.lines ?? []).entries()) {
      line.classList.toggle("nl-now", index === this.at);
      const button = line.querySelector("button");
      if (!button) continue;
      button.tabIndex = index === Math.max(this.at, 0) ? 0 : -1;
      if (index === this.at) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    }
    this.follow();
    const host = step ? this.picture.querySelector(`[data-nl-id="host:${CSS.escape(step.host)}"]`) : null;
    for (const other of this.picture.querySelectorAll(".nl-here")) other.classList.remove("nl-here");
    host?.classList.add("nl-here");
    this.said.textContent = step ? `${step.number}: ${step.host}, ${step.where}: ${step.verdict} ${step.rewritten ? step.flow : ""} ${step.rule}` : "";
  }
}

/** Scroll a place, and nothing around it, until something in it can be seen. @param {HTMLElement | undefined} place @param {Element | null | undefined} target */
function reveal(place, target) {
  if (!place || !target) return;
  const outer = place.getBoundingClientRect();
  const inner = target.getBoundingClientRect();
  const margin = 40;
  if (inner.top < outer.top + margin) place.scrollTop -= outer.top + margin - inner.top;
  if (inner.bottom > outer.bottom - margin) place.scrollTop += inner.bottom - outer.bottom + margin;
  if (inner.left < outer.left + margin) place.scrollLeft -= outer.left + margin - inner.left;
  if (inner.right > outer.right - margin) place.scrollLeft += inner.right - outer.right + margin;
}

function render({ model, el }) {
  const root = make("div", "nl-journey-view");
  const player = new JourneyPlayer(root, model);
  const unmount = mount({ model, el }, root, {});
  return () => {
    player.pause();
    unmount();
  };
}

export default { render };
