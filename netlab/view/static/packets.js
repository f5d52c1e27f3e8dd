// A live table of packets. All fields come with the rows: opening one needs no answer from Python.

/**
 * @typedef {{name: string, value: string, matters: boolean, note: string}} Field
 * @typedef {{number: number, time: string, where: string, direction: string, source: string, target: string, what: string, bytes: number, layers: {name: string, fields: Field[]}[]}} Row
 */

const HEADS = ["#", "ms", "on", "from", "to", "what", "bytes"];

class Table {
  /** @param {HTMLElement} root @param {any} model */
  constructor(root, model) {
    this.model = model;
    /** @type {Map<number, HTMLElement[]>} */
    this.shown = new Map();
    this.body = make("tbody", "");
    this.count = make("span", "nl-total");
    this.stop = makeButton("Stop", () => model.send({ do: "stop" }));
    this.save = makeButton("Save as pcapng", () => model.send({ do: "save" }));
    const bar = make("div", "nl-bar", make("b", "", `Packets on ${model.get("title")}`), this.count, this.stop, this.save);
    const table = make("table", "", makeHead(HEADS), this.body);
    this.scroll = makeRegion("nl-scroll", `Packets on ${model.get("title")}`, table);
    root.append(bar, this.scroll);
  }

  update() {
    /** @type {Row[]} */
    const rows = this.model.get("rows");
    const total = this.model.get("total");
    const atEnd = this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 30;
    const kept = new Set(rows.map((row) => row.number));
    for (const [number, parts] of this.shown) {
      if (kept.has(number)) continue;
      for (const part of parts) part.remove();
      this.shown.delete(number);
    }
    for (const row of rows) if (!this.shown.has(row.number)) this.add(row);
    this.count.textContent = total === rows.length ? `${total} so far` : `the last ${rows.length} of ${total}`;
    if (atEnd) this.scroll.scrollTop = this.scroll.scrollHeight;
  }

  /** @param {Row} row */
  add(row) {
    const open = makeButton(String(row.number), () => {}, "nl-open");
    open.setAttribute("aria-expanded", "false");
    open.setAttribute("aria-label", `Packet ${row.number}: ${row.what}, from ${row.source} to ${row.target}. Show its fields.`);
    const arrow = row.direction === "out" ? "→ out" : "← in";
    const cells = [row.time, `${row.where} ${arrow}`, row.source, row.target, row.what, String(row.bytes)];
    const line = make("tr", "", make("td", "", open), ...cells.map((text) => make("td", "", text)));
    const inside = /** @type {HTMLTableCellElement} */ (make("td", "nl-fields"));
    inside.colSpan = HEADS.length;
    const more = make("tr", "", inside);
    more.hidden = true;
    open.addEventListener("click", () => {
      if (!inside.childElementCount) for (const layer of row.layers) inside.append(this.layer(layer));
      more.hidden = !more.hidden;
      open.setAttribute("aria-expanded", String(!more.hidden));
    });
    this.body.append(line, more);
    this.shown.set(row.number, [line, more]);
  }

  /** @param {{name: string, fields: Field[]}} layer */
  layer(layer) {
    const list = make("dl", "");
    for (const field of layer.fields) {
      const value = make("dd", field.matters ? "nl-matters" : "", field.value);
      if (field.note) value.append(" ", make("span", "nl-note", field.note));
      list.append(make("dt", "", field.name), value);
    }
    return make("section", "", make("h5", "", layer.name), list);
  }

  end() {
    const running = this.model.get("running");
    this.stop.hidden = running === false;
  }
}

/** @param {string} name @param {DataView} data */
function download(name, data) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([data], { type: "application/x-pcapng" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function render({ model, el }) {
  const root = make("div", "nl-packets");
  const table = new Table(root, model);
  const update = () => table.update();
  const end = () => table.end();
  const take = (/** @type {any} */ content, /** @type {DataView[]} */ buffers) => {
    if (content.file) download(content.file, buffers[0]);
  };
  update();
  end();
  return mount({ model, el }, root, { "change:rows": update, "change:running": end, "msg:custom": take });
}

export default { render };
