// One tab stop for the whole picture; inside it the arrow keys walk from host to host, into a host, along a cable.

class Keyboard {
  /**
   * @param {PictureView} picture
   * @param {{open: (id: string) => void, escape: () => boolean}} actions
   */
  constructor(picture, actions) {
    this.picture = picture;
    this.actions = actions;
    this.current = "";
  }

  /** Make one thing the tab stop after the picture has changed. */
  refresh() {
    const svg = this.picture.svg;
    if (!svg) return;
    const el = byId(svg, this.current) ?? this.hosts()[0];
    for (const other of svg.querySelectorAll('[tabindex="0"]')) other.setAttribute("tabindex", "-1");
    el?.setAttribute("tabindex", "0");
    this.current = el?.dataset.nlId ?? "";
  }

  /** @returns {SVGGElement[]} */
  hosts() {
    return /** @type {any} */ ([...(this.picture.svg?.querySelectorAll(".host, .svc") ?? [])]);
  }

  /** @param {Element} host @returns {SVGGElement[]} */
  inside(host) {
    const things = [...host.querySelectorAll("[data-nl-id]:not(.lane)")];
    // Pods are hosts of their own: they are walked to from host to host.
    return /** @type {any} */ (things.filter((el) => el.parentElement?.closest(".host") === host && !el.classList.contains("pod")));
  }

  /** @param {SVGGElement | null | undefined} el */
  focus(el) {
    if (!el) return;
    this.current = el.dataset.nlId ?? "";
    this.refresh();
    el.focus({ preventScroll: true });
    el.scrollIntoView({ block: "nearest", inline: "nearest", behavior: calm() ? "auto" : "smooth" });
  }

  /** @param {string} id @returns {SVGGElement | null} the chip at the other end of the cable of this one */
  along(id) {
    const own = id.replace(/^if:/, "");
    for (const cable of /** @type {SVGGElement[]} */ ([...(this.picture.svg?.querySelectorAll(".cable, .tunnel") ?? [])])) {
      const ends = endsOf(cable.dataset.nlId ?? "");
      const other = ends.length === 2 && ends.includes(own) ? ends.find((end) => end !== own) : undefined;
      if (other) return byId(this.picture.svg, `if:${other}`);
    }
    return null;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const el = /** @type {SVGGElement | null} */ (/** @type {Element} */ (event.target).closest("[data-nl-id]"));
    if (!el || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.act(event.key, el)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  /** @param {string} key @param {SVGGElement} el @returns {boolean} whether the key meant something */
  act(key, el) {
    if (key === "Enter" || key === " ") {
      this.actions.open(el.dataset.nlId ?? "");
      return true;
    }
    if (key === "Escape") return this.escape(el);
    const host = el.closest(".host");
    const within = host !== null && host !== el;
    const row = within ? this.inside(host) : this.hosts();
    const place = row.indexOf(el);
    const steps = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: row.length - 1 };
    if (key in steps) {
      this.focus(row[/** @type {Record<string, number>} */ (steps)[key]]);
    } else if (key === "ArrowDown") {
      this.focus(within ? this.along(el.dataset.nlId ?? "") : host ? this.inside(host)[0] : this.hosts()[0]);
    } else if (key === "ArrowUp") {
      this.focus(within ? /** @type {any} */ (host) : null);
    } else {
      return false;
    }
    return true;
  }

  /** @param {SVGGElement} el */
  escape(el) {
    if (this.actions.escape()) return true;
    const host = /** @type {any} */ (el.closest(".host"));
    if (host && host !== el) this.focus(host);
    else el.blur();
    return true;
  }
}
