//! Other numbers of workers, under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use corelane::{App, Cluster};

use super::client::{Asked, Client, tcp, until};

const KEEP_ALIVE_CLIENTS: usize = 8;
const NEW_CONNECTION_CLIENTS: usize = 2;
const WORKERS_MOST: usize = 8;
/// Answers between one change and the next: so much happens with each number of workers.
const ANSWERS_BETWEEN: u64 = 100;

/// Scales a cluster to eight workers and back so many times. Every request is answered, and no
/// connection closes that was not announced to. Returns how many were answered.
pub(crate) fn scales(rounds: usize) -> u64 {
    let app = || App::new().get("/", async || "alive");
    let cluster = Cluster::new(app).listen("127.0.0.1:0").instances(1);
    let handle = cluster.spawn().unwrap();
    let address = tcp(&handle);
    let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let client = |work: fn(SocketAddr, &AtomicBool, &AtomicU64)| {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        thread::spawn(move || work(address, &stop, &answered))
    };
    let mut clients: Vec<_> = (0..KEEP_ALIVE_CLIENTS).map(|_| client(keep_alive)).collect();
    clients.extend((0..NEW_CONNECTION_CLIENTS).map(|_| client(connect_anew)));
    for _ in 0..rounds {
        for workers in [WORKERS_MOST, 1] {
            let enough = answered.load(Ordering::Relaxed) + ANSWERS_BETWEEN;
            handle.scale(workers).unwrap();
            assert_eq!(handle.workers(), workers);
            until("the load goes on", || {
                let failed = clients.iter().any(thread::JoinHandle::is_finished);
                failed || answered.load(Ordering::Relaxed) >= enough
            });
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request fails");
    }
    handle.shutdown().unwrap();
    answered.load(Ordering::Relaxed)
}

fn keep_alive(address: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) {
    let mut client = Client::connect(address);
    while !stop.load(Ordering::Relaxed) {
        match client.ask("/") {
            Asked::Answered { last: false, .. } => {}
            Asked::Answered { last: true, .. } => client = Client::connect(address),
            failed => panic!("a request on an open connection: {failed:?}"),
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn connect_anew(address: SocketAddr, stop: &AtomicBool, answered: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let asked = Client::connect(address).ask_last("/");
        assert!(asked.is_answer(), "the first request of a connection: {asked:?}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
