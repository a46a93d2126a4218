// Node's `cluster` with the routes of docs/examples/faults.rs that this bench asks for: a primary, and
// so many workers, each of which has a successor when it exits.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

function fork(number) {
  const worker = cluster.fork({ WORKER: number });
  worker.on('listening', ({ port }) => {
    console.error(`http://127.0.0.1:${port}, worker ${number}: listening`);
  });
  worker.on('exit', () => fork(number));
}

function answer(request, response) {
  switch (request.url) {
    case '/':
      return response.end('Hello, Cluster!');
    case '/worker':
      return response.end(process.env.WORKER);
    case '/slow':
      return setTimeout(() => response.end('slow'), 100);
    case '/executor-panic':
      response.end('the worker ends');
      return setImmediate(() => {
        throw new Error('on purpose');
      });
    default:
      response.statusCode = 404;
      return response.end();
  }
}

if (cluster.isPrimary) {
  for (let number = 0; number < Number(process.argv[2]); number += 1) fork(number);
} else {
  const server = http.createServer(answer);
  // Idle connections are to be ended by a death only.
  server.keepAliveTimeout = 600_000;
  server.listen(0, '127.0.0.1');
}
