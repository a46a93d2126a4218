//! How connections are spread over the workers.

use std::io;
use std::net::SocketAddr;

use crate::WORKERS;
use crate::client::{ask, connect};

/// Connections that come one after another.
pub(crate) const IN_TURN: usize = 200;
/// Connections that are opened at once, and kept.
pub(crate) const AT_ONCE: usize = 64;

/// Connections of each worker.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spread([u64; WORKERS]);

impl Spread {
    /// How many more the first has than the last.
    pub(crate) fn width(&self) -> u64 {
        let Spread(counts) = self;
        let most = counts.iter().max().copied().unwrap_or(0);
        most - counts.iter().min().copied().unwrap_or(0)
    }

    fn count(&mut self, worker: &str) -> io::Result<()> {
        let number = worker.parse::<usize>().map_err(io::Error::other)?;
        let place = self.0.get_mut(number);
        *place.ok_or_else(|| io::Error::other(format!("there is no worker {number}")))? += 1;
        Ok(())
    }
}

/// One connection after another, each closed before the next is opened.
pub(crate) fn in_turn(address: SocketAddr) -> io::Result<Spread> {
    let mut spread = Spread::default();
    for _ in 0..IN_TURN {
        spread.count(&ask(&connect(address)?, "/worker")?)?;
    }
    Ok(spread)
}

/// All opened before the first asks.
pub(crate) fn at_once(address: SocketAddr) -> io::Result<Spread> {
    let streams = (0..AT_ONCE).map(|_| connect(address));
    let streams = streams.collect::<io::Result<Vec<_>>>()?;
    let mut spread = Spread::default();
    streams.iter().try_for_each(|stream| spread.count(&ask(stream, "/worker")?))?;
    Ok(spread)
}
