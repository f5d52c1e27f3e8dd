// Text in a picture, in the reader's own fonts.

/** Text that the reader's fonts make wider than was measured is squeezed. @param {Element} root */
function guardText(root) {
  const texts = /** @type {SVGTextElement[]} */ ([...root.querySelectorAll("text[data-w]")]);
  const wide = texts.filter((text) => text.getComputedTextLength() > Number(text.dataset.w) + 1);
  for (const text of wide) {
    text.setAttribute("textLength", String(text.dataset.w));
    text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
}

/** Do something with an element once it is in the page: text has no length before. @param {Element} el @param {() => void} action */
function whenShown(el, action) {
  const frame = () => (el.isConnected ? action() : (number = requestAnimationFrame(frame)));
  let number = requestAnimationFrame(frame);
  return () => cancelAnimationFrame(number);
}

/** A picture fills the width that there is; it is made smaller than it was drawn by a quarter at most. @param {HTMLElement} place */
function fitPicture(place) {
  const svg = place.querySelector("svg");
  if (!svg) return;
  const width = Number(svg.getAttribute("width"));
  svg.style.minWidth = `${width * 0.75}px`;
  place.classList.toggle("nl-tall", Number(svg.getAttribute("height")) > width * 0.75);
  whenShown(place, () => guardText(svg));
}
