// Does it fit: narrow screens, the size of letters, paper.

import { openDetails } from "./browser.mjs";

const WIDTHS = [[360, 740], [768, 1024], [1280, 900]];
const TEXT_PX = 11, FIGURE_PX = 9, PAPER_PX = 8;
const SHEET = { format: "A4", margin: { top: "1cm", bottom: "1cm", left: "1cm", right: "1cm" }, printBackground: true };
const SHEET_PX = 718; // what A4 leaves between such margins, at 96 px an inch

/** At no width does the page scroll sideways; what is wider than the screen scrolls in a region that has the keyboard's focus. */
export async function checkWidths(page, log) {
  for (const state of ["as loaded", "details open"]) {
    if (state === "details open") await openDetails(page);
    for (const [width, height] of WIDTHS) {
      await page.setViewportSize({ width, height });
      const { wide, stuck } = await page.evaluate(sideways);
      log.check(`${width} px, ${state}: no sideways scrolling`, wide);
      log.check(`${width} px, ${state}: regions that scroll have a tab stop`, stuck);
      if (state === "details open") await checkLetters(page, log, width);
    }
  }
}

function sideways() {
  const name = (e) => `${e.tagName.toLowerCase()}${e.id ? `#${e.id}` : ""}.${e.getAttribute("class") ?? ""} in #${e.closest("[id]")?.id}: ${e.textContent.trim().slice(0, 60)}`;
  const root = document.scrollingElement, wide = [], stuck = [];
  const scrolls = (e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  if (root.scrollWidth > root.clientWidth) {
    wide.push(`the page is ${root.scrollWidth} px wide`);
    for (const e of document.body.querySelectorAll("*")) {
      let inside = e.parentElement;
      while (inside && !["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(inside).overflowX)) inside = inside.parentElement;
      if (!inside && e.getBoundingClientRect().right > root.clientWidth + 0.5 && wide.length < 5) wide.push(name(e));
    }
  }
  for (const e of document.body.querySelectorAll("*")) {
    const over = e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1;
    if (over && scrolls(e) && e.tabIndex < 0 && !e.querySelector("a[href], button, input, summary, [tabindex='0']") && stuck.length < 5) stuck.push(name(e));
  }
  return { wide, stuck };
}

/** No letter is too small to read, as drawn: figures shrink with the screen. */
async function checkLetters(page, log, width) {
  const { text, figure } = await page.evaluate(smallest);
  const small = (found, least) => (found && found.px < least - 0.01 ? [`${found.px.toFixed(1)} px: ${found.where}`] : []);
  log.check(`${width} px: letters have ${TEXT_PX} px, in figures ${FIGURE_PX} px`, [...small(text, TEXT_PX), ...small(figure, FIGURE_PX)]);
  const size = (found) => (found ? `${found.px.toFixed(1)} px (${found.where})` : "none");
  log.note(`${width} px: smallest text ${size(text)}, in figures ${size(figure)}`);
}

function smallest() {
  const least = { text: null, figure: null };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("script, style, title, desc, .visually-hidden")) continue;
    const svg = element.closest("svg");
    const matrix = svg && element.getScreenCTM();
    const scale = svg ? Math.hypot(matrix.a, matrix.b) : 1;
    const px = parseFloat(getComputedStyle(element).fontSize) * scale, kind = svg ? "figure" : "text";
    if (!least[kind] || px < least[kind].px - 0.001)
      least[kind] = { px, where: `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""} "${node.data.trim().slice(0, 40)}" in ${element.closest("section[id], header, footer")?.id || "footer"}` };
  }
  return least;
}

/** On paper everything is there, without what only a screen can use. */
export async function checkPrint(page, log) {
  await page.emulateMedia({ media: "print" });
  await page.setViewportSize({ width: SHEET_PX, height: 1047 });
  const { closed, shown, width, wide } = await page.evaluate(onPaper);
  log.check("print: details show their content", closed);
  log.check("print: contents, skip link and filters are hidden", shown);
  await checkPaperLetters(page, log, width, wide);
  await page.emulateMedia({ media: null });
  const pdf = await page.pdf(SHEET);
  const pages = pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
  log.check("print: a PDF can be made", pdf.subarray(0, 5).toString() === "%PDF-" && pages > 0 ? [] : ["no pages"]);
  log.note(`print: ${pages} pages, ${pdf.length} bytes`);
}

/** Chromium shrinks a page until its widest table fits on the sheet, and all letters with it. */
async function checkPaperLetters(page, log, width, wide) {
  const shrunk = Math.min(1, SHEET_PX / width);
  const { text } = await page.evaluate(smallest);
  const problem = `${(text.px * shrunk).toFixed(1)} px, for ${width} px must fit into ${SHEET_PX}: ${text.where}; wide: ${wide.join(" | ")}`;
  log.check(`print: letters have ${PAPER_PX} px on A4`, text.px * shrunk < PAPER_PX ? [problem] : []);
  log.note(`print: ${width} px shrink by ${shrunk.toFixed(2)}, smallest text to ${(text.px * shrunk).toFixed(1)} px`);
}

function onPaper() {
  const closed = [...document.querySelectorAll("details")].flatMap((details) =>
    [...details.children]
      .filter((child) => !child.matches("summary, .filter"))
      .filter((child) => !child.checkVisibility({ contentVisibilityAuto: true }) || details.offsetHeight < child.offsetHeight || child.offsetHeight === 0)
      .map(() => details.querySelector("summary").textContent.trim()),
  );
  const shown = [...document.querySelectorAll(".contents, .skip, .filter, nav")].filter((e) => e.checkVisibility()).map((e) => e.className);
  const sheet = document.scrollingElement;
  const wide = [...document.querySelectorAll("table, figure, pre, p, dl")].filter((e) => e.getBoundingClientRect().right > sheet.clientWidth);
  const names = wide.map((e) => `${e.localName}.${e.className} ${(e.caption ?? e).textContent.trim().slice(0, 30)} (${Math.round(e.getBoundingClientRect().right)})`);
  return { closed: [...new Set(closed)], shown, width: sheet.scrollWidth, wide: names };
}
