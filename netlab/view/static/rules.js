// A host's rules as a walk. Everything is here: following a jump needs no answer from Python.

/**
 * @typedef {{number: number, text: string, verdict: string, targets: string[], comment: string, chance: number | null, share: number | null}} Step
 * @typedef {{id: string, tool: string, family: string, table: string, name: string, hook: string | null, policy: string | null, alias: string, steps: Step[]}} Chain
 */

/** One roll of the dice: the share of all packets as a bar and a number, and the chance that is written in the rule. @param {Step} step */
function shareOf(step) {
  const share = `${Math.round((step.share ?? 0) * 100)} %`;
  const filled = make("span", "");
  filled.style.width = share.replace(" ", "");
  const track = make("span", "nl-track", filled);
  track.setAttribute("aria-hidden", "true");
  const chance = step.chance === null ? "what is left" : `p ${step.chance.toFixed(3)}`;
  return make("span", "nl-share", track, make("b", "", share), make("span", "nl-unseen", " of all, "), make("span", "nl-chance", chance));
}

class Walk {
  /** @param {HTMLElement} root @param {any} model */
  constructor(root, model) {
    this.root = root;
    this.model = model;
    /** Jumps that the reader has opened, by the path that leads to them. @type {Set<string>} */
    this.opened = new Set();
    /** Jumps that were opened for a mark: only once, so that the reader can close them. @type {Set<string>} */
    this.shownFor = new Set();
  }

  draw() {
    /** @type {Map<string, Chain>} */
    this.chains = new Map(this.model.get("chains").map((/** @type {Chain} */ chain) => [chain.id, chain]));
    this.hits = new Set(this.model.get("hits").map((/** @type {[string, number]} */ [id, number]) => `${id} ${number}`));
    this.root.replaceChildren(make("h4", "", `Rules of ${this.model.get("host")}`));
    if (this.model.get("marked")) {
      const sign = make("span", "nl-sign", "▸");
      sign.setAttribute("aria-hidden", "true");
      const count = this.hits.size === 1 ? "1 rule is" : `${this.hits.size} rules are`;
      this.root.append(make("p", "nl-marked", sign, ` ${count} marked: ${this.model.get("marked")}`));
    }
    const used = [...this.chains.values()].filter((chain) => chain.hook && (chain.steps.length || chain.policy !== "ACCEPT"));
    if (!used.length) this.root.append(make("p", "nl-none", "No rule: every packet passes."));
    for (const [hook, purpose] of this.model.get("hooks")) {
      const bases = used.filter((chain) => chain.hook === hook);
      if (!bases.length) continue;
      const section = make("section", "nl-hook", make("h5", "", make("b", "", hook), ` ${purpose}`));
      for (const chain of bases) section.append(this.chain(chain, chain.id));
      this.root.append(section);
    }
    this.tick();
  }

  /** @param {Chain} chain @param {string} path */
  chain(chain, path) {
    const title = chain.hook ? `${chain.tool} ${chain.family} · ${chain.table} · ${chain.name}` : chain.name;
    const head = make("summary", "", make("b", "", title));
    if (chain.alias) head.append(" ", make("span", "nl-alias", chain.alias));
    if (chain.policy) head.append(" ", make("span", `nl-policy ${chain.policy}`, `policy ${chain.policy}`));
    const box = /** @type {HTMLDetailsElement} */ (make("details", "nl-chain", head));
    box.open = true;
    if (!chain.steps.length) {
      box.append(make("p", "nl-none", chain.hook ? "no rule" : "no rule: back to where it came from"));
      return box;
    }
    const body = make("tbody", "");
    for (const step of chain.steps) this.row(chain, step, path, body);
    const caption = make("caption", "nl-unseen", `Chain ${chain.name}: packets, rule, what it does`);
    box.append(make("table", "", caption, body));
    return box;
  }

  /** @param {Chain} chain @param {Step} step @param {string} path @param {HTMLElement} body */
  row(chain, step, path, body) {
    const packets = make("span", "", "–");
    packets.dataset.rule = `${chain.id} ${step.number}`;
    const count = make("td", "nl-count", packets);
    const text = make("td", "nl-rule", step.text || "every packet");
    if (step.comment) text.append(" ", make("span", "nl-comment", step.comment));
    const where = make("td", "nl-where");
    if (step.share !== null) where.append(shareOf(step));
    if (step.verdict) where.append(make("span", `nl-verdict ${step.verdict}`, step.verdict));
    const row = make("tr", "", count, text, where);
    row.dataset.row = `${chain.id} ${step.number}`;
    body.append(row);
    const met = this.hits?.has(row.dataset.row);
    if (met) {
      row.classList.add("nl-hit");
      const sign = make("span", "nl-sign", "▸ ");
      sign.setAttribute("aria-hidden", "true");
      count.prepend(sign, make("span", "nl-unseen", "The packet met this rule. "));
    }
    for (const target of step.targets) {
      const next = this.chains?.get(target);
      if (!next) continue;
      const way = `${path}>${step.number}>${target}`;
      const inside = next.steps.some((other) => this.hits?.has(`${next.id} ${other.number}`));
      if (met && inside && !this.shownFor.has(way)) {
        this.shownFor.add(way);
        this.opened.add(way);
      }
      where.append(this.jump(next, way, row));
    }
  }

  /** A button that opens the chain a rule leads to, right below it. @param {Chain} chain @param {string} path @param {HTMLElement} row */
  jump(chain, path, row) {
    const label = chain.alias ? `${chain.name} (${chain.alias})` : chain.name;
    const button = makeButton("", () => {}, "nl-jump");
    /** @type {HTMLElement | null} */
    let inside = null;
    const show = (/** @type {boolean} */ open) => {
      button.setAttribute("aria-expanded", String(open));
      button.textContent = `${open ? "↓" : "→"} ${label}`;
      if (open && !inside) {
        const cell = /** @type {HTMLTableCellElement} */ (make("td", "nl-inside", this.chain(chain, path)));
        cell.colSpan = 3;
        inside = make("tr", "", cell);
        row.after(inside);
      } else if (!open && inside) {
        inside.remove();
        inside = null;
      }
    };
    button.addEventListener("click", () => {
      const open = !this.opened.has(path);
      if (open) this.opened.add(path);
      else this.opened.delete(path);
      show(open);
      this.tick();
    });
    show(this.opened.has(path));
    return button;
  }

  /** Counters tick in place. */
  tick() {
    const counters = this.model.get("counters");
    for (const cell of this.root.querySelectorAll("[data-rule]")) {
      const [id, number] = split(/** @type {HTMLElement} */ (cell).dataset.rule ?? "");
      const packets = counters[id]?.[number];
      cell.textContent = packets === undefined ? "–" : String(packets);
    }
  }
}

/** @param {string} text @returns {[string, string]} */
function split(text) {
  const at = text.lastIndexOf(" ");
  return [text.slice(0, at), text.slice(at + 1)];
}

function render({ model, el }) {
  const root = make("div", "nl-rules");
  const walk = new Walk(root, model);
  const draw = () => walk.draw();
  const mark = () => {
    walk.shownFor.clear();
    walk.draw();
  };
  const close = () => root.classList.toggle("nl-closed", model.get("closed"));
  draw();
  close();
  return mount({ model, el }, root, {
    "change:chains": draw,
    "change:counters": () => walk.tick(),
    "change:hits": mark,
    "change:marked": draw,
    "change:closed": close,
  });
}

export default { render };
