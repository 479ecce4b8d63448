// Makes the parts of the page. Every text, whoever wrote it, becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

// An element: `el("p.quiet", { title }, "text", child)`. `null` children are left out.
export function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  return filled(document.createElement(tag), classes, attributes, children);
}

// The same for SVG.
export function svg(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  return filled(document.createElementNS(SVG, tag), classes, attributes, children);
}

function filled(node, classes, attributes, children) {
  if (classes.length) node.classList.add(...classes);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") node.addEventListener(key, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// A text that somebody outside has written: it stands for itself, whatever direction it is written in,
// and what would turn the text around it is shown by its number.
export function stranger(text) {
  const shown = String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (c) => `\u27e8U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
  return el("bdi", null, shown);
}

export const quiet = (text) => el("span.quiet", null, text);
export const orNone = (text) => (text === null || text === undefined || text === "" ? quiet("none") : stranger(text));
export const badge = (kind, text) => el(`span.badge.${kind}`, null, text);

// A time in UTC, as the log and the audit log have it; without the date if it is today.
export function time(text) {
  if (!text) return quiet("none");
  const today = new Date().toISOString().slice(0, 10);
  const shown = text.startsWith(today) ? text.slice(11, 19) : text.slice(0, 19).replace("T", " ");
  return el("time", { datetime: text, title: `${text}, ${age(text)} ago` }, shown);
}

// How long ago, in the one unit that fits.
export function age(text) {
  const seconds = Math.max(0, (Date.now() - Date.parse(text)) / 1000);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.floor(seconds)} s`;
}

// A table whose rows are lists of cells; on a narrow screen each row becomes a card.
export function table(caption, heads, rows, empty) {
  if (!rows.length) return el("p.quiet", null, empty);
  const cell = (content, index) => el("td", { role: "cell", "data-label": heads[index] }, el("span", null, content));
  return el("div.scroll", null,
    el("table", { role: "table" },
      el("caption.hidden", null, caption),
      el("thead", { role: "rowgroup" },
        el("tr", { role: "row" }, heads.map((head) => el("th", { role: "columnheader", scope: "col" }, head)))),
      el("tbody", { role: "rowgroup" },
        rows.map((cells) => el("tr", { role: "row" }, cells.map(cell))))));
}

// Names with their values.
export function facts(pairs) {
  return el("dl.facts", null, pairs.filter(Boolean).map(([name, value]) =>
    el("div", null, el("dt", null, name), el("dd", null, value))));
}

export function card(title, ...children) {
  return el("section.card", null, el("h2", null, title), children);
}

// Replaces what `parent` shows, unless it would be the same; the focus stays where it was.
export function show(parent, signature, make) {
  const text = JSON.stringify(signature);
  if (parent.dataset.shown === text) return;
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const open = [...parent.querySelectorAll("details[open][data-key]")].map((it) => it.dataset.key);
  parent.replaceChildren(...[make()].flat().filter((child) => child !== null));
  parent.dataset.shown = text;
  const keyed = (key) => [...parent.querySelectorAll("[data-key]")].find((it) => it.dataset.key === key);
  for (const key of open) keyed(key)?.setAttribute("open", "");
  if (focused) keyed(focused)?.focus();
}

// Asks before something that cannot be undone; whether it shall be done.
export function confirmed(title, text, action) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").replaceChildren(title);
  document.getElementById("confirm-text").replaceChildren(...[text].flat());
  const [yes, no] = ["yes", "no"].map((name) => document.getElementById(`confirm-${name}`));
  yes.replaceChildren(action);
  return new Promise((resolve) => {
    let answer = false;
    yes.onclick = () => { answer = true; dialog.close(); };
    no.onclick = () => dialog.close();
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
  });
}
