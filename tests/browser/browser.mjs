// Chromium, and pages that are watched: whatever a report does beyond showing itself is written down.

import { chromium } from "playwright-core";

const FLAGS = [
  "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--no-sandbox",
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true, args: FLAGS });

/**
 * Opens `url` in a context of its own. `page.deeds` collects console warnings, errors, policy violations, dialogs, windows,
 * navigations and requests. `serve(url)` may answer a request with `{body, contentType}`; `url` itself is loaded as it is
 * unless served; everything else is aborted.
 */
export async function open(browser, url, { serve = () => null, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", locale: "en-US", ...options });
  const page = await context.newPage();
  page.deeds = [];
  const deed = (text) => page.deeds.push(text.slice(0, 300));
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && deed(`console ${m.type()}: ${m.text()}`));
  page.on("pageerror", (e) => deed(`script error: ${e.message}`));
  page.on("dialog", (d) => (deed(`dialog: ${d.message()}`), d.dismiss()));
  page.on("download", (d) => deed(`download: ${d.url()}`));
  context.on("page", (other) => other !== page && deed(`new window: ${other.url()}`));
  await watchProtocol(page, url, (u) => serve(u) !== null, deed);
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (e) => window.violations.push(`${e.violatedDirective}: ${e.blockedURI}`), true);
  });
  await page.route("**/*", (route) => {
    const wanted = route.request().url(), answer = serve(wanted);
    return answer ? route.fulfill(answer) : wanted === url ? route.continue() : route.abort();
  });
  await page.goto(url, { waitUntil: "load" });
  return page;
}

/** Requests and navigations as the browser itself tells them: data: URLs and frames do not pass through `route`. */
async function watchProtocol(page, url, served, deed) {
  const session = await page.context().newCDPSession(page);
  await Promise.all([session.send("Network.enable"), session.send("Page.enable")]);
  let asked = 0, shown = 0;
  session.on("Network.requestWillBeSent", ({ request }) => {
    if (served(request.url) ? false : request.url !== url || ++asked > page.loads) deed(`request: ${request.url}`);
  });
  session.on("Page.frameNavigated", ({ frame }) => {
    if (frame.parentId || frame.url !== url || ++shown > page.loads) deed(`navigation: ${frame.url}`);
  });
  page.loads = 1;
}

/** Loads the page again, as if nobody had touched it. */
export async function reload(page) {
  page.loads += 1;
  await page.reload({ waitUntil: "load" });
}

/** What the page did that it should not have done, and closes it. */
export async function close(page) {
  const violations = await page.evaluate(() => window.violations ?? []);
  await page.context().close();
  return [...new Set([...page.deeds, ...violations.map((v) => `content policy: ${v}`)])];
}

/** Opens every `<details>`, or puts them back. */
export const openDetails = (page) =>
  page.evaluate(() => document.querySelectorAll("details:not([open])").forEach((d) => (d.open = true)));
