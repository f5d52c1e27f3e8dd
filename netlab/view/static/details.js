// The panel beside the picture: all that is known of one thing. It needs no answer from Python.

/** @typedef {{title: string, about: string, state?: string, facts: [string, string][], counters?: [string, number, number][], lists: [string, string[]][]}} Detail */

/** Which thing tells of another: the table of a host is told of by the host, a cable by one of its ends. @param {string} id @param {Record<string, Detail>} details */
function tellerOf(id, details = {}) {
  if (id.startsWith("ep:")) return Object.keys(details).find((key) => key.startsWith("svc:") && id.startsWith(`ep:${key.slice(4)}/`)) ?? id;
  const name = id.replace(/^[a-z]+:/, "");
  if (id.startsWith("open:")) return `host:${name}`;
  if (/^(rt|nb|ipt|sysctl|sock|fwd|tube):/.test(id)) return `host:${name.split("/")[0]}`;
  if (/^(veth|macvlan|tun):/.test(id)) return `if:${name.split("~")[0]}`;
  return id;
}

class DetailPanel {
  /**
   * @param {HTMLElement} root
   * @param {() => void} closed what to do after it was closed by its button
   * @param {(id: string) => HTMLElement[]} tools buttons for what can be done with a thing
   */
  constructor(root, closed, tools) {
    this.root = root;
    this.id = "";
    this.shown = "";
    this.closed = closed;
    this.tools = tools;
    root.hidden = true;
    root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
      this.closed();
    });
  }

  /** @param {string} id @param {Record<string, Detail>} details */
  open(id, details) {
    this.id = id;
    this.shown = "";
    this.update(details);
  }

  /** @returns {boolean} whether it was open */
  close() {
    const was = !this.root.hidden;
    this.root.hidden = true;
    this.id = "";
    return was;
  }

  /** @param {Record<string, Detail>} details */
  update(details) {
    if (!this.id) return;
    const detail = details[tellerOf(this.id, details)];
    const text = JSON.stringify(detail ?? null);
    if (text === this.shown) return;
    this.shown = text;
    const scroll = this.root.scrollTop;
    this.root.hidden = false;
    this.root.replaceChildren(...(detail ? this.content(detail) : this.gone()));
    this.root.scrollTop = scroll;
  }

  /** @returns {Node[]} */
  gone() {
    return [this.head(this.id.replace(/^[a-z]+:/, ""), "this is no longer in the lab")];
  }

  /** @param {string} title @param {string} about */
  head(title, about) {
    const close = () => {
      this.close();
      this.closed();
    };
    const button = makeButton("×", close, "nl-close");
    button.setAttribute("aria-label", "Close details");
    const buttons = make("div", "nl-tools", ...this.tools(tellerOf(this.id)), button);
    return make("div", "nl-head", make("div", "", make("h4", "", title), make("p", "nl-about", about)), buttons);
  }

  /** @param {Detail} detail @returns {Node[]} */
  content(detail) {
    const parts = [this.head(detail.title, detail.about)];
    if (detail.facts.length) {
      const facts = make("dl", "nl-facts");
      for (const [name, value] of detail.facts) {
        const shown = make("dd", name === "state" && !value.startsWith("UP") ? "nl-bad" : "", value);
        facts.append(make("dt", "", name), shown);
      }
      parts.push(facts);
    }
    if (detail.counters) parts.push(counterTable(detail.counters));
    for (const [title, lines] of detail.lists) {
      const list = make("ul", "", ...lines.map((line) => make("li", /\b(FAILED|DOWN|NO CARRIER)\b/.test(line) ? "nl-bad" : "", line)));
      parts.push(make("section", "", make("h5", "", title), list));
    }
    return parts;
  }
}

/** @param {[string, number, number][]} counters */
function counterTable(counters) {
  const cells = (/** @type {string} */ tag, /** @type {string[]} */ texts) => make("tr", "", ...texts.map((text) => make(tag, "", text)));
  const head = make("thead", "", cells("th", ["since it was made", "received", "sent"]));
  const rows = counters.map(([name, received, sent]) => cells("td", [name, received.toLocaleString("en"), sent.toLocaleString("en")]));
  return make("table", "nl-counters", head, make("tbody", "", ...rows));
}
