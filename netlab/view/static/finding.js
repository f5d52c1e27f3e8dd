// Finding one's way in a large picture: search, look at one host and its neighbours only, pull the picture about.

class Finder {
  /** @param {PictureView} picture @param {HTMLInputElement} input @param {(el: SVGGElement | null) => void} go */
  constructor(picture, input, go) {
    this.picture = picture;
    this.input = input;
    /** The host that is looked at, or empty. */
    this.host = "";
    input.addEventListener("input", () => this.apply());
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") go(this.found()[0] ?? null);
      if (event.key === "Escape") this.clear();
      event.stopPropagation();
    });
  }

  clear() {
    this.input.value = "";
    this.host = "";
    this.apply();
  }

  /** @param {string} id look at one host, or at all if it was this one already */
  look(id) {
    this.host = this.host === id ? "" : id;
    this.apply();
  }

  /** @returns {SVGGElement[]} the hosts in which the words that were typed stand */
  found() {
    const words = this.input.value.trim().toLowerCase();
    if (!words) return [];
    const hosts = /** @type {SVGGElement[]} */ ([...(this.picture.svg?.querySelectorAll(".host, .unit") ?? [])]);
    const said = (/** @type {SVGGElement} */ el) => `${el.getAttribute("aria-label")} ${el.classList.contains("folded") ? "" : el.textContent}`;
    return hosts.filter((el) => said(el).toLowerCase().includes(words));
  }

  /** Dim what is not looked for; nothing is hidden. */
  apply() {
    const svg = this.picture.svg;
    if (!svg) return;
    const kept = new Set(this.found().map((el) => el.dataset.nlId ?? ""));
    if (this.host) this.near(this.host).forEach((id) => kept.add(id));
    const any = this.input.value.trim() !== "" || this.host !== "";
    svg.classList.toggle("nl-dimmed", any);
    for (const el of /** @type {NodeListOf<SVGGElement>} */ (svg.querySelectorAll(".host, .unit, .cable, .tunnel"))) {
      el.classList.toggle("nl-kept", any && this.keeps(el, kept));
    }
  }

  /** @param {SVGGElement} el @param {Set<string>} kept */
  keeps(el, kept) {
    if (kept.has(el.dataset.nlId ?? "")) return true;
    // A node is as visible as what is in it.
    if (el.classList.contains("host")) return [...el.querySelectorAll(".unit, .pod")].some((each) => kept.has(/** @type {any} */ (each).dataset.nlId));
    const hosts = endsOf(el.dataset.nlId ?? "").map((end) => `host:${end.split("/")[0]}`);
    return hosts.length > 0 && hosts.every((id) => kept.has(id)) && (!this.host || hosts.includes(this.host));
  }

  /** @param {string} id @returns {Set<string>} a host and those at the other ends of its cables */
  near(id) {
    const found = new Set([id]);
    for (const cable of /** @type {NodeListOf<SVGGElement>} */ (this.picture.svg?.querySelectorAll(".cable, .tunnel"))) {
      const hosts = endsOf(cable.dataset.nlId ?? "").map((end) => `host:${end.split("/")[0]}`);
      if (hosts.includes(id)) hosts.forEach((host) => found.add(host));
    }
    return found;
  }
}

/** The two interfaces that a cable joins. @param {string} id @returns {string[]} */
function endsOf(id) {
  return /^(veth|macvlan|tun):/.test(id) ? id.replace(/^[a-z]+:/, "").split("~") : [];
}

/** Let a large picture be pulled about with the mouse. @param {HTMLElement} stage */
function pullable(stage) {
  stage.addEventListener("pointerdown", (down) => {
    const onThing = /** @type {Element} */ (down.target).closest("[data-nl-id]:not(.host)");
    if (down.button !== 0 || onThing || down.pointerType === "touch") return;
    const from = { x: down.clientX + stage.scrollLeft, y: down.clientY + stage.scrollTop };
    const pull = (/** @type {PointerEvent} */ move) => stage.scrollTo(from.x - move.clientX, from.y - move.clientY);
    const end = () => stage.removeEventListener("pointermove", pull);
    stage.addEventListener("pointermove", pull);
    window.addEventListener("pointerup", end, { once: true });
  });
}
