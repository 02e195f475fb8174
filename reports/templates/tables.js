// Tables that sort (data-sort) and filter (data-filter). Without this script they are the same tables, in the order of the report.
(() => {
  "use strict";
  const order = new Intl.Collator("en", { numeric: true });
  const make = (name, properties) => Object.assign(document.createElement(name), properties);

  // The number that a cell begins with, after a bound or a sign; NaN for any other text.
  const number = (text) => {
    const found = /^\s*[>≥+]?\s*([-−]?[\d,]*\.?\d+)/.exec(text);
    return found ? Number(found[1].replace("−", "-").replaceAll(",", "")) : NaN;
  };

  // The header cells of single columns, by column: some span rows, others stand under a common head.
  const heads = (table) => {
    const columns = [], taken = [];
    [...table.tHead.rows].forEach((row, y) => {
      let x = 0;
      for (const cell of row.cells) {
        while ((taken[y] ||= [])[x]) x++;
        for (let down = 0; down < cell.rowSpan; down++)
          for (let across = 0; across < cell.colSpan; across++) (taken[y + down] ||= [])[x + across] = true;
        if (cell.colSpan === 1 && cell.scope === "col") columns[x] = cell;
        x += cell.colSpan;
      }
    });
    return columns;
  };

  // Numbers before texts, texts by their letters, nothing (–) last, whichever way: reversing keeps equals in order.
  const sort = (table, column, down) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => {
      const text = row.cells[column].textContent.trim();
      return { row, text, value: number(text), none: text === "" || text.startsWith("–") };
    });
    const numeric = rows.every((r) => r.none || !Number.isNaN(r.value));
    const compare = (a, b) => (numeric ? a.value - b.value : order.compare(a.text, b.text));
    rows.sort((a, b) => a.none - b.none || (a.none ? 0 : down ? compare(b, a) : compare(a, b)));
    body.append(...rows.map((r) => r.row));
  };

  for (const table of document.querySelectorAll("table[data-sort]")) {
    const columns = heads(table);
    columns.forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        columns.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, column, down);
      });
    });
  }

  document.querySelectorAll("table[data-filter]").forEach((table, place) => {
    const words = (row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: words(row) }));
    const input = make("input", { type: "search", id: `filter-${place}`, autocomplete: "off", spellcheck: false });
    const output = make("output", { htmlFor: input.id });
    const label = make("label", { htmlFor: input.id, textContent: "Filter rows" });
    const shown = make("div", { className: "filter" });
    const update = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const { row, text } of rows) count += !(row.hidden = !wanted.every((word) => text.includes(word)));
      output.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
    };
    shown.append(label, input, output);
    (table.closest(".scroll") || table).before(shown);
    input.addEventListener("input", update);
    update();
  });
})();
