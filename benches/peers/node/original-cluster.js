// What Node's users start from: a process per CPU, and another for each that ends.
'use strict';
const cluster = require('cluster');
const http = require('http');
const numCPUs = require('os').cpus().length;

if (cluster.isPrimary) {
  console.log(`primary process ${process.pid} is running`);
  for (let i = 0; i < numCPUs; i++) cluster.fork();
  cluster.on('exit', (worker) => {
    console.log(`worker ${worker.process.pid} has ended`);
    cluster.fork();
  });
} else {
  http.createServer((req, res) => {
    res.writeHead(200);
    res.end('Hello, Cluster!');
  }).listen(process.env.PORT || 3000);
  console.log(`worker process ${process.pid} is running`);
}
