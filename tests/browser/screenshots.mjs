// Pictures of reports: to look at, and the one in the README.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

const README = { report: "reports/quickstart/report.html", picture: "reports/quickstart/screenshot.png", width: 1000, height: 900 };

/** A report on a laptop in both schemes, on a telephone, and whole. */
export async function takeScreenshots(page, folder, name) {
  mkdirSync(folder, { recursive: true });
  const shoot = async (kind, colorScheme, width, height, fullPage = false) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: join(folder, `${name}-${kind}.png`), fullPage });
  };
  await shoot("light", "light", 1280, 900);
  await shoot("dark", "dark", 1280, 900);
  await shoot("phone", "light", 360, 740);
  await shoot("full", "light", 1280, 900, true);
}

/** Makes the README's picture again. */
export async function takeReadme(openPage, root) {
  const page = await openPage(join(root, README.report));
  await page.setViewportSize({ width: README.width, height: README.height });
  await page.screenshot({ path: join(root, README.picture) });
  await page.context().close();
  console.log(`made ${README.picture}`);
}
