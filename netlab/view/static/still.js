// The static picture of a saved notebook, and the live one beside it.

/**
 * While the live picture is on the page, the static one of the same diagram is not; returns how to show it again.
 * @param {HTMLElement} el
 * @param {string} key
 */
function hideStill(el, key) {
  if (!el.isConnected) {
    // The view is rendered before it comes into the page.
    let cancel = () => {};
    const frame = requestAnimationFrame(() => (cancel = hideStill(el, key)));
    return () => (cancelAnimationFrame(frame), cancel());
  }
  const own = el.closest(".jp-OutputArea-child, .jp-Cell-outputWrapper, .output_area");
  const area = own?.parentElement;
  if (!own || !area) return () => {};
  /** @type {Set<HTMLElement>} */
  const hidden = new Set();
  const isStill = (/** @type {Element} */ output) => {
    if (output === own) return false;
    const image = output.querySelector("img[src^='data:image/svg']");
    const source = image ? decodeURIComponent(image.getAttribute("src")?.split(",")[1] ?? "") : "";
    const text = source.startsWith("PHN2Z") || source.startsWith("PD94") ? atob(source) : source;
    return text.includes(`data-nl-key="${key}"`) || output.querySelector(`[data-nl-key="${key}"]`) !== null;
  };
  const look = () => {
    for (const output of /** @type {HTMLElement[]} */ ([...area.children])) {
      if (!hidden.has(output) && isStill(output)) hidden.add(output);
    }
    for (const output of hidden) output.classList.add("nl-hidden");
  };
  look();
  const observer = new MutationObserver(look);
  observer.observe(area, { childList: true, subtree: true, attributes: true, attributeFilter: ["src"] });
  return () => {
    observer.disconnect();
    for (const output of hidden) output.classList.remove("nl-hidden");
  };
}
