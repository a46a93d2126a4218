// Opens the page in a headless Chromium, waits for its verdict, and keeps a picture of it.
// `node drive.mjs URL CHROMIUM PICTURE`; exits 1 if a row is wrong or the console says an error
// that no row asked for.

import puppeteer from 'puppeteer-core';

const [url, executablePath, picture] = process.argv.slice(2);
// Root may not use Chromium's sandbox, and the page is our own.
const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-quic'] });
let failed = false;
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1100, height: 800 });
  page.on('pageerror', (error) => { failed = true; console.error(`page: ${error.message}`); });
  await page.goto(url);
  await page.waitForFunction(() => document.body.dataset.done !== undefined, { timeout: 60_000 });
  const rows = await page.$$eval('#rows tr', (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
  for (const [what, result, seen] of rows) {
    console.log(`${result.padEnd(6)} ${what}: ${seen}`);
    failed ||= result !== 'right';
  }
  failed ||= rows.length === 0;
  await page.screenshot({ path: picture, fullPage: true });
  // With the connections of a page still open, and one of them endless.
  await page.evaluate(() => { globalThis.left = new EventSource('/events?forever'); });
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
