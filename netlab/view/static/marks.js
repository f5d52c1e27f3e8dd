// Signs at what changed: two seconds long, in colour, shape and words; what vanished stays as a ghost.

const MARK_MS = 2000;
const SIGNS = { added: "+", removed: "−", changed: "~" };
const CLASSES = { added: "add", removed: "del", changed: "chg" };

/** @typedef {{id: string, kind: "added" | "removed" | "changed", text: string}} Mark */

class Marks {
  /** @param {PictureView} picture */
  constructor(picture) {
    this.picture = picture;
    /** @type {Map<string, {mark: Mark, until: number, ghost: Element | null}>} */
    this.active = new Map();
    /** @type {number | undefined} */
    this.timer = undefined;
  }

  /**
   * Add signs; what is gone from the picture is taken from the one before.
   * @param {Mark[]} marks
   * @param {SVGElement | null} before
   */
  add(marks, before) {
    const until = performance.now() + MARK_MS;
    for (const mark of marks) {
      const gone = before && !byId(this.picture.svg, mark.id) ? byId(before, mark.id) : null;
      this.active.set(mark.id, { mark, until, ghost: gone ? ghostOf(gone) : null });
    }
    if (before) this.leave(before, until);
    this.draw();
  }

  /** Keep what went without a mark of its own, such as a cable, as a ghost too. @param {SVGElement} before @param {number} until */
  leave(before, until) {
    for (const old of /** @type {NodeListOf<SVGGElement>} */ (before.querySelectorAll("[data-nl-id].cable, [data-nl-id].tunnel"))) {
      const id = old.dataset.nlId ?? "";
      if (!byId(this.picture.svg, id)) this.active.set(id, { mark: { id, kind: "removed", text: "" }, until, ghost: ghostOf(old) });
    }
  }

  /** Draw all signs that are still due, after any change of the picture. */
  draw() {
    window.clearTimeout(this.timer);
    const svg = this.picture.svg;
    if (!svg) return;
    svg.querySelector(".nl-overlay")?.remove();
    for (const kind of Object.values(CLASSES)) for (const el of svg.querySelectorAll(`.${kind}`)) el.classList.remove(kind);
    const now = performance.now();
    for (const [id, { until }] of this.active) if (until <= now) this.active.delete(id);
    if (!this.active.size) return;
    const overlay = document.createElementNS(SVG_NS, "g");
    overlay.setAttribute("class", "nl-overlay");
    overlay.setAttribute("aria-hidden", "true");
    svg.firstElementChild?.append(overlay);
    for (const { mark, ghost } of this.active.values()) {
      // What is folded away is marked at the host that it belongs to.
      const host = byId(svg, `host:${mark.id.replace(/^[a-z]+:/, "").split("/")[0]}`);
      const el = ghost ?? byId(svg, mark.id) ?? host;
      // A neighbour that a pod or a node learned is told of below the picture; there is no table of them here.
      if (!el || (el === host && mark.id.startsWith("nb:"))) continue;
      if (ghost) overlay.append(ghost);
      el.classList.add(CLASSES[mark.kind]);
      if (mark.text) overlay.append(badge(mark, cornerOf(el, overlay)));
    }
    const next = Math.min(...[...this.active.values()].map((entry) => entry.until));
    this.timer = window.setTimeout(() => this.draw(), Math.max(50, next - now));
  }

  stop() {
    window.clearTimeout(this.timer);
  }
}

/** A copy of what is gone, at its old place. @param {SVGGElement} el */
function ghostOf(el) {
  const ghost = document.createElementNS(SVG_NS, "g");
  const host = /** @type {Element | null} */ (el.parentElement?.closest(".host") ?? null);
  const shift = host?.getAttribute("transform");
  if (shift) ghost.setAttribute("transform", shift);
  const copy = /** @type {Element} */ (el.cloneNode(true));
  for (const inner of [copy, ...copy.querySelectorAll("[data-nl-id]")]) for (const name of ["data-nl-id", "tabindex", "role"]) inner.removeAttribute(name);
  ghost.setAttribute("class", "nl-ghost");
  ghost.append(copy);
  return ghost;
}

/** @param {Element} el @param {SVGGElement} overlay */
function cornerOf(el, overlay) {
  const shape = /** @type {SVGGraphicsElement} */ (el.querySelector("rect, path") ?? el);
  const box = shape.getBBox();
  const [inner, outer] = [shape.getCTM(), overlay.getCTM()];
  const shift = inner && outer ? outer.inverse().multiply(inner) : null;
  const middle = shape.tagName === "path";
  // A table has room beside its heading; elsewhere the sign stands above the border.
  const table = el.matches(".routes, .neighbours");
  if (table) [box.x, box.y] = [box.x + (el.matches(".routes") ? 62 : 88), box.y + 17.5];
  // Above the left corner of a pod its node's name may stand.
  if (el.matches(".pod, .nl-ghost:has(> .pod)")) box.x += Math.max(0, box.width - 78);
  const [x, y] = middle ? [box.x + box.width / 2, box.y + box.height / 2 - 14] : [box.x, box.y];
  return shift ? { x: x * shift.a + shift.e, y: y * shift.d + shift.f } : { x, y };
}

/** @param {Mark} mark @param {{x: number, y: number}} at */
function badge(mark, at) {
  const group = document.createElementNS(SVG_NS, "g");
  group.setAttribute("class", `nl-badge ${CLASSES[mark.kind]}`);
  group.setAttribute("transform", `translate(${Math.max(at.x, 0)} ${Math.max(at.y - 8, -2)})`);
  const text = mark.text.replace(/^[+−~] /, "");
  const sign = /^[+−~] /.test(mark.text) ? mark.text[0] : SIGNS[mark.kind];
  const pill = shape("rect", { x: 0, y: -9, height: 18, rx: 9, width: 24 }, group);
  shape("circle", { cx: 1, cy: 0, r: 9 }, group);
  shape("text", { class: "sign", x: 1, y: 4, "text-anchor": "middle" }, group).textContent = sign;
  const label = shape("text", { x: 15, y: 3.5 }, group);
  label.textContent = text.length > 48 ? `${text.slice(0, 47)}…` : text;
  // Measured once it is in the page; until then by the number of letters.
  pill.setAttribute("width", String(24 + label.textContent.length * 5.4));
  requestAnimationFrame(() => {
    const width = 24 + /** @type {any} */ (label).getComputedTextLength();
    pill.setAttribute("width", String(width));
    const page = Number(group.ownerSVGElement?.getAttribute("data-width") ?? Infinity) - 26;
    const left = Math.max(0, Math.min(at.x, page - width));
    group.setAttribute("transform", `translate(${left} ${Math.max(at.y - 8, -2)})`);
  });
  return group;
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {Element} parent */
function shape(name, attributes, parent) {
  const el = document.createElementNS(SVG_NS, name);
  for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, String(value));
  parent.append(el);
  return el;
}
