//! corelane beside tokio, in one process: `cargo run --release --example embed_tokio`, then
//! `curl http://127.0.0.1:3000/`.
//!
//! A client library that needs tokio runs on tokio's threads. Handlers send it work through a
//! channel, and wait for the answer on their own core: a waker may be called from any thread. Two
//! clusters serve, each with its own apps and workers; the second one is for the operator.
#![expect(clippy::print_stdout, reason = "it talks to whoever tries it")]

use std::time::Duration;

use corelane::{App, Cluster, Error, State};
use http::StatusCode;
use tokio::sync::{mpsc, oneshot};

/// Work for the thread of tokio's, and where its result goes.
type Job = (u64, oneshot::Sender<u64>);

/// Stands for a database driver, a queue, whatever is made for tokio.
async fn client(mut jobs: mpsc::Receiver<Job>) {
    while let Some((number, answer)) = jobs.recv().await {
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            // Whoever asked may have gone.
            let _gone = answer.send(number * number);
        });
    }
}

async fn square(State(jobs): State<mpsc::Sender<Job>>) -> Result<String, Error> {
    let (answer, result) = oneshot::channel();
    let full = |_| Error::new(StatusCode::SERVICE_UNAVAILABLE, "too many are asking");
    jobs.try_send((12, answer)).map_err(full)?;
    Ok(format!("12 times 12 is {}\n", result.await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (sender, jobs) = mpsc::channel(1024);
    tokio::spawn(client(jobs));
    let app = move || App::new().state(sender.clone()).get("/", square);
    let front = Cluster::new(app).listen("127.0.0.1:3000").spawn()?;
    let operator = Cluster::new(|| App::new().get("/health", async || "well\n"))
        .listen("127.0.0.1:3001")
        .instances(1)
        .spawn()?;
    println!("http://127.0.0.1:3000/ and http://127.0.0.1:3001/health, until Ctrl-C");
    tokio::signal::ctrl_c().await?;
    for cluster in [front, operator] {
        // Waiting for the last request blocks, and tokio has threads for that.
        tokio::task::spawn_blocking(|| cluster.shutdown()).await??;
    }
    Ok(())
}
