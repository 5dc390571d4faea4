"use strict";
// What the page does beyond showing: it changes between light and dark, copies commands, sorts tables, filters results.
// Without it everything is still there to read.

const PAGE = 100; // rows of the results that are in the page at once, and that come with each "more"
const CHOICES = 30; // a column with at most so many values can be chosen from; with more one searches
const DASH = "–";

// Light or dark: the system's choice until the reader makes one.
const theme = document.querySelector(".theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light theme" : "Dark theme"; };
theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
systemDark.addEventListener("change", nameTheme);
nameTheme();
theme.hidden = false;

if (matchMedia("(max-width: 67.99rem)").matches) document.querySelector(".contents").open = false;

// The contents mark what stands in the upper part of the window.
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((changes) => {
  for (const { target, isIntersecting } of changes) {
    if (isIntersecting) links.get(target.id).setAttribute("aria-current", "true");
    else links.get(target.id).removeAttribute("aria-current");
  }
}, { rootMargin: "-5% 0px -75% 0px" });
for (const id of links.keys()) reading.observe(document.getElementById(id));

for (const button of document.querySelectorAll(".copy")) {
  const code = button.parentElement.querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch { // not allowed: select it, so that the keyboard can copy
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// Numbers by size, texts as people sort them, nothing last in either direction.
const collator = new Intl.Collator("en", { numeric: true });
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
}

// The buttons in a table's head: each click turns the direction around, and `sort` gets (column, sign).
function sortButtons(table, sort) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const first = "descending" in button.dataset ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction);
      sort(column, direction === "ascending" ? 1 : -1);
    });
  });
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  if (table.closest(".explorer")) continue;
  const body = table.tBodies[0];
  const value = (row, column) => {
    const cell = row.cells[column];
    if ("value" in cell.dataset) return Number(cell.dataset.value);
    return cell.textContent === DASH ? null : cell.textContent;
  };
  sortButtons(table, (column, sign) => {
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...rows.map(([, row]) => row));
  });
}

for (const explorer of document.querySelectorAll(".explorer")) {
  const { columns, rows } = JSON.parse(explorer.querySelector("script").textContent);
  const table = explorer.querySelector("table");
  const form = explorer.querySelector(".filters");
  const search = form.querySelector("input");
  const more = explorer.querySelector(".more");
  const total = rows[0].length;
  const value = (c, row) => (columns[c].values ? columns[c].values[rows[c][row]] : rows[c][row]);
  const text = (c, row) => {
    const it = value(c, row);
    if (it === null) return DASH;
    if (columns[c].kind === "percent") return it.toFixed(2);
    return columns[c].kind === "count" ? it.toLocaleString("en") : String(it);
  };
  let order = Array.from({ length: total }, (_, row) => row);
  let found = order;
  let shown = PAGE;
  let haystack = null;

  const selects = columns.map((column, c) => {
    if (!column.values || column.values.length < 2 || column.values.length > CHOICES) return null;
    const select = document.createElement("select");
    const label = document.createElement("label");
    select.add(new Option("any", ""));
    column.values.forEach((choice, place) => select.add(new Option(choice ?? DASH, place)));
    select.addEventListener("change", filter);
    label.append(column.title, select);
    form.append(label);
    return select;
  });

  function filter() {
    const wanted = selects.flatMap((select, c) => (select?.value ? [[c, Number(select.value)]] : []));
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) haystack ??= Array.from(order, (_, row) => columns.map((_, c) => text(c, row)).join("\n").toLowerCase());
    found = order.filter((row) => wanted.every(([c, place]) => rows[c][row] === place)
      && words.every((word) => haystack[row].includes(word)));
    shown = PAGE;
    show();
  }

  function show() {
    const lines = found.slice(0, shown).map((row) => {
      const line = document.createElement("tr");
      columns.forEach((column, c) => {
        const cell = document.createElement(c === 0 ? "th" : "td");
        if (c === 0) cell.scope = "row";
        if (column.kind !== "text") cell.className = "number";
        cell.textContent = text(c, row);
        line.append(cell);
      });
      return line;
    });
    table.tBodies[0].replaceChildren(...lines);
    const count = (n) => n.toLocaleString("en");
    const of = found.length === total ? "" : `, of ${count(total)} in all`;
    explorer.querySelector(".count").textContent = found.length
      ? `Showing ${count(lines.length)} of ${count(found.length)} rows${of}.` : `No row fits${of}.`;
    more.hidden = lines.length === found.length;
  }

  sortButtons(table, (column, sign) => {
    order = order.toSorted((a, b) => compare(value(column, a), value(column, b), sign));
    filter();
  });
  search.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => { shown += PAGE; show(); });
  form.hidden = false;
  show();
}
