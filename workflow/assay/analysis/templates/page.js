"use strict";
(() => {
  const root = document.documentElement;

  // The theme: the system's, unless the reader chose one; file pages may have no storage.
  const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* none */ } };
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const button = document.querySelector("button.theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "Light page" : "Dark page"; };
  if (remembered()) root.dataset.theme = remembered();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();

  // Sorting: a button in each header; a third press brings the written order back.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === "" ? null : isNaN(text) ? text.toLowerCase() : Number(text);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return a === b ? 0 : a === null ? Infinity : -Infinity;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const written = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const press = document.createElement("button");
      press.type = "button";
      press.append(...head.childNodes);
      head.append(press);
      press.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[head.ariaSort] ?? null;
        const order = head.ariaSort ? next : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        const rows = [...written];
        if (order) {
          head.setAttribute("aria-sort", order);
          const sign = order === "ascending" ? 1 : -1;
          rows.sort((a, b) => {
            const result = compare(valueOf(a, column), valueOf(b, column));
            return Math.abs(result) === Infinity ? result : sign * result; // empty cells stay last
          });
        }
        body.append(...rows);
      });
    });
  }

  // Filtering a ledger by verdict and by words; what is typed must all occur in a row.
  for (const form of document.querySelectorAll("form.controls")) {
    const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const filter = () => {
      const verdict = form.elements.verdict.value;
      const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        const match = (!verdict || row.dataset.verdict === verdict)
          && words.every((word) => texts[i].includes(word));
        row.hidden = !match;
        shown += match;
      });
      form.elements.shown.value = `${shown} of ${rows.length} rows`;
    };
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
  }
})();
