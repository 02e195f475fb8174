// Markdown reports as readers see them: rendered as GitHub does (micromark) and as VS Code does (markdown-it), raw HTML escaped and let through.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import MarkdownIt from "markdown-it";
import { micromark } from "micromark";
import { gfm, gfmHtml } from "micromark-extension-gfm";
import { close, open } from "./browser.mjs";

const github = (allowDangerousHtml) => (text) =>
  micromark(text, { allowDangerousHtml, allowDangerousProtocol: allowDangerousHtml, extensions: [gfm()], htmlExtensions: [gfmHtml()] });
const vscode = (html) => (text) => new MarkdownIt({ html, linkify: true }).render(text);
const RENDERERS = { "GitHub, HTML escaped": github(false), "GitHub, HTML let through": github(true), "VS Code, HTML escaped": vscode(false), "VS Code, HTML let through": vscode(true) };

const HOST = "http://report.test/";
const OURS = "p h1 h2 h3 h4 ul ol li table thead tbody tr th td code pre em strong del hr br a img blockquote html head meta title body style".split(" ");

/** Nothing injected comes through in any rendering, and tables are tables. */
export async function checkMarkdown(browser, file, log, { hostile }) {
  const text = readFileSync(file, "utf8");
  for (const [name, render] of Object.entries(RENDERERS)) {
    const page = await open(browser, `${HOST}report.html`, { serve: server(file, render(text)) });
    const found = await page.evaluate(inspect, OURS);
    log.check(`${name}: only our own elements, links and images`, [...found.foreign, ...found.links, ...found.images].slice(0, 6));
    log.check(`${name}: ${found.tables} tables, none left as text`, [...(found.tables > 5 ? [] : ["too few tables"]), ...found.raw]);
    const broken = await page.evaluate(() => [...document.images].filter((i) => !i.naturalWidth).map((i) => i.getAttribute("src")));
    if (!hostile || broken.length === 0) log.check(`${name}: figures are shown`, broken.slice(0, 5));
    log.check(`${name}: silent`, (await close(page)).filter((d) => !hostile || !d.includes("404")));
  }
}

/** Answers for the page and for the figures beside the Markdown file, and for nothing else. */
function server(file, html) {
  const page = `<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>report</title><style>td,th{border:1px solid}</style><body>${html}</body></html>`;
  return (url) => {
    if (url === `${HOST}report.html`) return { contentType: "text/html; charset=utf-8", body: page };
    if (url === `${HOST}favicon.ico`) return { status: 204 };
    const figure = /^http:\/\/report\.test\/(figures\/[a-z0-9.-]+\.svg)$/.exec(url);
    if (!figure) return null;
    const path = join(dirname(file), figure[1]);
    return existsSync(path) ? { contentType: "image/svg+xml", body: readFileSync(path) } : { status: 404 };
  };
}

function inspect(ours) {
  const name = (e) => e.outerHTML.slice(0, 120);
  const all = [...document.querySelectorAll("*")];
  const own = (a) => /^(#|figures\/[a-z0-9.-]+\.svg$)/.test(a.getAttribute("href") ?? "#");
  return {
    foreign: all.filter((e) => !ours.includes(e.localName) || [...e.attributes].some((a) => /^on|^style$/i.test(a.name)) && !/^text-align:(left|right|center)$/.test(e.getAttribute("style") ?? "")).map(name),
    links: [...document.querySelectorAll("[href]")].filter((a) => !own(a)).map(name),
    images: [...document.images].filter((i) => !/^figures\/[a-z0-9.-]+\.svg$/.test(i.getAttribute("src"))).map(name),
    tables: document.querySelectorAll("table").length,
    raw: [...new Set(document.body.innerText.match(/^.*\|\s*:?-{3,}:?\s*\|.*$/gm) ?? [])].map((line) => `left as text: ${line.slice(0, 80)}`),
  };
}
