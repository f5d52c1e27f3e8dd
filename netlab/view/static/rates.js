// How much passes on each cable right now: packets and bytes a second, and what is dropped, from the counters.

const LEAST_MS = 300;

/** @param {number} value @param {string} unit */
function short(value, unit) {
  const steps = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, letter] of steps) if (value >= Number(size)) return `${(value / Number(size)).toFixed(1)} ${letter}${unit}`;
  return `${Math.round(value)} ${unit}`;
}

class Rates {
  /** @param {PictureView} picture */
  constructor(picture) {
    this.picture = picture;
    /** @type {Map<string, {at: number, packets: number, bytes: number, dropped: number}>} */
    this.last = new Map();
    /** @type {Map<string, string>} by cable */
    this.texts = new Map();
  }

  /** Read the counters of one end of each cable, and write what has changed since. @param {Record<string, Detail>} details */
  update(details) {
    const now = performance.now();
    for (const cable of this.cables()) {
      const id = cable.dataset.nlId ?? "";
      const counters = details[`if:${endsOf(id)[0]}`]?.counters;
      if (!counters) continue;
      const sums = Object.fromEntries(counters.map(([name, received, sent]) => [name, received + sent]));
      const [packets, bytes, dropped] = [sums.packets, sums.bytes, sums.dropped];
      const old = this.last.get(id);
      if (old && now - old.at < LEAST_MS) continue;
      this.last.set(id, { at: now, packets, bytes, dropped });
      if (!old) continue;
      const seconds = (now - old.at) / 1000;
      const passed = packets - old.packets;
      const lost = dropped - old.dropped;
      const text = passed > 0 ? `${short(passed / seconds, "pkt/s")} · ${short((bytes - old.bytes) / seconds, "B/s")}` : "";
      this.texts.set(id, lost > 0 ? `${text} ${short(lost / seconds, "dropped/s")}`.trim() : text);
    }
    this.draw();
  }

  /** @returns {SVGGElement[]} */
  cables() {
    return /** @type {any} */ ([...(this.picture.svg?.querySelectorAll(".cable, .tunnel") ?? [])]);
  }

  draw() {
    const svg = this.picture.svg;
    if (!svg) return;
    svg.querySelector(".nl-rates")?.remove();
    const layer = document.createElementNS(SVG_NS, "g");
    layer.setAttribute("class", "nl-rates");
    layer.setAttribute("aria-hidden", "true");
    svg.firstElementChild?.append(layer);
    const roomy = this.cables().length <= 20;
    for (const cable of this.cables()) {
      const text = this.texts.get(cable.dataset.nlId ?? "") ?? "";
      cable.classList.toggle("busy", text !== "");
      if (text && roomy) this.label(layer, cable, text);
    }
  }

  /** Beside an upright cable, above a level one. @param {Element} layer @param {Element} cable @param {string} text */
  label(layer, cable, text) {
    const path = /** @type {SVGPathElement | null} */ (cable.querySelector("path"));
    if (!path) return;
    const [box, length] = [path.getBBox(), path.getTotalLength()];
    const [inner, outer] = [path.getCTM(), /** @type {SVGGElement} */ (layer).getCTM()];
    // A cable inside of a node has the node's coordinates.
    const shift = inner && outer ? outer.inverse().multiply(inner) : new DOMMatrix();
    const middle = path.getPointAtLength(length / 2).matrixTransform(shift);
    const level = box.width > box.height;
    const lines = text.split(" · ");
    lines.forEach((line, number) => {
      const y = level ? middle.y - 8 - 12 * (lines.length - 1 - number) : middle.y - 2 + 12 * number;
      // A cable with a bend would run through words beside its middle.
      const beside = box.width > 6 ? box.x + shift.e + box.width + 6 : middle.x + 9;
      const attributes = { x: level ? middle.x : beside, y, "text-anchor": level ? "middle" : "start" };
      shape("text", attributes, layer).textContent = line;
    });
  }
}
