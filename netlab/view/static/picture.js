// The picture itself: SVG in and out of the page, small changes in place, moves shown as moves.

const SVG_NS = "http://www.w3.org/2000/svg";
const MOVE_MS = 250;
const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** @param {string} markup @returns {SVGElement} */
function parseSvg(markup) {
  const parsed = new DOMParser().parseFromString(markup, "image/svg+xml").documentElement;
  return /** @type {any} */ (document.importNode(parsed, true));
}

/** @param {string} fragment @returns {Element} */
function parseFragment(fragment) {
  return /** @type {Element} */ (parseSvg(`<svg xmlns="${SVG_NS}">${fragment}</svg>`).firstElementChild);
}

/**
 * @param {ParentNode | null} root
 * @param {string} id
 * @returns {SVGGElement | null}
 */
function byId(root, id) {
  return root ? /** @type {any} */ (root.querySelector(`[data-nl-id="${CSS.escape(id)}"]`)) : null;
}

/** Where an element stands inside its parent: of hosts the transform, of the rest the first box. @param {Element} el */
function placeOf(el) {
  const shift = /translate\(([-\d.]+) ([-\d.]+)\)/.exec(el.getAttribute("transform") ?? "");
  if (shift) return { x: Number(shift[1]), y: Number(shift[2]), moved: true };
  const box = el.querySelector("rect");
  return box ? { x: Number(box.getAttribute("x")), y: Number(box.getAttribute("y")), moved: false } : null;
}

/** What can be clicked says so. @param {Element} root */
function makeButtons(root) {
  for (const el of root.querySelectorAll("[data-nl-id]")) {
    const host = el.classList.contains("host");
    el.setAttribute("role", host ? "group" : "button");
    el.setAttribute("tabindex", "-1");
    // A title in it would count as its text; it is put in while the mouse is there.
    el.querySelector(":scope > title")?.remove();
    if (host) el.setAttribute("aria-roledescription", "host");
    else nameByText(el);
  }
}

/** A button is called what is written on it; the sentence describes it. @param {Element} el */
function nameByText(el) {
  const texts = [...el.querySelectorAll("text")];
  if (!texts.length) return;
  // Without a space between them, two texts would be read as one word.
  for (const text of texts) text.after(" ");
  const written = texts.map((text) => text.textContent).join(" ");
  el.setAttribute("aria-description", el.getAttribute("aria-label") ?? "");
  el.setAttribute("aria-label", written);
}

/** Show what a thing is while the mouse is on it. @param {HTMLElement} stage */
function tooltips(stage) {
  const title = document.createElementNS(SVG_NS, "title");
  stage.addEventListener("pointerover", (event) => {
    const el = /** @type {Element} */ (event.target).closest("[data-nl-id]");
    title.textContent = el?.getAttribute("aria-description") ?? el?.getAttribute("aria-label") ?? "";
    if (el) el.prepend(title);
  });
  stage.addEventListener("pointerleave", () => title.remove());
}

class PictureView {
  /** @param {HTMLElement} stage */
  constructor(stage) {
    this.stage = stage;
    tooltips(stage);
    /** @type {SVGElement | null} */
    this.svg = null;
    this.base = "";
    /** @type {Set<string>} */
    this.patched = new Set();
    this.zoom = 0;
  }

  /**
   * Show a picture with what differs in it by now.
   * @param {string} markup
   * @param {{fragments?: Record<string, string>, labels?: Record<string, string>}} patch
   * @returns {SVGElement | null} the picture that was shown before, if this is another
   */
  show(markup, patch) {
    const before = this.svg;
    const fresh = markup !== this.base || !before;
    if (fresh) {
      this.base = markup;
      this.patched.clear();
      if (!markup) return null;
      this.svg = parseSvg(markup);
      makeButtons(this.svg);
      this.apply(patch);
      before ? before.replaceWith(this.svg) : this.stage.append(this.svg);
      this.fit();
      guardText(this.svg);
      if (before) this.move(before);
    } else {
      this.apply(patch);
    }
    return fresh ? before : null;
  }

  /** @param {{fragments?: Record<string, string>, labels?: Record<string, string>}} patch */
  apply(patch) {
    const fragments = patch.fragments ?? {};
    const back = [...this.patched].filter((id) => !(id in fragments));
    const original = back.length ? parseSvg(this.base) : null;
    for (const id of back) this.replace(id, /** @type {Element} */ (byId(original, id)));
    for (const [id, text] of Object.entries(fragments)) this.replace(id, parseFragment(text));
    this.patched = new Set(Object.keys(fragments));
    for (const [id, label] of Object.entries(patch.labels ?? {})) {
      const el = byId(this.svg, id);
      if (!el?.classList.contains("host")) continue;
      el.setAttribute("aria-label", label);
    }
  }

  /** @param {string} id @param {Element} next */
  replace(id, next) {
    const old = byId(this.svg, id);
    if (!old || !next || old.dataset.markup === next.outerHTML) return;
    const markup = next.outerHTML;
    const focused = old === document.activeElement;
    const holder = document.createElementNS(SVG_NS, "g");
    holder.append(next);
    makeButtons(holder);
    next.setAttribute("tabindex", old.getAttribute("tabindex") ?? "-1");
    /** @type {SVGGElement} */ (next).dataset.markup = markup;
    old.replaceWith(next);
    if (next.isConnected) guardText(next);
    if (focused) /** @type {SVGGElement} */ (next).focus();
  }

  /** Let everything glide from where it was (FLIP). @param {SVGElement} before */
  move(before) {
    if (calm() || !this.svg) return;
    const timing = { duration: MOVE_MS, easing: "ease-in-out" };
    for (const el of /** @type {NodeListOf<SVGGElement>} */ (this.svg.querySelectorAll("[data-nl-id]"))) {
      const old = byId(before, el.dataset.nlId ?? "");
      if (!old) {
        el.animate([{ opacity: 0 }, { opacity: 1 }], timing);
        continue;
      }
      const [from, to] = [placeOf(old), placeOf(el)];
      if (from && to && (Math.abs(from.x - to.x) > 1 || Math.abs(from.y - to.y) > 1)) {
        const start = to.moved ? `translate(${from.x}px, ${from.y}px)` : `translate(${from.x - to.x}px, ${from.y - to.y}px)`;
        const end = to.moved ? `translate(${to.x}px, ${to.y}px)` : "translate(0px, 0px)";
        el.animate([{ transform: start }, { transform: end }], timing);
      } else if (!from && old.querySelector("path")?.getAttribute("d") !== el.querySelector("path")?.getAttribute("d")) {
        el.animate([{ opacity: 0 }, { opacity: 0, offset: 0.5 }, { opacity: 1 }], timing);
      }
    }
  }

  /** Natural size, or as much smaller as the page needs but still readable; the rest is scrolled to. */
  fit() {
    if (!this.svg) return;
    const [width, height] = ["width", "height"].map((name) => Number(this.svg?.getAttribute(`data-${name}`) ?? this.svg?.getAttribute(name)));
    this.svg.setAttribute("data-width", String(width));
    this.svg.setAttribute("data-height", String(height));
    // Beside an open panel the picture may shrink a little; before it would become small, the panel goes below.
    this.stage.style.flexBasis = `${Math.round(width * 0.75)}px`;
    const room = this.stage.clientWidth || width;
    const scale = this.zoom || Math.max(Math.min(1, room / width), 0.55);
    this.scale = scale;
    this.svg.setAttribute("width", String(Math.round(width * scale)));
    this.svg.setAttribute("height", String(Math.round(height * scale)));
  }

  /** @param {number} factor 0 fits the page again */
  zoomBy(factor) {
    this.zoom = factor ? Math.min(3, Math.max(0.2, (this.scale ?? 1) * factor)) : 0;
    this.fit();
  }
}
