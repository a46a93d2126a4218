//! What the death of a worker costs.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{ask, connect, receive, send};
use crate::server::Server;

/// How many clients ask while a worker dies.
const PROBERS: usize = 4;
/// What each rests between two connections.
const PROBER_REST: Duration = Duration::from_millis(1);
/// Connections that are open, or on which a request is in flight.
const CONNECTIONS: usize = 40;
/// A new connection that takes longer is late.
pub(crate) const LATE: Duration = Duration::from_millis(100);
/// A new client that is not answered by then gives up.
pub(crate) const GIVES_UP: Duration = Duration::from_secs(2);
/// A worker that is not back by then does not come back.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is let pass before a death, and after a successor is there.
const SETTLE: Duration = Duration::from_millis(50);

/// How a server came back after a worker's death.
pub(crate) struct Recovery {
    /// From the close of the connection that caused the death.
    pub(crate) time: Duration,
    /// New connections meanwhile.
    pub(crate) asked: u64,
    pub(crate) failed: u64,
    pub(crate) late: u64,
    pub(crate) longest: Duration,
}

/// What a death has cost those who were connected.
pub(crate) struct Loss {
    /// On the worker that died.
    pub(crate) there: usize,
    /// Of these, the lost.
    pub(crate) lost_there: usize,
    /// The lost of other workers.
    pub(crate) lost_elsewhere: usize,
}

/// A connection to a worker that is about to die.
struct Victim {
    stream: TcpStream,
    worker: String,
}

impl Victim {
    fn find(address: SocketAddr) -> io::Result<Victim> {
        let stream = connect(address)?;
        let worker = ask(&stream, "/worker")?;
        Ok(Victim { stream, worker })
    }

    /// Has the worker die; returns when the connection has closed.
    fn kill(&self) -> io::Result<Instant> {
        send(&self.stream, "/executor-panic")?;
        match (&self.stream).read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(Instant::now()),
        }
    }
}

/// What new clients see while a worker dies and comes back.
#[derive(Default)]
struct Probes {
    died: OnceLock<Instant>,
    back: OnceLock<Instant>,
    over: AtomicBool,
    asked: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    longest_micros: AtomicU64,
}

/// Kills a worker and waits for its successor's first answer.
pub(crate) fn recovery(server: &mut Server) -> io::Result<Recovery> {
    let before = server.listened();
    let (address, probes) = (server.address, Probes::default());
    let victim = Victim::find(address)?;
    let killed = thread::scope(|scope| {
        for _ in 0..PROBERS {
            scope.spawn(|| probes.run(address, &victim.worker));
        }
        thread::sleep(SETTLE);
        let killed = victim.kill().map(|died| probes.died.get_or_init(|| died));
        let deadline = Instant::now() + PATIENCE;
        while killed.is_ok() && probes.back.get().is_none() && Instant::now() < deadline {
            thread::sleep(PROBER_REST);
        }
        probes.over.store(true, Ordering::SeqCst);
        killed.map(drop)
    });
    killed?;
    await_successor(server, before)?;
    let (Some(died), Some(back)) = (probes.died.get(), probes.back.get()) else {
        return Err(io::Error::other("the worker has not come back"));
    };
    let count = |count: &AtomicU64| count.load(Ordering::SeqCst);
    Ok(Recovery {
        time: back.duration_since(*died),
        asked: count(&probes.asked),
        failed: count(&probes.failed),
        late: count(&probes.late),
        longest: Duration::from_micros(count(&probes.longest_micros)),
    })
}

impl Probes {
    fn run(&self, address: SocketAddr, worker: &str) {
        while !self.over.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let answered = connect(address).and_then(|stream| {
                stream.set_read_timeout(Some(GIVES_UP))?;
                ask(&stream, "/worker")
            });
            let took = begun.elapsed();
            self.asked.fetch_add(1, Ordering::SeqCst);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.longest_micros.fetch_max(micros, Ordering::SeqCst);
            self.late.fetch_add(u64::from(took > LATE), Ordering::SeqCst);
            match answered {
                // One that was begun before the death may be the dead one's last.
                Ok(by) if by == worker && self.died.get().is_some_and(|died| *died <= begun) => {
                    // Another client may have been first.
                    let _second = self.back.set(Instant::now());
                }
                Ok(_) => {}
                Err(_) => drop(self.failed.fetch_add(1, Ordering::SeqCst)),
            }
            thread::sleep(PROBER_REST);
        }
    }
}

/// Of connections that wait for their client, how many a death ends.
pub(crate) fn idle(server: &mut Server) -> io::Result<Loss> {
    let (before, open) = (server.listened(), open(server.address)?);
    let victim = Victim::find(server.address)?;
    thread::sleep(SETTLE);
    victim.kill()?;
    await_successor(server, before)?;
    Ok(loss(&victim, &open, |stream| ask(stream, "/").is_err()))
}

/// Of requests that are being answered, how many a death ends.
pub(crate) fn in_flight(server: &mut Server) -> io::Result<Loss> {
    let (before, open) = (server.listened(), open(server.address)?);
    let victim = Victim::find(server.address)?;
    thread::sleep(SETTLE);
    open.iter().try_for_each(|(stream, _)| send(stream, "/slow"))?;
    victim.kill()?;
    let loss = loss(&victim, &open, |stream| receive(stream).is_err());
    await_successor(server, before)?;
    Ok(loss)
}

/// Connections, each with the number of its worker.
fn open(address: SocketAddr) -> io::Result<Vec<(TcpStream, String)>> {
    // Those of the measurement before are gone by then, and weigh on no worker.
    thread::sleep(SETTLE);
    let streams = (0..CONNECTIONS).map(|_| connect(address));
    let streams = streams.collect::<io::Result<Vec<_>>>()?;
    let numbered = streams.into_iter().map(|stream| {
        let worker = ask(&stream, "/worker")?;
        Ok((stream, worker))
    });
    numbered.collect()
}

fn loss(
    victim: &Victim,
    open: &[(TcpStream, String)],
    is_lost: impl Fn(&TcpStream) -> bool,
) -> Loss {
    let mut all = Loss { there: 0, lost_there: 0, lost_elsewhere: 0 };
    for (stream, worker) in open {
        let lost = usize::from(is_lost(stream));
        if *worker == victim.worker {
            all.there += 1;
            all.lost_there += lost;
        } else {
            all.lost_elsewhere += lost;
        }
    }
    all
}

fn await_successor(server: &mut Server, before: u64) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while server.listened() == before {
        server.check()?;
        if Instant::now() > deadline {
            return Err(io::Error::other("the worker has no successor"));
        }
        thread::sleep(PROBER_REST);
    }
    thread::sleep(SETTLE);
    Ok(())
}
