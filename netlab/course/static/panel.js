// The panel of an exercise. All state is in the traits, so that it can be drawn again without Python.

/** @param {string} tag @param {string} className @param {...(Node | string)} children */
function make(tag, className, ...children) {
  const el = document.createElement(tag);
  if (className) el.className = className;
  el.append(...children);
  return el;
}

/** Text with `code` in it, as nodes. @param {string} text @returns {(Node | string)[]} */
function words(text) {
  return text.split("`").map((part, place) => (place % 2 ? make("code", "", part) : part));
}

/** @param {string} text */
function paragraphs(text) {
  return text.split("\n\n").filter(Boolean).map((part) => make("p", "", ...words(part)));
}

function render({ model, el }) {
  const root = make("section", "nl-root nl-course");
  el.append(root);
  const goal = make("div", "");
  const hosts = make("div", "");
  const status = make("div", "");
  status.setAttribute("role", "status"); // read aloud when it changes, without taking the focus
  const hints = make("ol", "");
  hints.setAttribute("aria-live", "polite");
  const answer = make("pre", "");
  const fold = /** @type {HTMLDetailsElement} */ (make("details", "", make("summary", "", "Solution"), answer));
  const buttons = make("div", "");
  /** @type {Map<string, HTMLButtonElement>} */
  const known = new Map();
  for (const [what, label] of [["check", "Check"], ["hint", "Hint"], ["reset", "Start over"]]) {
    const button = /** @type {HTMLButtonElement} */ (make("button", "", label));
    button.type = "button";
    button.addEventListener("click", () => ask(what));
    known.set(what, button);
    buttons.append(button);
  }

  /** @param {string} what */
  function ask(what) {
    // Not `disabled`: that would take the keyboard's focus away from the button.
    known.get(what)?.setAttribute("aria-busy", "true");
    if (what === "check") status.replaceChildren(make("p", "nl-muted", "Looking …"));
    model.send({ do: what });
  }

  fold.addEventListener("toggle", () => {
    if (fold.open && !model.get("solved")) ask("solution");
  });

  function drawGoal() {
    const heading = make("h4", "", model.get("heading"));
    heading.id = `nl-task-${Math.random().toString(36).slice(2)}`;
    root.setAttribute("aria-labelledby", heading.id);
    goal.replaceChildren(heading, ...paragraphs(model.get("goal")));
  }
  function drawHosts() {
    const items = model.get("hosts").map((/** @type {[string, string]} */ [role, line]) =>
      make("li", "", `${role}: `, make("code", "", line)));
    hosts.replaceChildren(make("details", "", make("summary", "", "Terminals of its hosts"), make("ul", "", ...items)));
  }
  function drawVerdict() {
    const found = model.get("verdict");
    if (!found || !found.saw) return status.replaceChildren();
    const list = make("dl", "");
    const rows = found.passed ? [["Seen", found.saw]] : [["Seen", found.saw], ["Expected", found.expected], ["Look next", found.look]];
    for (const [name, text] of rows) if (text) list.append(make("dt", "", name), make("dd", "", ...words(text)));
    const head = make("strong", "", found.passed ? `✓ ${found.word}` : "○ Not yet");
    const journey = !found.passed && found.journey
      ? [make("details", "", make("summary", "", "What the packet met"), make("pre", "", found.journey))]
      : [];
    status.replaceChildren(make("div", `nl-verdict ${found.passed ? "nl-passed" : "nl-open"}`, head, list, ...paragraphs(found.story ?? ""), ...journey));
  }
  function drawHints() {
    hints.replaceChildren(...model.get("hints").map((/** @type {string} */ hint) => make("li", "", ...words(hint))));
  }
  function drawSolution() {
    answer.textContent = model.get("solved");
    if (!model.get("solved")) fold.open = false;
  }
  function drawClosed() {
    for (const what of ["check", "hint"]) {
      const button = known.get(what);
      if (button) button.disabled = model.get("closed");
    }
    root.classList.toggle("nl-closed", model.get("closed"));
  }
  const done = (/** @type {any} */ content) => known.get(content.did)?.removeAttribute("aria-busy");
  const drawers = { "change:goal": drawGoal, "change:hosts": drawHosts, "change:verdict": drawVerdict, "change:hints": drawHints, "change:solved": drawSolution, "change:closed": drawClosed };
  root.append(goal, hosts, buttons, status, hints, fold);
  model.on("msg:custom", done);
  for (const [event, draw] of Object.entries(drawers)) {
    model.on(event, draw);
    draw();
  }
  return () => {
    model.off("msg:custom", done);
    for (const [event, draw] of Object.entries(drawers)) model.off(event, draw);
    root.remove();
  };
}

export default { render };
