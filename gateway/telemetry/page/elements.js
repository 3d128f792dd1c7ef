// Elements that change only where what they show has changed. Texts are always texts: they hold the words of callers.

export const find = (id) => document.getElementById(id);

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function show(node, text, className) {
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

// A name that a narrow column may break where a reader would.
export const breakable = (name) => name.split(/(?<=[_\-./])/).flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part]));

// Shows a list in the children of `parent`, one for each item, known by its key; `make` builds one, `update` brings it up to date.
export function showEach(parent, items, { key, make, update, empty }) {
  const known = (parent.known ??= new Map());
  const wanted = new Set(items.map(key));
  for (const [name, node] of known) {
    if (!wanted.has(name)) {
      node.remove();
      known.delete(name);
    }
  }
  parent.nothing?.remove();
  parent.nothing = items.length ? null : empty();
  if (parent.nothing) parent.append(parent.nothing);
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let node = known.get(name);
    if (!node) known.set(name, (node = make(item)));
    update(node, item);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
}

// A row of a table: the first cell is its header.
export function row(columns) {
  const made = element("tr");
  made.cells_ = columns.map((className, at) => {
    const cell = element(at ? "td" : "th", className);
    if (!at) cell.scope = "row";
    made.append(cell);
    return cell;
  });
  return made;
}

export function emptyRow(text, columns) {
  const made = element("tr");
  const cell = element("td", "empty", text);
  cell.colSpan = columns;
  made.append(cell);
  return made;
}
