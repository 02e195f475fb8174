// Checks reports in Chromium: `node report.mjs [--screenshots DIR] [--readme] FILE-OR-FOLDER…`; HTML and Markdown files, folders whole.
// One line for each check; exit code 1 where any fails.

import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { checkAxe, checkColours, checkKeyboard } from "./access.mjs";
import { close, launch, open, reload } from "./browser.mjs";
import { checkPrint, checkWidths } from "./layout.mjs";
import { Log } from "./log.mjs";
import { checkMarkdown } from "./markdown.mjs";
import { checkMarkup } from "./markup.mjs";
import { takeReadme, takeScreenshots } from "./screenshots.mjs";
import { checkTables, checkWithoutScript } from "./tables.mjs";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const LARGEST = 5_000_000; // bytes
const AT_ONCE = 2; // files

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: "string" }, readme: { type: "boolean" } },
});

/** The HTML and Markdown files in a folder, in order; a file itself. */
function reports(path) {
  if (!statSync(path).isDirectory()) return [path];
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter((e) => e.isFile() && /\.(html|md)$/.test(e.name));
  return files.map((e) => join(e.parentPath ?? e.path, e.name)).sort();
}

/** Everything; of what is `hostile` only what strangers' text could break, as the templates are the same. */
async function checkHtml(browser, file, log, { hostile }) {
  const url = pathToFileURL(resolve(file)).href;
  const page = await open(browser, url);
  const load = await timing(page, file, log);
  const plain = await open(browser, url, { javaScriptEnabled: false });
  await checkWithoutScript(page, plain, log);
  await close(plain);
  await checkMarkup(page, log);
  await checkWidths(page, log);
  if (!hostile) await checkLooks(page, file, log);
  log.check("silent: no messages, requests, dialogs or navigations", await close(page));
  return load;
}

async function checkLooks(page, file, log) {
  await checkColours(page, log);
  await reload(page);
  await checkPrint(page, log);
  await reload(page);
  if (options.screenshots) await takeScreenshots(page, options.screenshots, relative(ROOT, file).replaceAll(/[^\w-]+/g, "-"));
  await checkAxe(page, log);
  await checkKeyboard(page, log);
  await checkTables(page, log);
}

async function timing(page, file, log) {
  const { size } = statSync(file);
  const times = await page.evaluate(async () => {
    await new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(painted)));
    const [navigation] = performance.getEntriesByType("navigation");
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    return { parsed: navigation.domContentLoadedEventEnd, painted: paint?.startTime ?? NaN, loaded: navigation.loadEventEnd };
  });
  const ms = (t) => (Number.isNaN(t) ? "not yet" : `${Math.round(t)} ms`);
  const line = `${size} bytes, parsed after ${ms(times.parsed)}, first painted ${ms(times.painted)}, loaded ${ms(times.loaded)}`;
  log.note(line);
  log.check("at most 5 MB", size > LARGEST ? [`${size} bytes`] : []);
  return { size, line };
}

async function checkFile(browser, file) {
  const log = new Log(relative(process.cwd(), file));
  const hostile = [file, dirname(file)].some((path) => basename(path).startsWith("hostile"));
  try {
    if (file.endsWith(".md")) await checkMarkdown(browser, file, log, { hostile });
    else log.load = await checkHtml(browser, file, log, { hostile });
  } catch (error) {
    log.check("can be checked to the end", [error.stack ?? String(error)]);
  }
  log.print();
  return log;
}

const browser = await launch();
if (options.readme) await takeReadme((file) => open(browser, pathToFileURL(file).href), ROOT);
const started = Date.now(), files = positionals.flatMap(reports), logs = [];
const worker = async () => {
  for (let file = files.shift(); file; file = files.shift()) logs.push(await checkFile(browser, file));
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));
await browser.close();

const sum = (what) => logs.reduce((total, log) => total + log[what], 0);
const largest = logs.filter((log) => log.load).sort((a, b) => b.load.size - a.load.size)[0];
if (largest) console.log(`largest: ${largest.file}: ${largest.load.line}`);
console.log(`${logs.length} files, ${sum("checks")} checks, ${sum("failed")} failed, ${Math.round((Date.now() - started) / 1000)} s`);
process.exitCode = sum("failed") || (logs.length === 0 && !options.readme) ? 1 : 0;
