// The apps, live: what the server's events say, drawn; and what the buttons ask for.
'use strict';

const HISTORY_MAX = 120;
const LINES_MAX = 1000;
const SVG = 'http://www.w3.org/2000/svg';

const find = (selector, within = document) => within.querySelector(selector);

let apps = [];
let chosen = null;
let source = null;
// By app, and for its workers by app and worker: figures of the last two minutes.
const histories = new Map();

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function span(ms) {
  if (ms === null) return '-';
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0s';
  return parts.slice(first, first + 2).map(([value, unit]) => value + unit).join(' ');
}

const micros = (value) => value >= 1000 ? `${(value / 1000).toFixed(1)} ms` : `${value} µs`;
const whole = (value) => Math.round(value).toLocaleString('en');
const percent = (value) => `${value.toFixed(1)}%`;
const workersOf = (app) => app.workers.length || app.pids.length;
const p99 = (app) => app.workers.reduce((most, worker) => Math.max(most, worker.latency_p99_us), 0);

function note(key, figures) {
  const history = histories.get(key) ?? {};
  for (const [name, value] of Object.entries(figures)) {
    const values = history[name] ??= [];
    values.push(value);
    if (values.length > HISTORY_MAX) values.shift();
  }
  histories.set(key, history);
}

function remember() {
  const known = new Set();
  for (const app of apps) {
    known.add(app.name);
    note(app.name, {
      requests: app.requests_per_second,
      latency: p99(app),
      connections: app.connections,
      cpu: app.cpu_percent,
      memory: app.memory_bytes,
    });
    for (const worker of app.workers) {
      const key = `${app.name} ${worker.worker}`;
      known.add(key);
      note(key, { requests: worker.requests_per_second });
    }
  }
  for (const key of histories.keys()) if (!known.has(key)) histories.delete(key);
}

// A line over the last two minutes; the newest value is at the right.
function graph(svg, values) {
  if (!svg.firstChild) {
    svg.setAttribute('viewBox', `0 0 ${HISTORY_MAX - 1} 100`);
    svg.setAttribute('preserveAspectRatio', 'none');
    for (const name of ['area', 'line']) {
      const path = document.createElementNS(SVG, 'path');
      path.setAttribute('class', name);
      svg.append(path);
    }
  }
  const most = Math.max(...values, Number.EPSILON);
  const start = HISTORY_MAX - values.length;
  const points = values.map((value, at) => `${start + at} ${(97 - 92 * value / most).toFixed(1)}`);
  const line = points.length ? `M${points.join('L')}` : '';
  svg.lastChild.setAttribute('d', line);
  svg.firstChild.setAttribute('d', line && `${line}L${HISTORY_MAX - 1} 100L${start} 100Z`);
}

function canvas(kind) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', kind);
  svg.setAttribute('aria-hidden', 'true');
  return svg;
}

// One row for each key, kept from one drawing to the next.
function rows(body, keys, columns) {
  while (body.rows.length > keys.length) body.deleteRow(-1);
  keys.forEach((key, at) => {
    const row = body.rows[at] ?? body.insertRow();
    row.dataset.key = key;
    while (row.cells.length < columns.length) row.insertCell().className = columns[row.cells.length - 1];
  });
  return body.rows;
}

function fill(row, texts) {
  texts.forEach((text, at) => {
    if (row.cells[at].textContent !== text) row.cells[at].textContent = text;
  });
}

function spark(cell, values) {
  if (!cell.firstChild) cell.append(canvas('spark'));
  graph(cell.firstChild, values);
}

function drawApps() {
  const columns = ['', '', 'n', 'n', 'n', 'n', 'n', 'n', 'n', ''];
  const drawn = rows(find('#apps tbody'), apps.map((app) => app.name), columns);
  apps.forEach((app, at) => {
    const row = drawn[at];
    row.tabIndex = 0;
    row.setAttribute('aria-selected', app.name === chosen);
    fill(row, [
      app.name,
      app.status.replace('-', ' '),
      span(app.uptime_ms),
      whole(app.restarts),
      `${workersOf(app)} (${app.instances})`,
      percent(app.cpu_percent),
      size(app.memory_bytes),
      whole(app.connections),
      whole(app.requests_per_second),
    ]);
    row.cells[1].className = `status ${app.status}`;
    row.cells[1].title = app.problem ?? '';
    spark(row.cells[9], histories.get(app.name).requests);
  });
  find('#none').hidden = apps.length > 0;
}

function drawChosen() {
  const app = apps.find((app) => app.name === chosen);
  find('#chosen').hidden = !app;
  if (!app) return;
  find('#name').textContent = app.name;
  const about = [app.listen.join(', '), app.pid === null ? '' : `pid ${app.pid}`, app.problem, app.last_exit && `last exit: ${app.last_exit}`];
  find('#about').textContent = about.filter(Boolean).join(' · ');
  const runs = !['stopped', 'errored'].includes(app.status);
  for (const button of document.querySelectorAll('[data-verb]')) {
    button.disabled = (button.dataset.verb === 'start') === runs;
  }
  const history = histories.get(app.name);
  const texts = {
    requests: whole(app.requests_per_second),
    latency: micros(p99(app)),
    connections: whole(app.connections),
    cpu: percent(app.cpu_percent),
    memory: size(app.memory_bytes),
  };
  for (const figure of document.querySelectorAll('[data-of]')) {
    find('b', figure).textContent = texts[figure.dataset.of];
    const svg = find('svg', figure) ?? figure.appendChild(canvas('graph'));
    graph(svg, history[figure.dataset.of]);
  }
  drawWorkers(app);
}

function drawWorkers(app) {
  const columns = ['n', 'n', '', 'n', 'n', 'n', 'n', 'n', 'n', 'n', ''];
  const drawn = rows(find('#workers tbody'), app.workers.map((worker) => worker.worker), columns);
  find('#workers').hidden = app.workers.length === 0;
  app.workers.forEach((worker, at) => {
    fill(drawn[at], [
      String(worker.worker),
      String(worker.cpu),
      worker.state,
      whole(worker.connections),
      whole(worker.requests_per_second),
      micros(worker.latency_p50_us),
      micros(worker.latency_p99_us),
      whole(worker.requests),
      whole(worker.server_errors),
      whole(worker.restarts),
    ]);
    spark(drawn[at].cells[10], histories.get(`${app.name} ${worker.worker}`).requests);
  });
}

function complain(problem) {
  const line = find('#problem');
  line.hidden = !problem;
  line.textContent = problem ?? '';
}

function take(overview) {
  apps = overview.apps;
  const { pid, version, home, uptime_ms: uptime, memory_bytes: memory, problems } = overview.manager;
  find('#manager').textContent = `manager ${version}, pid ${pid}, up ${span(uptime)}, ${size(memory)}, ${home}`;
  complain(problems.length ? problems.join('; ') : null);
  remember();
  if (!apps.some((app) => app.name === chosen)) choose(apps[0]?.name ?? null);
  drawApps();
  drawChosen();
}

function write({ app, first, lines }) {
  if (app !== chosen) return;
  const log = find('#log');
  if (first) log.replaceChildren();
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 20;
  for (const { stream, text } of lines) {
    const line = document.createElement('div');
    line.className = stream;
    line.textContent = text;
    log.append(line);
  }
  while (log.childElementCount > LINES_MAX) log.firstChild.remove();
  if (atEnd || first) log.scrollTop = log.scrollHeight;
}

// The logs that come are those of one app.
function listen() {
  source?.close();
  source = new EventSource(chosen === null ? '/api/events' : `/api/events?app=${encodeURIComponent(chosen)}`);
  source.addEventListener('overview', (event) => take(JSON.parse(event.data)));
  source.addEventListener('problem', (event) => complain(JSON.parse(event.data).problem));
  source.addEventListener('log', (event) => write(JSON.parse(event.data)));
  source.addEventListener('error', () => {
    const closed = source.readyState === EventSource.CLOSED;
    complain(closed ? 'The dashboard lets this page no longer in: open the address that it has printed.' : 'The dashboard does not answer; trying again ...');
  });
}

function choose(name) {
  if (name === chosen) return;
  chosen = name;
  find('#log').replaceChildren();
  say('');
  listen();
  drawApps();
  drawChosen();
}

function say(text, bad = false) {
  const message = find('#message');
  message.textContent = text;
  message.className = bad ? 'bad' : '';
}

function verbOf(name) {
  const selected = { apps: [chosen] };
  switch (name) {
    case 'reload': return { verb: 'reload', ...selected, force: false };
    case 'more': return { verb: 'scale', ...selected, instances: '+1' };
    case 'fewer': return { verb: 'scale', ...selected, instances: '-1' };
    default: return { verb: name, ...selected };
  }
}

async function order(name) {
  const app = chosen;
  if (app === null) return;
  if (name === 'stop' && !confirm(`Stop ${app}?`)) return;
  say(`${name} ...`);
  const words = await ask(verbOf(name));
  if (app === chosen) say(words.text, words.bad);
}

async function ask(verb) {
  try {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch('/api/verb', { method: 'POST', headers, body: JSON.stringify(verb) });
    const answer = await response.json();
    const outcomes = (answer.outcomes ?? []).map((outcome) => outcome.message);
    const text = [answer.error, ...outcomes].filter(Boolean).join('; ');
    return { text, bad: !response.ok || answer.code !== 'done' };
  } catch (error) {
    return { text: `The dashboard does not answer: ${error.message}`, bad: true };
  }
}

function step(by) {
  const at = apps.findIndex((app) => app.name === chosen) + by;
  if (at >= 0 && at < apps.length) choose(apps[at].name);
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  l: () => order('reload'),
  r: () => order('restart'),
  s: () => order('stop'),
  S: () => order('start'),
  '+': () => order('more'),
  '-': () => order('fewer'),
};

find('#apps tbody').addEventListener('click', (event) => {
  const row = event.target.closest('tr');
  if (row) choose(row.dataset.key);
});
find('.keys').addEventListener('click', (event) => {
  const { verb } = event.target.dataset;
  if (verb) order(verb);
});
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Enter' && event.target.closest('#apps tbody tr')) choose(event.target.dataset.key);
  KEYS[event.key]?.();
});

listen();
