// Can everybody read and reach it: axe-core, the dark scheme, the keyboard.

import axe from "axe-core";
import { openDetails, reload } from "./browser.mjs";

const ROWS = 100; // more rows of a table are like these, and axe would take minutes
const COLOURS = ["color-contrast", "link-in-text-block"]; // all rules that a colour scheme can break

/** axe-core's findings: all rules as loaded, and with all details open on a telephone; in the dark scheme those on colours. */
export async function checkAxe(page, log) {
  await page.evaluate(axe.source);
  const cut = await page.evaluate((rows) => {
    const extra = [...document.querySelectorAll("tbody")].flatMap((body) => [...body.rows].slice(rows));
    extra.forEach((row) => row.remove());
    return extra.length;
  }, ROWS);
  if (cut) log.note(`axe sees the first ${ROWS} rows of a table; ${cut} rows are left out`);
  await axeRun(page, log, "light", 1280, "as loaded");
  await openDetails(page);
  await axeRun(page, log, "light", 360, "details open");
  for (const width of [1280, 360]) await axeRun(page, log, "dark", width, "details open, colours", COLOURS);
}

async function axeRun(page, log, scheme, width, state, rules) {
  await page.emulateMedia({ colorScheme: scheme });
  await page.setViewportSize({ width, height: width < 500 ? 740 : 900 });
  const options = { resultTypes: ["violations"], preload: false, ...(rules && { runOnly: rules }) };
  const { violations } = await page.evaluate((o) => axe.run(document, o), options);
  const lines = (impacts) => violations.filter((v) => impacts.includes(v.impact)).flatMap((v) => v.nodes.slice(0, 4).map((node) => finding(v, node)));
  log.check(`axe: ${scheme}, ${width} px, ${state}`, lines(["critical", "serious"]));
  for (const line of lines(["moderate", "minor"])) log.note(`axe: ${line}`);
}

const finding = (rule, node) =>
  `${rule.impact} ${rule.id} (${rule.nodes.length}×): ${node.target.join(" ")}: ${node.html.slice(0, 120)}: ${node.failureSummary.split("\n")[1]?.trim()}`;

/** In the dark scheme paper is dark and ink is light; the letters of figures stand out in both schemes. */
export async function checkColours(page, log) {
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    const { paper, ink, faint } = await page.evaluate(inkAndPaper);
    const right = scheme === "dark" ? paper < 0.1 && ink > 0.5 : paper > 0.8 && ink < 0.1;
    log.check(`${scheme} scheme: paper, ink and the letters of figures`, [
      ...(right ? [] : [`luminance of the paper ${paper.toFixed(2)}, of the ink ${ink.toFixed(2)}`]),
      ...faint,
    ]);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

function inkAndPaper() {
  const parts = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.startsWith("rgba")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = new Set();
  for (const text of document.querySelectorAll("svg text")) {
    const [a, b] = [luminance(getComputedStyle(text).fill), luminance(behind(text))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.add(`contrast ${ratio.toFixed(2)} of text.${text.getAttribute("class")} in ${text.closest("[aria-label]")?.getAttribute("aria-label")}`);
  }
  const style = getComputedStyle(document.body);
  return { paper: luminance(style.backgroundColor), ink: luminance(style.color), faint: [...faint].slice(0, 6) };
}

/** Tab goes to the skip link, the contents, and in the end to everything that can be used; each stop can be seen. */
export async function checkKeyboard(page, log) {
  await reload(page);
  await page.setViewportSize({ width: 1280, height: 900 });
  await openDetails(page);
  const stops = await page.evaluate(() => {
    window.stops = [...document.querySelectorAll("a[href], button, input, summary, [tabindex='0']")].filter((e) => e.checkVisibility());
    return window.stops.map((e) => `${e.tagName.toLowerCase()} ${(e.textContent || e.getAttribute("aria-label") || e.id).trim().slice(0, 60)}`);
  });
  const links = await page.evaluate(() => document.querySelectorAll(".contents a").length);
  const { visited, unseen } = await walk(page, stops.length * 2 + 20);
  const expected = [...Array(links + 1).keys()];
  log.check("keyboard: Tab reaches the skip link, then the contents", [
    ...(stops[0]?.startsWith("a Skip") && links > 0 ? [] : [`first stop: ${stops[0]}, links in the contents: ${links}`]),
    ...(expected.every((stop, place) => visited[place] === stop) ? [] : [`the first stops are ${visited.slice(0, links + 1).map((v) => stops[v] ?? "another element").join(" | ")}`]),
  ]);
  const missed = stops.filter((_, place) => !visited.includes(place));
  log.check(`keyboard: Tab reaches all ${stops.length} links, buttons, fields and regions`, missed.slice(0, 6).map((m) => `never reached: ${m}`));
  log.check("keyboard: focus can be seen", [...new Set(unseen)].slice(0, 6).map((place) => `no outline, or off the screen: ${stops[place] ?? "another element"}`));
}

/** The places in `window.stops` that pressing Tab goes through until it leaves the page, and those without a visible mark. */
async function walk(page, limit) {
  const visited = [], unseen = [];
  for (let pressed = 0; pressed < limit; pressed++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      const style = getComputedStyle(element), box = element.getBoundingClientRect();
      const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
      return { place: window.stops.indexOf(element), seen: marked && box.right > 0 && box.bottom > 0 && box.top < innerHeight && box.width > 0 };
    });
    if (stop === null || (pressed > 0 && stop.place === visited[0])) break;
    visited.push(stop.place);
    if (!stop.seen) unseen.push(stop.place);
  }
  return { visited, unseen };
}
