//! How soon a quiet worker notices what does not come through its sockets.
//!
//! `cargo bench --bench quiet` runs one worker with no traffic and, within it, waits for each kind
//! of event many times: while the core still waits in its own ring, and after it has parked. It
//! prints how late each was seen. A mailbox message is measured from outside: from the order to
//! drain until the cluster is gone, which is more than the message alone.

#![allow(missing_docs, clippy::print_stdout)]

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::task::Poll;
use std::time::{Duration, Instant};

use corelane::{App, Cluster, File, sleep, spawn_blocking};

/// How often each is measured.
const SAMPLES: usize = 25;
/// Short enough for the core to be still in its own ring, in milliseconds; and long enough for it
/// to have parked.
const QUIETS: [u64; 2] = [5, 60];

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this is a benchmark: cargo bench --bench quiet");
        return;
    }
    let cluster = Cluster::new(|| App::new().get("/", measure))
        .listen("127.0.0.1:0")
        .instances(1)
        .spawn()
        .expect("the cluster starts");
    let address = cluster.addresses()[0].to_string();
    let mut stream = TcpStream::connect(&address).expect("it accepts");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, table) = answer.split_once("\r\n\r\n").expect("it answers in HTTP");
    println!("{:<36} {:>9} {:>9} {:>9}", "seen late by (ms)", "median", "p90", "max");
    print!("{table}");
    drop(cluster);
    print!("{}", order_to_drain());
}

/// Measures within the worker; the answer is the table.
async fn measure() -> String {
    let mut table = String::new();
    for quiet in QUIETS {
        let quiet = Duration::from_millis(quiet);
        let name = |what: &str| format!("{what} after {quiet:?}");
        let mut samples = Vec::new();
        for _ in 0..SAMPLES {
            samples.push(late(quiet, sleep(quiet)).await);
        }
        table += &row(&name("sleep"), &mut samples);
        for _ in 0..SAMPLES {
            samples.push(late(quiet, glommio::timer::sleep(quiet)).await);
        }
        table += &row(&name("glommio timer"), &mut samples);
        for _ in 0..SAMPLES {
            let done = spawn_blocking(move || {
                std::thread::sleep(quiet);
                Instant::now()
            });
            let done = done.await.expect("it does not panic");
            samples.push(done.elapsed());
        }
        table += &row(&name("spawn_blocking result"), &mut samples);
        for _ in 0..SAMPLES {
            samples.push(foreign_wake(quiet).await);
        }
        table += &row(&name("waker of a foreign thread"), &mut samples);
        for _ in 0..SAMPLES {
            sleep(quiet).await;
            samples.push(file_read().await);
        }
        table += &row(&name("file read (whole)"), &mut samples);
    }
    table
}

async fn late(due: Duration, event: impl Future<Output = ()>) -> Duration {
    let begun = Instant::now();
    event.await;
    begun.elapsed().saturating_sub(due)
}

/// From the call of `wake` on another thread to the poll.
async fn foreign_wake(after: Duration) -> Duration {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = RefCell::new(Some(tell));
    poll_fn(|cx| {
        if let Some(tell) = tell.take() {
            let waker = cx.waker().clone();
            std::thread::spawn(move || {
                std::thread::sleep(after);
                // The receiver is polled only after this.
                let _ = tell.send(Instant::now());
                waker.wake();
            });
            return Poll::Pending;
        }
        told.try_recv().map_or(Poll::Pending, |woken: Instant| Poll::Ready(woken.elapsed()))
    })
    .await
}

async fn file_read() -> Duration {
    let file = std::fs::File::open("/proc/self/exe").expect("the program is readable");
    let begun = Instant::now();
    File::from(file).read_at(vec![0; 4096], 0).await.expect("it is read");
    begun.elapsed()
}

/// A mailbox message to a worker that has parked, with the end of the cluster behind it.
fn order_to_drain() -> String {
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        let cluster = Cluster::new(App::new).listen("127.0.0.1:0").instances(1);
        let cluster = cluster.spawn().expect("the cluster starts");
        std::thread::sleep(Duration::from_millis(60));
        let begun = Instant::now();
        cluster.shutdown().expect("it ends");
        samples.push(begun.elapsed());
    }
    row("mailbox: order to drain, to the end", &mut samples)
}

fn row(name: &str, samples: &mut Vec<Duration>) -> String {
    samples.sort();
    let at = |share: usize| samples[(samples.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let row = format!("{name:<36} {:>9.3} {:>9.3} {:>9.3}\n", at(50), at(90), at(100));
    samples.clear();
    row
}
