// Express 5 in `cluster`: `node express.js PORT WORKERS`. What each path answers: src/lib.rs.
'use strict';
const express = require('express');
const { primary, listing, HELLO } = require('./answer.js');

const app = express();
app.disable('x-powered-by');
app.disable('etag');
app.get('/', (request, response) => response.type('text/plain').send(HELLO));
app.post('/echo', express.raw({ type: () => true, limit: '2mb' }), (request, response) => {
  response.type('application/octet-stream').send(request.body);
});
app.post('/store', express.json(), (request, response) => response.json(request.body));
app.get('/die', () => process.exit(1));
for (let resource = 0; resource < 200; resource++) {
  app.get(`/resource${resource}/:id/items/:count`, ({ params }, response) => {
    response.json(listing(resource, Number(params.id), Number(params.count)));
  });
}

primary((port) => {
  const server = app.listen({ port, host: '127.0.0.1', backlog: 4096 });
  // None for idle connections; else every answer names it in a header.
  server.keepAliveTimeout = 0;
});
