// A prediction: choose, commit, and the answer is kept. Native controls: keyboards and screen readers know them.

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
function make(tag, className, ...children) {
  const el = document.createElement(tag);
  if (className) el.className = className;
  el.append(...children);
  return el;
}

function render({ model, el }) {
  const root = make("section", "nl-root nl-course");
  el.append(root);
  const group = `nl-${Math.random().toString(36).slice(2)}`;
  const kind = model.get("kind");
  /** What the reader has chosen, not yet committed. @type {any} */
  let chosen = model.get("answer") ?? (kind === "order" ? [...model.get("choices")] : null);
  const body = make("div", "");
  const button = /** @type {HTMLButtonElement} */ (make("button", "", "Commit"));
  button.type = "button";
  const status = make("p", "");
  status.setAttribute("role", "status");
  const fields = make("fieldset", "", make("legend", "", model.get("question")), body);
  root.append(fields, button, status);

  function options() {
    body.replaceChildren(...model.get("choices").map((/** @type {string} */ choice) => {
      const input = /** @type {HTMLInputElement} */ (document.createElement("input"));
      Object.assign(input, { type: "radio", name: group, value: choice, checked: chosen === choice });
      input.addEventListener("change", () => { chosen = choice; draw(); });
      return make("label", "", input, choice);
    }));
  }
  function number() {
    const input = /** @type {HTMLInputElement} */ (document.createElement("input"));
    Object.assign(input, { type: "number", step: "any", value: chosen ?? "" });
    input.addEventListener("input", () => { chosen = input.value === "" ? null : Number(input.value); draw(); });
    body.replaceChildren(make("label", "", input, model.get("unit")));
  }
  function order() {
    const list = make("ol", "");
    /** @param {number} place @param {number} step @param {string} sign @param {string} label */
    const mover = (place, step, sign, label) => {
      const move = /** @type {HTMLButtonElement} */ (make("button", "nl-small", sign));
      move.type = "button";
      move.setAttribute("aria-label", label);
      move.disabled = place + step < 0 || place + step >= chosen.length;
      move.addEventListener("click", () => {
        const [item] = chosen.splice(place, 1);
        chosen.splice(place + step, 0, item);
        order();
        draw();
        const again = list.ownerDocument.querySelector(`#${group} li:nth-child(${place + step + 1}) button:not(:disabled)`);
        if (again instanceof HTMLElement) again.focus(); // the item has moved: so does the focus
        status.textContent = `${item}: place ${place + step + 1} of ${chosen.length}`;
      });
      return move;
    };
    list.id = group;
    chosen.forEach((/** @type {string} */ item, /** @type {number} */ place) => {
      list.append(make("li", "nl-item", `${place + 1}.`, mover(place, -1, "↑", `${item}: up`), mover(place, 1, "↓", `${item}: down`), item));
    });
    body.replaceChildren(list);
  }
  function draw() {
    const answer = model.get("answer");
    const decided = model.get("truth") !== null;
    /** @type {HTMLFieldSetElement} */ (fields).disabled = decided;
    button.disabled = decided || chosen === null;
    button.textContent = answer === null ? "Commit" : "Change my answer";
    const words = (/** @type {any} */ value) =>
      (Array.isArray(value) ? value.join(", ") : `${value} ${model.get("unit")}`.trim()).replace(/\.$/, "");
    if (decided) status.textContent = `You said: ${answer === null ? "nothing" : words(answer)}. What happened: ${words(model.get("truth"))}.`;
    else if (answer !== null) status.textContent = `Kept: ${words(answer)}. Now go on, and see.`;
    else status.textContent = "There are no marks. Commit, then go on.";
  }
  button.addEventListener("click", () => model.send({ commit: chosen }));
  ({ options, number, order })[kind]?.();
  model.on("change:answer", draw);
  model.on("change:truth", draw);
  draw();
  return () => {
    model.off("change:answer", draw);
    model.off("change:truth", draw);
    root.remove();
  };
}

export default { render };
