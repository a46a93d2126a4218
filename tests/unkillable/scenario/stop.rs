//! Programs that are told to end while clients ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;

use super::client::{Asked, Client, PATIENCE, until};
use super::program::Program;

/// What became of requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered: AtomicU64,
    /// How many were sent after the order to end.
    pub(crate) late: AtomicU64,
    /// Of these, how many met a connection that was closed before any byte of an answer.
    pub(crate) retried: AtomicU64,
    /// How many answers broke off or never came.
    pub(crate) cut: AtomicU64,
}

/// Starts a program so many times, and ends it under the load of as many keep-alive clients.
pub(crate) fn stops(rounds: usize, clients: usize) -> Tally {
    let all = Arc::<Tally>::default();
    for _ in 0..rounds {
        let mut program = Program::start(2, &[]);
        let (stopping, tally) = (Arc::<AtomicBool>::default(), Arc::clone(&all));
        let enough = tally.answered.load(Ordering::Relaxed) + 4 * clients as u64;
        let address = program.address();
        let client = |_| {
            let (stopping, tally) = (Arc::clone(&stopping), Arc::clone(&all));
            let mut client = Client::connect(address);
            // One that still waits to be accepted is no keep-alive client yet.
            assert!(client.ask("/").is_answer());
            thread::spawn(move || ask_on(client, &stopping, &tally))
        };
        let clients: Vec<_> = (0..clients).map(client).collect();
        until("they are served", || tally.answered.load(Ordering::Relaxed) >= enough);
        stopping.store(true, Ordering::SeqCst);
        program.signal(Signal::TERM);
        for client in clients {
            client.join().unwrap();
        }
        let (code, lines) = program.ended(PATIENCE);
        assert_eq!(code, 0, "{lines:#?}");
    }
    Arc::into_inner(all).expect("invariant: every client has been joined")
}

/// Asks until the server takes its leave.
fn ask_on(mut client: Client, stopping: &AtomicBool, tally: &Tally) {
    loop {
        let late = stopping.load(Ordering::SeqCst);
        tally.late.fetch_add(u64::from(late), Ordering::Relaxed);
        let count = match client.ask("/") {
            Asked::Answered { last, .. } => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                if last {
                    return;
                }
                continue;
            }
            Asked::Closed => &tally.retried,
            Asked::Cut | Asked::Hung => &tally.cut,
        };
        count.fetch_add(1, Ordering::Relaxed);
        return;
    }
}
