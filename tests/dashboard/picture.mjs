// Takes a picture of a page that a terminal's contents were made into: `node picture.mjs CHROMIUM PAGE PICTURE`.

import { createRequire } from 'node:module';

const puppeteer = createRequire(new URL('../browser/package.json', import.meta.url))('puppeteer-core');
const [executablePath, path, picture] = process.argv.slice(2);
const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox'] });
try {
  const page = await browser.newPage();
  await page.goto(`file://${path}`);
  await page.addStyleTag({ content: 'pre { display: inline-block; font: 14px/1.2 "DejaVu Sans Mono", monospace; padding: 8px; margin: 0 }' });
  await (await page.$('pre')).screenshot({ path: picture });
} finally {
  await browser.close();
}
