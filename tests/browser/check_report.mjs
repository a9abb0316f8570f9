// Opens a report in Chromium and prints what a reader would find as JSON: one object per width and colour scheme.
//
//   node check_report.mjs MODULES CHROMIUM PAGE [SCREENSHOTS]
//
// MODULES is a folder whose node_modules has playwright-core and axe-core; SCREENSHOTS is a folder for pictures.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, executablePath, file, screenshots] = process.argv.slice(2);
const require = createRequire(join(modules, "modules.js"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const results = [];
for (const width of [400, 1400]) for (const colorScheme of ["light", "dark"]) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  const errors = [], requests = [];
  page.on("console", (message) => { if (message.type() !== "log") errors.push(message.text()); });
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("request", (request) => { if (!/^(file|data):/.test(request.url())) requests.push(request.url()); });
  await page.goto(pathToFileURL(file).href);
  if (screenshots) await page.screenshot({ path: join(screenshots, `${width}-${colorScheme}.png`), fullPage: true });
  const result = { width, colorScheme, errors, requests };
  result.background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  result.blank = await page.evaluate(() => [...document.images].filter((image) => !image.complete || !image.naturalWidth).length);
  result.images = await page.evaluate(() => document.images.length);
  result.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  result.smallest = await page.evaluate(() => Math.min(...[...document.querySelectorAll("main *")]
    .filter((element) => !element.closest("svg") && element.checkVisibility())
    .filter((element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .map((element) => parseFloat(getComputedStyle(element).fontSize))));

  // Sorting: by click and by keyboard, in both orders.
  const heading = page.locator('[id="board-artists-0:main"] th[data-name="CLIP"]');
  const column = () => page.evaluate(() => {
    const table = document.getElementById("board-artists-0:main");
    const index = [...table.tHead.rows[0].cells].findIndex((cell) => cell.dataset.name === "CLIP");
    return [...table.tBodies[0].rows].map((row) => row.cells[index].dataset.sort);
  });
  result.sorted = [];
  await heading.locator("button").click();
  result.sorted.push([await heading.getAttribute("aria-sort"), await column()]);
  await heading.locator("button").focus();
  await page.keyboard.press("Enter");
  result.sorted.push([await heading.getAttribute("aria-sort"), await column()]);
  await page.keyboard.press("Space");
  result.sorted.push([await heading.getAttribute("aria-sort"), await column()]);
  result.status = await page.locator("#status").textContent();

  // Copying.
  const copy = page.locator("button.copy").first();
  await copy.click();
  await page.waitForFunction(() => document.getElementById("status").textContent === "Copied.", null, { timeout: 5000 });
  result.copied = [await copy.getAttribute("data-copy"), await page.evaluate(() => navigator.clipboard.readText())];

  // A link to a run opens it.
  await page.locator('[id="board-artists-0:main"] tbody a').first().click();
  await page.locator("details.run[open]").first().waitFor({ timeout: 5000 }).catch(() => {});
  result.opened = await page.locator("details.run[open]").count();

  // Pictures show their text with focus, inside the window, and hide it with Escape.
  const picture = page.locator(".picture").first();
  const tip = page.locator(".tip").first();
  await picture.focus();
  const box = await tip.boundingBox();
  result.tip = { shown: await tip.isVisible(), text: await tip.textContent(),
    inside: box !== null && box.x >= 0 && box.x + box.width <= width && box.y + box.height <= 900 };
  await page.keyboard.press("Escape");
  result.tip.hidden = !(await tip.isVisible());
  await picture.hover();
  result.tip.hovered = await tip.isVisible();

  // The Tab key reaches every control that can be seen.
  await page.evaluate(() => { for (const box of document.querySelectorAll("details")) box.open = true; });
  const wanted = await page.evaluate(() => {
    const controls = [...document.querySelectorAll("a[href], button, summary, [tabindex='0']")];
    controls.forEach((control, index) => { control.dataset.control = index; });
    document.activeElement.blur();
    getSelection().removeAllRanges();
    return controls.filter((control) => control.checkVisibility()).map((control) => control.dataset.control);
  });
  const reached = new Set();
  await page.evaluate(() => { document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute("tabindex"); });
  for (let k = 0; k < wanted.length + 5; k++) {
    await page.keyboard.press("Tab");
    const control = await page.evaluate(() => document.activeElement.dataset.control);
    if (control !== undefined) reached.add(control);
  }
  result.unreached = await page.evaluate((missed) => missed.map((index) =>
    document.querySelector(`[data-control="${index}"]`).outerHTML.slice(0, 200)), wanted.filter((index) => !reached.has(index)));
  result.controls = wanted.length;

  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document));
  result.findings = found.violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.slice(0, 3).map((n) => n.html) }));
  results.push(result);
  await context.close();
}
await browser.close();
console.log(JSON.stringify(results));
