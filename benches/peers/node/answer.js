// What both JavaScript contenders answer, and how both run in `cluster`.
'use strict';
const cluster = require('node:cluster');

exports.HELLO = 'Hello, Cluster!';
exports.TEXT = 'text/plain; charset=utf-8';
exports.BYTES = 'application/octet-stream';
exports.JSON_TYPE = 'application/json';

exports.listing = (resource, id, count) => {
  const items = [];
  for (let index = 0; index < count; index++) {
    items.push({
      index,
      owner: id,
      name: `item ${index} of ${id}`,
      cents: 100 + 7 * index,
      available: index % 2 === 0,
    });
  }
  return { resource, id, items };
};

// Forks the workers, and another for each that ends; `work(port)` is what each of them does.
exports.primary = (work) => {
  const [port, workers] = process.argv.slice(2).map(Number);
  if (!cluster.isPrimary) return work(port);
  cluster.on('exit', () => cluster.fork());
  for (let worker = 0; worker < workers; worker++) cluster.fork();
};
