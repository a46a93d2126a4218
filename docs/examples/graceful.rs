//! An end in order: `cargo run --release --example graceful`, `curl http://127.0.0.1:3000/slow`,
//! and Ctrl-C in the meantime. What was begun is answered, what would never end is told, and what
//! is in memory is written down when the last request is over.
#![expect(clippy::print_stdout, reason = "it talks to whoever tries it")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use corelane::{App, Cluster, Exit, Timeouts, Workers, draining, sleep, spawn_local};
use futures_lite::FutureExt;

fn app() -> App {
    let served = Rc::new(Cell::new(0_u64));
    let (slow, first, last) = (Rc::clone(&served), Rc::clone(&served), served);
    App::new()
        .on_start(async move || {
            // A task of the worker's: it ends with it, or by itself when the worker drains.
            drop(spawn_local(async move {
                let minute = || async {
                    sleep(Duration::from_secs(60)).await;
                    true
                };
                let leave = || async {
                    draining().await;
                    false
                };
                while leave().or(minute()).await {
                    println!("{} requests so far", first.get());
                }
            }));
        })
        .get("/slow", async move || {
            sleep(Duration::from_secs(5)).await;
            slow.set(slow.get() + 1);
            "here it is, as promised\n"
        })
        .on_stop(async move || {
            println!("worker {} has served {} requests", Workers::current().own(), last.get());
        })
}

fn main() -> Exit {
    // How long what was begun may take; 30 s if nothing is said.
    let mut timeouts = Timeouts::default();
    timeouts.drain = Duration::from_secs(10);
    Cluster::new(app).listen("127.0.0.1:3000").timeouts(timeouts).run()
}
