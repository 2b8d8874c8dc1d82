/**
 * Owns how the explorer makes elements, and the little Markdown that descriptions use: `code` and paragraphs.
 * Invariant: text goes onto the page as text alone.
 */

export function element(name, props = {}, ...children) {
  const { data, ...rest } = props;
  const made = Object.assign(document.createElement(name), rest);
  for (const [key, value] of Object.entries(data ?? {})) made.dataset[key] = value;
  made.append(...children);
  return made;
}

/** `code` becomes code; everything else stays what it is. */
export function inline(text) {
  return String(text ?? "")
    .split(/`([^`]*)`/)
    .map((part, i) => (i % 2 === 1 ? element("code", {}, part) : part));
}

export function paragraphs(text) {
  return String(text ?? "")
    .split(/\n{2,}/)
    .filter((part) => part.trim() !== "")
    .map((part) => element("p", {}, ...inline(part)));
}

/** Cells are texts, nodes, or lists of both. */
export function table(head, rows) {
  const cells = (tag, list) => list.map((cell) => element(tag, {}, ...[cell].flat()));
  const lines = rows.map((row) => (row instanceof Node ? row : element("tr", {}, ...cells("td", row))));
  return element(
    "div",
    { className: "scroll" },
    element("table", {}, element("thead", {}, element("tr", {}, ...cells("th", head))), element("tbody", {}, ...lines)),
  );
}
