// What Express's users start from when one process is not enough.
'use strict';
const cluster = require('cluster');
const numCPUs = require('os').cpus().length;
const express = require('express');

if (cluster.isPrimary) {
  console.log(`primary process ${process.pid} is running`);
  for (let i = 0; i < numCPUs; i++) cluster.fork();
  cluster.on('exit', (worker) => {
    console.log(`worker ${worker.process.pid} has ended`);
    cluster.fork();
  });
} else {
  const app = express();
  app.get('/', (req, res) => {
    res.send('Hello, Express with Cluster!');
  });
  app.listen(process.env.PORT || 3000, () => {
    console.log(`Express serves in worker ${process.pid}`);
  });
}
