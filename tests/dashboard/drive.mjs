// Uses the dashboard as an operator does. `node drive.mjs CORELANE CHROMIUM PICTURES`, with
// CORELANE_HOME set and the apps of `run` started; exits 1 at the first thing that is not right.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const puppeteer = createRequire(new URL('../browser/package.json', import.meta.url))('puppeteer-core');
const [corelane, executablePath, pictures] = process.argv.slice(2);
const PATIENCE = 20_000;

function call(...args) {
  try {
    return execFileSync(corelane, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    throw new Error(`corelane ${args.join(' ')}: ${error.stderr}`);
  }
}

const list = () => JSON.parse(call('list', '--json'));
const app = (name) => list().apps.find((app) => app.name === name);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function dashboard(listen) {
  const process = spawn(corelane, ['dashboard', '--listen', listen], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: process.stdout }), 'line');
  return { process, url: new URL(line) };
}

// What another program could ask, with whatever headers.
function ask(url, method, headers, body) {
  return new Promise((done, failed) => {
    const request = http.request(url, { method, headers }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: String(Buffer.concat(parts)) }));
    });
    request.on('error', failed);
    request.end(body);
  });
}

let step = 'the beginning';
function begin(what) {
  step = what;
}
function right() {
  console.log(`right  ${step}`);
}

let { process: server, url } = await dashboard('127.0.0.1:0');
const site = url.origin;
const token = url.searchParams.get('token');
const browser = await puppeteer.launch({ executablePath, args: ['--no-sandbox', '--disable-quic'] });

// Whatever a page complains of, but for what the steps bring about.
const complaints = [];
const expected = /401|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;

async function open() {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 840 });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && !expected.test(message.text())) complaints.push(message.text());
  });
  page.on('dialog', (dialog) => dialog.accept());
  return page;
}

const page = await open();
const until = (test, ...args) => page.waitForFunction(test, { timeout: PATIENCE, polling: 100 }, ...args);
const text = (selector) => page.$eval(selector, (element) => element.textContent);
const cells = () => page.$$eval('#apps tbody tr', (all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
const row = async (name) => (await cells()).find(([first]) => first === name);
const shows = (name, status) => until(
  (name, status) => [...document.querySelectorAll('#apps tbody tr')].some((row) => row.cells[0].textContent === name && row.cells[1].textContent === status),
  name,
  status,
);
const says = (part) => until((part) => document.querySelector('#message').textContent.includes(part), part);
const press = (verb) => page.click(`[data-verb="${verb}"]`);

try {
  begin('without the token there is a form, and nothing else');
  const bare = await ask(`${site}/`, 'GET', {});
  assert.equal(bare.status, 401);
  assert.match(bare.headers['content-security-policy'], /default-src 'none'/);
  assert.equal((await ask(`${site}/api/events`, 'GET', {})).status, 401);
  assert.equal((await ask(`${site}/?token=${'0'.repeat(32)}`, 'GET', {})).status, 401);
  await page.goto(site);
  await page.type('#token', 'wrong');
  await Promise.all([page.waitForNavigation(), page.click('button')]);
  assert.ok(await page.$('#token'), 'a wrong one is asked for again');
  right();

  begin('with the token there are the apps, and it is no longer in the address');
  await page.type('#token', token);
  await Promise.all([page.waitForNavigation(), page.click('button')]);
  assert.equal(page.url(), `${site}/`);
  await shows('shop', 'online');
  assert.deepEqual((await cells()).map(([name]) => name), list().apps.map((app) => app.name));
  const [cookie] = await page.cookies();
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax', JSON.stringify(cookie));
  right();

  begin('another site, or a verb for the command line, is refused');
  const headers = { cookie: `${cookie.name}=${cookie.value}`, 'content-type': 'application/json' };
  const stop = JSON.stringify({ verb: 'stop', apps: ['shop'] });
  for (const origin of [{}, { origin: 'http://elsewhere.example' }, { origin: 'null' }]) {
    assert.equal((await ask(`${site}/api/verb`, 'POST', { ...headers, ...origin }, stop)).status, 403);
  }
  const kill = JSON.stringify({ verb: 'kill' });
  assert.equal((await ask(`${site}/api/verb`, 'POST', { ...headers, origin: site }, kill)).status, 403);
  assert.equal((await ask(`${site}/api/verb`, 'POST', { ...headers, origin: site }, '{"verb":')).status, 400);
  assert.equal(app('shop').status, 'online');
  right();

  begin('requests, connections and workers are those of the manager');
  await until(() => Number(document.querySelector('[data-of="requests"] b').textContent) > 400);
  const shop = app('shop');
  const [, , , , workers, , , connections] = await row('shop');
  assert.equal(workers, '2 (2)');
  assert.equal(Number(connections), shop.connections);
  assert.equal(await page.$$eval('#workers tbody tr', (all) => all.length), 2);
  assert.match(await text('#about'), new RegExp(`${shop.listen[0]} · pid ${shop.pid}`));
  right();

  begin('an app that failed is shown with the reason');
  await page.click('#apps tbody tr[data-key="mail"]');
  await until(() => document.querySelector('#about').textContent.includes('exit'));
  right();

  begin('a log is followed, and what is in it is text');
  await page.click('#apps tbody tr[data-key="jobs"]');
  await until(() => document.querySelectorAll('#log div').length > 3);
  const before = await page.$$eval('#log div', (all) => all.length);
  await until((before) => document.querySelectorAll('#log div').length > before, before);
  assert.match(await text('#log div'), /^job \d+ <b>done<\/b> <img src=x onerror=/);
  assert.equal(await page.title(), 'corelane');
  right();

  begin('the buttons do what they say');
  await page.keyboard.press('k');
  await until(() => document.querySelector('#name').textContent === 'shop');
  await press('reload');
  await says('reloaded');
  assert.notEqual(app('shop').pid, shop.pid);
  await press('more');
  await says('scaled to 3');
  await until(() => document.querySelectorAll('#workers tbody tr').length === 3);
  await page.keyboard.press('-');
  await says('scaled to 2');
  await press('restart');
  await says('online');
  await page.click('#apps tbody tr[data-key="jobs"]');
  await press('stop');
  await shows('jobs', 'stopped');
  assert.equal(app('jobs').status, 'stopped');
  await press('start');
  await shows('jobs', 'online');
  await page.click('#apps tbody tr[data-key="shop"]');
  right();

  begin('a second browser sees the same');
  const other = await open();
  await other.goto(site);
  await other.waitForFunction(() => document.querySelectorAll('#apps tbody tr').length === 3, { timeout: PATIENCE });
  await other.close();
  right();

  begin('a dead manager is said, and the next one is found');
  process.kill(list().manager.pid, 'SIGKILL');
  await until(() => document.querySelector('#problem').textContent.includes('no manager runs'));
  call('resurrect');
  await until(() => document.querySelector('#problem').hidden);
  await shows('shop', 'online');
  right();

  begin('a dashboard that is started again is found by its pages');
  server.kill('SIGTERM');
  const [code] = await once(server, 'exit');
  assert.equal(code, 0);
  await until(() => document.querySelector('#problem').textContent.includes('does not answer'));
  ({ process: server } = await dashboard(url.host));
  await until(() => document.querySelector('#problem').hidden);
  const uptime = await text('#manager');
  await until((uptime) => document.querySelector('#manager').textContent !== uptime, uptime);
  right();

  begin('nothing was broken on the way');
  assert.deepEqual(complaints, []);
  right();

  await pause(45_000);
  await page.click('#apps tbody tr[data-key="shop"]');
  await page.screenshot({ path: join(pictures, 'dashboard.png') });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await page.screenshot({ path: join(pictures, 'dashboard-dark.png') });
  await page.setViewport({ width: 420, height: 900 });
  await page.screenshot({ path: join(pictures, 'dashboard-narrow.png') });
} catch (error) {
  console.error(`WRONG  ${step}: ${error.stack}`);
  await page.screenshot({ path: join(pictures, 'wrong.png') });
  console.error(`picture: ${join(pictures, 'wrong.png')}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  server.kill('SIGTERM');
}
