// The cases of the Autobahn test suite that a sound client can have, by `ws`: `node client.mjs URL`. What an unsound one does
// is in src/server/tests/websocket.rs, frame by frame. Prints a line per case; exits 1 if one fails.

import WebSocket from 'ws';

const url = process.argv[2];

function open() {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 64 << 20 });
    socket.setMaxListeners(0);
    socket.once('open', () => resolve(socket));
    socket.once('error', reject);
  });
}

function next(socket, event) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event} for 20 s`)), 20_000);
    socket.once(event, (...values) => { clearTimeout(late); resolve(values); });
    if (event !== 'close') socket.once('close', (code) => reject(new Error(`closed with ${code}`)));
  });
}

function same(found, owed, what) {
  const [one, other] = [found, owed].map((value) => (Buffer.isBuffer(value) ? value : Buffer.from(String(value))));
  if (!one.equals(other)) throw new Error(`${what}: ${one.length} bytes that are not the ${other.length} owed`);
}

async function echo(socket, payload, pieces = 1) {
  const answer = next(socket, 'message');
  const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(payload);
  const size = Math.max(1, Math.ceil(bytes.length / pieces));
  const binary = Buffer.isBuffer(payload);
  if (pieces === 1) socket.send(payload, { binary });
  else for (let at = 0; at < bytes.length; at += size) {
    socket.send(bytes.subarray(at, at + size), { binary, fin: at + size >= bytes.length });
  }
  const [back, isBinary] = await answer;
  same(back, bytes, 'echo');
  if (isBinary !== binary) throw new Error('text and bytes were confused');
}

async function close(socket, code, reason) {
  const closed = next(socket, 'close');
  socket.close(code, reason);
  const [said, why] = await closed;
  same(said, code ?? 1005, 'code');
  same(why, reason ?? '', 'reason');
}

const noise = (length) => Buffer.alloc(length).map((_, at) => (at * 31 + (at >> 8)) % 256);
const CASES = {};

for (const length of [0, 125, 126, 127, 128, 65535, 65536]) {
  CASES[`1.1 text of ${length}`] = (socket) => echo(socket, '*'.repeat(length));
  CASES[`1.2 bytes of ${length}`] = (socket) => echo(socket, noise(length));
}
for (const length of [0, 5, 125]) {
  CASES[`2 ping with ${length} bytes`] = async (socket) => {
    const pong = next(socket, 'pong');
    socket.ping(noise(length));
    same((await pong)[0], noise(length), 'pong');
  };
}
CASES['2.7 a pong that nobody asked for'] = async (socket) => { socket.pong('unasked'); await echo(socket, 'still here'); };
CASES['2.10 ten pings in a row'] = async (socket) => {
  let pongs = 0;
  socket.on('pong', () => { pongs += 1; });
  for (let at = 0; at < 10; at += 1) socket.ping(`${at}`);
  await echo(socket, 'behind them');
  if (pongs === 0) throw new Error('no pong came');
};
for (const pieces of [2, 7, 100]) {
  CASES[`5 text in ${pieces} pieces`] = (socket) => echo(socket, 'fragments '.repeat(100), pieces);
  CASES[`5 letters of several bytes in ${pieces} pieces`] = (socket) => echo(socket, 'κόσμε 가나다 🦀'.repeat(20), pieces);
}
CASES['5 a ping between two pieces'] = async (socket) => {
  const [pong, answer] = [next(socket, 'pong'), next(socket, 'message')];
  socket.send('one ', { fin: false });
  socket.ping('between');
  socket.send('message', { fin: true });
  same((await pong)[0], 'between', 'pong');
  same((await answer)[0], 'one message', 'echo');
};
for (const text of ['', 'Hello-µ@ßöäüàá-UTF-8!!', '\u{0000}', '\u{7ff}', '\u{800}', '\u{ffff}', '\u{10000}', '\u{10ffff}', '﷐']) {
  CASES[`6 ${JSON.stringify(text)}`] = (socket) => echo(socket, text);
}
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]) {
  CASES[`7.7 close with ${code}`] = (socket) => close(socket, code, 'because');
}
CASES['7.1 close without a code'] = (socket) => close(socket);
CASES['7.3 a reason of 123 bytes'] = (socket) => close(socket, 1000, 'x'.repeat(123));
CASES['7.1 echo, then close'] = async (socket) => { await echo(socket, 'last'); await close(socket, 1000, ''); };
for (const [name, length] of [['64 KiB', 65536], ['1 MiB', 1 << 20], ['16 MiB', 1 << 24]]) {
  CASES[`9 text of ${name}`] = (socket) => echo(socket, 'x'.repeat(length));
  CASES[`9 bytes of ${name}`] = (socket) => echo(socket, noise(length));
}
CASES['9 4 MiB in pieces of 64 bytes'] = (socket) => echo(socket, noise(4 << 20), 65536);
CASES['9.7 a thousand messages of 64 KiB'] = async (socket) => { for (let at = 0; at < 1000; at += 1) await echo(socket, 'y'.repeat(65536)); };
CASES['10 messages faster than they come back'] = async (socket) => {
  let seen = 0;
  const all = new Promise((resolve) => socket.on('message', () => { seen += 1; if (seen === 20_000) resolve(); }));
  for (let at = 0; at < 20_000; at += 1) socket.send(`message ${at}`);
  await all;
};

let failed = 0;
for (const [name, run] of Object.entries(CASES)) {
  const socket = await open();
  socket.on('error', () => {});
  try {
    await run(socket);
    console.log(`right  ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`wrong  ${name}: ${error.message}`);
  }
  socket.terminate();
}
console.log(`${Object.keys(CASES).length} cases, ${failed} failed`);
process.exit(failed ? 1 : 0);
