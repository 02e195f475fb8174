// Nothing but our own markup: what strangers wrote stays text.

/** Elements that a report never has; a form's elements are those of sort buttons and filters. */
const FOREIGN = "img, iframe, frame, object, embed, link, base, form, video, audio, source, portal, dialog, template, foreignObject, image, animate, set, select, textarea, math, svg a, svg script, svg style";
const INVISIBLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

export async function checkMarkup(page, log) {
  const found = await page.evaluate((foreign) => {
    const all = [...document.querySelectorAll("*")];
    const name = (e) => e.outerHTML.slice(0, 100);
    const styles = document.querySelectorAll("style").length;
    const policy = document.querySelector("meta[http-equiv='Content-Security-Policy']")?.content ?? "";
    return {
      foreign: [
        ...[...document.querySelectorAll(foreign)].map(name),
        ...[...document.querySelectorAll("button, input, label, output")].filter((e) => !e.matches("th > button.sort, div.filter > *")).map(name),
        ...all.filter((e) => [...e.attributes].some((a) => /^on|^srcdoc$|^src$|^action$|^formaction$/i.test(a.name))).map(name),
        ...all.filter((e) => /url\s*\(\s*(?!["']?#)|expression|@import/i.test(e.getAttribute("style") ?? "")).map(name),
        ...[...document.scripts].filter((s) => s !== document.body.lastElementChild).map(name),
        ...(styles > 1 ? [`${styles} style sheets`] : []),
      ],
      policy: /^default-src 'none'; style-src 'unsafe-inline'(; script-src 'sha256-[\w+/=]+')?$/.test(policy) ? [] : [policy || "none"],
      links: all.filter((e) => e.hasAttribute("href") || e.hasAttribute("xlink:href")).filter((e) => !/^#/.test(e.getAttribute("href") ?? e.getAttribute("xlink:href"))).map(name),
      broken: all.filter((e) => e.matches("a[href^='#']") && !document.getElementById(decodeURIComponent(e.hash.slice(1)))).map(name),
      text: `${document.title}\n${document.body.innerText}\n${document.body.textContent}`,
    };
  }, FOREIGN);
  const odd = [...new Set(found.text.match(INVISIBLE) ?? [])].map((c) => `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
  log.check("markup: only our own elements", found.foreign.slice(0, 5));
  log.check("markup: a content policy that allows nothing but its own style and script", found.policy);
  log.check("markup: links stay in the page and arrive", [...found.links, ...found.broken].slice(0, 5));
  log.check("text: no control and no bidi characters", odd);
}
