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

  // Sorting: a button in each header; a third press brings the written order back. Numbers are in
  // data-value, empty where one is missing: what is missing stays last in either direction.
  const words = new Intl.Collator("en", { numeric: true });
  const valueOf = (row, column) => {
    const { dataset, textContent } = row.cells[column];
    if (dataset.value !== undefined) return dataset.value === "" ? null : Number(dataset.value);
    return textContent.trim() || null;
  };
  const compare = (a, b) => {
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return typeof a === "number" ? Math.sign(a - b) || 0 : words.compare(a, b);
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
          const values = new Map(rows.map((row) => [row, valueOf(row, column)]));
          rows.sort((one, other) => {
            const [a, b] = [values.get(one), values.get(other)];
            if (a === null || b === null) return (a === null) - (b === null);
            return sign * compare(a, b);
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
