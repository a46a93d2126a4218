// What a front end does all day, each as a row of the table: right if what came is what was owed.

const rows = document.getElementById('rows');
// Long enough on its way for the browser to say more than once how far it is.
const UPLOAD_BYTES = 64 * 1024 * 1024;

function same(found, owed) {
  const [one, other] = [found, owed].map((value) => JSON.stringify(value));
  if (one !== other) throw new Error(`found ${one}, owed ${other}`);
}

function wait(start) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('nothing came for 10 s')), 10_000);
    start((value) => { clearTimeout(late); resolve(value); }, reject);
  });
}

const json = { 'content-type': 'application/json' };

const CHECKS = {
  async 'fetch: JSON there and back'() {
    const made = await fetch('/api/notes', { method: 'POST', headers: json, body: '{"text":"first"}' });
    same(made.status, 201);
    const { id } = await made.json();
    same(made.headers.get('location'), `/api/notes/${id}`);
    const read = await fetch(`/api/notes/${id}`);
    same(await read.json(), { id, text: 'first' });
    return read.headers.get('x-request-id');
  },

  async 'fetch: what is wrong is said'() {
    const wrong = await fetch('/api/notes', { method: 'POST', headers: { ...json, accept: 'application/json' }, body: '{"text":' });
    same(wrong.status, 400);
    const said = await wrong.json();
    same(said.status, 400);
    same((await fetch('/api/notes', { method: 'PUT' })).status, 405);
    same((await fetch('/api/nothing')).status, 404);
    return said.error;
  },

  async 'fetch: compressed on the way'() {
    const answer = await fetch('/api/long');
    same(answer.headers.get('content-encoding') !== null, true);
    const text = await answer.text();
    same(text.length, 100_000);
    return answer.headers.get('content-encoding');
  },

  async 'fetch: not sent again when unchanged'() {
    await fetch('/style.css', { cache: 'reload' });
    const tag = (await fetch('/style.css', { cache: 'no-cache' })).headers.get('etag');
    const again = await fetch('/style.css', { cache: 'no-store', headers: { 'if-none-match': tag } });
    same(again.status, 304);
    const part = await fetch('/style.css', { headers: { range: 'bytes=0-3' }, cache: 'no-store' });
    same([part.status, await part.text()], [206, 'body']);
    return tag;
  },

  async 'fetch: given up, and nobody minds'() {
    const giveUp = new AbortController();
    const answer = await fetch('/api/endless', { signal: giveUp.signal });
    const reader = answer.body.getReader();
    await reader.read();
    giveUp.abort();
    const ended = await reader.read().then(() => 'went on', (error) => error.name);
    same(ended, 'AbortError');
    return 'aborted';
  },

  async 'upload: multipart, with progress'() {
    const form = new FormData();
    const bytes = new Uint8Array(UPLOAD_BYTES).map((_, place) => place % 251);
    form.set('title', 'größer');
    form.set('file', new Blob([bytes]), 'numbers.bin');
    const seen = [];
    const answer = await wait((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.upload.onprogress = ({ loaded, total }) => {
        seen.push(loaded);
        document.getElementById('progress').value = loaded / total;
      };
      request.onload = () => resolve(JSON.parse(request.responseText));
      request.onerror = () => reject(new Error('the upload failed'));
      request.open('POST', '/upload');
      request.send(form);
    });
    same(answer, {
      title: 'größer', name: 'numbers.bin', bytes: UPLOAD_BYTES,
      sum: bytes.reduce((sum, byte) => (sum + byte) >>> 0, 0),
    });
    same(seen.length > 1, true);
    return `${seen.length} steps of progress`;
  },

  async 'EventSource: events, and on after a break'() {
    const seen = await wait((resolve, reject) => {
      const source = new EventSource('/events');
      const ids = [];
      let breaks = 0;
      source.onerror = () => { breaks += 1; };
      source.addEventListener('tick', (event) => {
        ids.push([event.lastEventId, event.data]);
        if (ids.length < 6) return;
        source.close();
        if (breaks === 0) reject(new Error('the stream was never broken'));
        else resolve(ids);
      });
    });
    same(seen, [1, 2, 3, 4, 5, 6].map((id) => [`${id}`, `tick ${id}\nof many`]));
    return seen.map(([id]) => id).join(' ');
  },

  async 'WebSocket: text, bytes, close'() {
    const socket = new WebSocket(`ws://${location.host}/ws`, ['echo']);
    socket.binaryType = 'arraybuffer';
    await wait((resolve, reject) => { socket.onopen = resolve; socket.onerror = () => reject(new Error('no WebSocket')); });
    same(socket.protocol, 'echo');
    const ask = (message) => wait((resolve) => { socket.onmessage = ({ data }) => resolve(data); socket.send(message); });
    same(await ask('grüße'), 'grüße');
    const bytes = new Uint8Array(100_000).map((_, place) => place % 256);
    const back = new Uint8Array(await ask(bytes));
    same([back.length, back.every((byte, place) => byte === bytes[place])], [100_000, true]);
    const closed = await wait((resolve) => { socket.onclose = resolve; socket.close(1000, 'done'); });
    same([closed.code, closed.wasClean], [1000, true]);
    return `closed ${closed.code}`;
  },

  async 'cookies: set, read, signed, cleared'() {
    same((await fetch('/me')).status, 401);
    same((await fetch('/login', { method: 'POST', body: new URLSearchParams({ user: 'Ada L.' }) })).status, 204);
    // The session is HttpOnly, the theme is not.
    same(document.cookie, 'theme=dark');
    same(await (await fetch('/me')).json(), { user: 'Ada L.', theme: 'dark' });
    same((await fetch('/logout', { method: 'POST' })).status, 204);
    same([(await fetch('/me')).status, document.cookie], [401, '']);
    return 'Ada L. came and went';
  },

  async 'another origin: let in where it was said'() {
    const other = `http://localhost:${location.port}`;
    const answer = await fetch(`${other}/api/notes`, { method: 'POST', headers: json, body: '{"text":"from afar"}' });
    same(answer.status, 201);
    const refused = await fetch(`${other}/me`).then(() => 'let in', (error) => error.name);
    same(refused, 'TypeError');
    return 'notes yes, /me no';
  },
};

for (const [name, check] of Object.entries(CHECKS)) {
  const row = rows.insertRow();
  row.insertCell().textContent = name;
  const result = row.insertCell();
  const seen = row.insertCell();
  try {
    seen.textContent = await check();
    result.className = 'right';
    result.textContent = 'right';
  } catch (error) {
    seen.textContent = error.message;
    result.className = 'wrong';
    result.textContent = 'wrong';
  }
}
document.body.dataset.done = rows.querySelectorAll('.wrong').length;
