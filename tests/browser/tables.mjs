// Tables sort and filter as they say, by mouse and by keyboard; without JavaScript they are the same tables.

import { openDetails } from "./browser.mjs";

const ALL_COLUMNS_UP_TO = 300; // rows; of longer tables every third column is tried

/** Every `table[data-sort]` and `table[data-filter]`, against orders and counts that are worked out here. */
export async function checkTables(page, log) {
  await openDetails(page);
  const tables = await page.evaluate(describe);
  const sortable = tables.filter((t) => t.sort), filterable = tables.filter((t) => t.filter);
  if (!tables.some((t) => t.sort || t.filter)) return log.note("no table sorts or filters");
  const unsorted = [], unfiltered = [];
  let columns = 0;
  for (const table of sortable) {
    unsorted.push(...table.heads.flatMap((h) => (h.button ? [] : [`${table.name}: no button in the head “${h.text}”`])));
    const few = table.rows > ALL_COLUMNS_UP_TO;
    for (const [column, head] of table.heads.entries()) {
      if (!head.button || (few && column % 3 !== 0)) continue;
      columns += 1;
      for (const direction of ["ascending", "descending"]) unsorted.push(...(await sortProblems(page, table, column, direction)));
    }
  }
  log.check(`tables: ${sortable.length} sort, by ${columns} columns tried both ways`, unsorted.slice(0, 8));
  for (const table of filterable) unfiltered.push(...(await filterProblems(page, table)));
  log.check(`tables: ${filterable.length} filter`, unfiltered.slice(0, 8));
  const first = sortable.find((table) => table.heads[0]?.button);
  if (first) log.check("tables: sort by Enter and Space", await keyProblems(page, first));
}

/** Tables in the order of the document. `heads` are the heads of single columns, from left to right. */
function describe() {
  window.tables = [...document.querySelectorAll("table")];
  window.items = (table) => (table.tBodies.length > 1 ? [...table.tBodies] : [...table.tBodies[0].rows]);
  window.heads = (table) => {
    // where a column has several, the lowest: cells of the head by their place on the screen
    const single = [...(table.tHead?.querySelectorAll("th[scope=col]") ?? [])].filter((th) => th.colSpan === 1);
    return single.sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left);
  };
  return window.tables.map((table, place) => ({
    place,
    name: table.caption?.textContent.trim().slice(0, 60) ?? `table ${place}`,
    sort: table.matches("[data-sort]"),
    filter: table.matches("[data-filter]"),
    rows: table.rows.length,
    heads: window.heads(table).map((th) => ({
      text: th.textContent.trim(),
      button: th.querySelectorAll("button[type=button]").length === 1,
    })),
  }));
}

async function sortProblems(page, table, column, direction) {
  const seen = await page.evaluate(sortBy, [table.place, column]);
  const where = `${table.name}: “${table.heads[column].text}” ${direction}`;
  if (seen.gap) return [`${where}: a row has no cell there`];
  const aria = seen.aria.map((value, place) => (place === column ? value === direction : value === null || value === "none"));
  const expected = sorted(seen.before, seen.numeric, direction === "descending");
  const wrong = expected.findIndex((item, place) => item !== seen.after[place]);
  const text = (item) => seen.before[item]?.text.slice(0, 40);
  return [
    ...(aria.every(Boolean) ? [] : [`${where}: aria-sort is ${seen.aria}`]),
    ...(wrong < 0 ? [] : [`${where}: row ${wrong + 1} is “${text(seen.after[wrong])}”, should be “${text(expected[wrong])}”`]),
  ];
}

/** Clicks a head's button, and tells the column's cells before and the order after. */
function sortBy([place, column]) {
  const table = window.tables[place], items = window.items(table), heads = window.heads(table);
  const cell = (item) => (item.rows ? item.rows[0] : item).cells[column];
  const firstText = (node) => {
    const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) if (walker.currentNode.data.trim()) return walker.currentNode.data.trim();
    return "";
  };
  if (!items.every(cell)) return { gap: true };
  const before = items.map(cell).map((td) => ({ text: td.textContent.trim(), lead: td.dataset.v ?? firstText(td) }));
  heads[column].querySelector("button").click();
  const places = new Map(items.map((item, at) => [item, at]));
  return {
    before,
    numeric: heads[column].classList.contains("num"),
    after: window.items(table).map((item) => places.get(item)),
    aria: heads.map((th) => th.getAttribute("aria-sort")),
  };
}

/** Stable order of items: by number in columns of numbers, by letters in others; a cell that says nothing comes last both ways. */
function sorted(cells, declaredNumeric, descending) {
  const empty = (cell) => cell.text === "" || cell.text === "–";
  const number = (cell) => {
    const found = /^[>≥<≤+~≈\s]*([-−]?)((?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?)/i.exec(cell.lead);
    return found ? (found[1] ? -1 : 1) * Number(found[2].replaceAll(",", "")) : NaN;
  };
  const numeric = declaredNumeric || cells.every((cell) => empty(cell) || !Number.isNaN(number(cell)));
  const letters = new Intl.Collator("en", { numeric: true });
  const last = (cell) => empty(cell) || (numeric && Number.isNaN(number(cell)));
  const compare = (a, b) => (numeric ? number(a) - number(b) : letters.compare(a.text, b.text)) * (descending ? -1 : 1);
  return cells
    .map((_, place) => place)
    .sort((a, b) => last(cells[a]) - last(cells[b]) || (last(cells[a]) ? 0 : compare(cells[a], cells[b])) || a - b);
}

async function filterProblems(page, table) {
  const field = await page.evaluate(findField, table.place);
  if (field.problem) return [`${table.name}: ${field.problem}`];
  const input = page.locator(`[id="${field.id}"]`);
  const problems = [];
  for (const typed of [...field.words, "zzq-no-such-row", ""]) {
    await input.fill(typed);
    const seen = await page.evaluate(readFilter, table.place);
    const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
    const expected = seen.rows.map((row) => words.every((word) => row.text.includes(word)));
    const count = `${expected.filter(Boolean).length.toLocaleString("en")} of ${seen.rows.length.toLocaleString("en")} rows`;
    const wrong = seen.rows.find((row, place) => row.shown !== expected[place]);
    if (wrong) problems.push(`${table.name}: “${typed}” ${wrong.shown ? "leaves" : "hides"} “${wrong.text.slice(0, 60)}”`);
    if (seen.output !== count) problems.push(`${table.name}: “${typed}” says “${seen.output}”, should say “${count}”`);
  }
  return problems;
}

/** The filter that stands before a table, and words to type: one, two of a row in the middle (one in capitals), a part of a word. */
function findField(place) {
  const table = window.tables[place];
  const filter = [...document.querySelectorAll("div.filter")].findLast((f) => f.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING);
  const between = window.tables.find((t) => t !== table && filter && filter.compareDocumentPosition(t) & Node.DOCUMENT_POSITION_FOLLOWING && t.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING);
  const input = filter?.querySelector("input[type=search]");
  if (!input || between) return { problem: "no search field before it" };
  if (!input.labels?.[0]?.textContent.trim()) return { problem: "its search field has no label" };
  if (!filter.querySelector("output")) return { problem: "no output says how many rows are shown" };
  const items = window.items(table), row = items[Math.floor(items.length / 2)];
  const words = (row.rows ? row.rows[0] : row).innerText.split(/\s+/).filter((w) => w.length > 1);
  const [first, last] = [words[0] ?? "a", words.at(-1) ?? "b"];
  window.filters = { ...window.filters, [place]: filter };
  return { id: input.id, words: [first, `${last.toUpperCase()}  ${first}`, first.slice(0, -1)] };
}

function readFilter(place) {
  const items = window.items(window.tables[place]);
  const text = (item) => [...item.querySelectorAll("th, td")].map((cell) => cell.textContent).join(" ").toLowerCase();
  return {
    rows: items.map((item) => ({ text: text(item), shown: item.offsetHeight > 0 })),
    output: window.filters[place].querySelector("output").textContent.trim(),
  };
}

async function keyProblems(page, table) {
  await page.evaluate(([place]) => window.heads(window.tables[place])[0].querySelector("button").focus(), [table.place]);
  const state = () => page.evaluate(([place]) => window.heads(window.tables[place])[0].getAttribute("aria-sort"), [table.place]);
  const before = await state();
  await page.keyboard.press("Enter");
  const entered = await state();
  await page.keyboard.press("Space");
  const spaced = await state();
  const turned = entered !== before && spaced !== entered && [entered, spaced].sort().join() === "ascending,descending";
  return turned ? [] : [`Enter: ${before} → ${entered}, Space: → ${spaced}`];
}

/** With JavaScript switched off: the same rows, and nothing to press that does nothing. */
export async function checkWithoutScript(page, plain, log) {
  const rows = () => [...document.querySelectorAll("table")].map((t) => [...t.rows].map((r) => [...r.cells].map((c) => c.textContent.trim()).join("|")));
  const [with_, without] = [await page.evaluate(rows), await plain.evaluate(rows)];
  const dead = await plain.evaluate(() => document.querySelectorAll("button, input, select, textarea, output, .filter").length);
  log.check("without JavaScript: the same tables, nothing dead", [
    ...(JSON.stringify(with_) === JSON.stringify(without) ? [] : ["tables differ"]),
    ...(dead ? [`${dead} buttons or fields that do nothing`] : []),
  ]);
}
