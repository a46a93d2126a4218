// Node's `http` in `cluster`: `node http.js PORT WORKERS`. What each path answers: src/lib.rs.
'use strict';
const http = require('node:http');
const { primary, listing, HELLO, TEXT, JSON_TYPE, BYTES } = require('./answer.js');

// 200 routes by hand: their names in a map, their parameters by one expression.
const ROUTES = new Map(Array.from({ length: 200 }, (_, resource) => [`resource${resource}`, resource]));
const PATH = /^\/(resource\d+)\/(\d+)\/items\/(\d+)$/;

function send(response, type, body) {
  response.writeHead(200, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

function collect(request, then) {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => then(parts.length === 1 ? parts[0] : Buffer.concat(parts)));
}

function route(request, response) {
  if (request.url === '/') return send(response, TEXT, HELLO);
  if (request.url === '/echo') return collect(request, (body) => send(response, BYTES, body));
  if (request.url === '/store') {
    return collect(request, (body) => send(response, JSON_TYPE, JSON.stringify(JSON.parse(body))));
  }
  if (request.url === '/die') process.exit(1);
  const found = PATH.exec(request.url);
  const resource = found && ROUTES.get(found[1]);
  if (resource === undefined || resource === null) return response.writeHead(404).end();
  send(response, JSON_TYPE, JSON.stringify(listing(resource, Number(found[2]), Number(found[3]))));
}

primary((port) => {
  const server = http.createServer(route);
  // None for idle connections; else every answer names it in a header.
  server.keepAliveTimeout = 0;
  server.listen({ port, host: '127.0.0.1', backlog: 4096 });
});
