//! A program with every fault that corelane is to survive, for tests, soaks and benchmarks.
//!
//! ```console
//! $ cargo run --release --example faults -- [--listen ADDR] [--instances N]
//!     [--unlimited-restarts] [--stall MS] [--drain MS] [--metrics ADDR]
//! ```
//!
//! | path | what happens |
//! |---|---|
//! | `/` | `Hello, Cluster!` |
//! | `/worker` | the number of the worker that answers |
//! | `/echo` (POST) | the body comes back |
//! | `/slow` | an answer after 100 ms |
//! | `/handler-panic` | the handler panics |
//! | `/executor-panic` | a task of the worker panics, which ends the worker |
//! | `/stall` | the handler never yields |
//! | `/stall/:ms` | the handler does not yield for so long |
//! | `/abort` | the process aborts |

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use corelane::{App, Cluster, Path, Restart, Timeouts, Workers, sleep, spawn_local};

fn app() -> App {
    App::new()
        .get("/", async || "Hello, Cluster!")
        .get("/worker", async || Workers::current().own().to_string())
        .post("/echo", async |body: bytes::Bytes| body)
        .get("/slow", async || {
            sleep(Duration::from_millis(100)).await;
            "slow"
        })
        .get("/handler-panic", handler_panic)
        .get("/executor-panic", executor_panic)
        .get("/stall", async || stall(Duration::MAX))
        .get("/stall/:ms", async |Path(ms): Path<u64>| stall(Duration::from_millis(ms)))
        .get("/abort", abort)
}

async fn handler_panic() -> &'static str {
    panic!("a handler, on purpose")
}

async fn executor_panic() -> &'static str {
    drop(spawn_local(async { panic!("a task, on purpose") }));
    "the worker ends"
}

fn stall(time: Duration) -> &'static str {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
    "back"
}

async fn abort() -> &'static str {
    std::process::abort()
}

/// The cluster that the command line asks for, or what is wrong with it.
fn cluster(mut args: impl Iterator<Item = String>) -> Result<Cluster, String> {
    let mut cluster = Cluster::new(app);
    let (mut address, mut timeouts) = ("127.0.0.1:3000".to_owned(), Timeouts::default());
    while let Some(option) = args.next() {
        match option.as_str() {
            "--listen" => address = value(&option, args.next())?,
            "--instances" => cluster = cluster.instances(value::<usize>(&option, args.next())?),
            "--metrics" => cluster = cluster.metrics(value::<String>(&option, args.next())?),
            "--stall" => timeouts.stall = Duration::from_millis(value(&option, args.next())?),
            "--drain" => timeouts.drain = Duration::from_millis(value(&option, args.next())?),
            "--unlimited-restarts" => cluster = cluster.restart(Restart::unlimited()),
            _ => return Err(format!("no such option: {option}; see the first page of the source")),
        }
    }
    Ok(cluster.listen(address).timeouts(timeouts))
}

fn value<T: FromStr>(option: &str, text: Option<String>) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("{option} takes a value"))?;
    text.parse().map_err(|_| format!("bad value for {option}: {text}"))
}

fn main() -> ExitCode {
    match cluster(std::env::args().skip(1)) {
        Ok(cluster) => std::process::Termination::report(cluster.run()),
        Err(problem) => {
            // With stderr closed, the exit code still tells.
            let _closed = writeln!(std::io::stderr(), "error: {problem}");
            ExitCode::from(2)
        }
    }
}
