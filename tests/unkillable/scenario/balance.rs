//! Connections and who has them.

use corelane::{App, Balance, Cluster, ClusterHandle};

use super::client::{Client, tcp, until};

const WORKERS: usize = 8;
const CONNECTIONS: usize = 64;

fn cluster(balance: Balance) -> ClusterHandle {
    let app = || App::new().get("/", async || "alive");
    let cluster = Cluster::new(app).listen("127.0.0.1:0").instances(WORKERS).balance(balance);
    cluster.spawn().unwrap()
}

/// How many connections each worker has.
fn shares(handle: &ClusterHandle) -> Vec<u64> {
    handle.stats().workers.iter().map(|worker| worker.figures.connections).collect()
}

/// Opens 64 connections to eight workers, so many times, and closes them. Returns the largest
/// share of each time, and how many connections were handed to others in all.
pub(crate) fn fills(balance: Balance, rounds: usize) -> (Vec<u64>, u64) {
    let handle = cluster(balance);
    let mut largest = Vec::new();
    for _ in 0..rounds {
        let open: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(tcp(&handle))).collect();
        let mut now = shares(&handle);
        until("every connection has a worker", || {
            now = shares(&handle);
            now.iter().sum::<u64>() == CONNECTIONS as u64
        });
        largest.extend(now.iter().max());
        drop(open);
        until("they are closed", || shares(&handle).iter().sum::<u64>() == 0);
    }
    let handed_off = handle.stats().total().handed_off;
    handle.shutdown().unwrap();
    (largest, handed_off)
}

/// So many times, no worker gets more than one above its share.
pub(crate) fn balances(rounds: usize) {
    let (largest, _) = fills(Balance::Least, rounds);
    let most = (CONNECTIONS / WORKERS + 1) as u64;
    assert!(largest.iter().all(|share| *share <= most), "{largest:?}, at most {most}");
}
