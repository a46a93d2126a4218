//! What the load generator does not measure: idle connections, starts, and deaths.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::contender::Contender;
use crate::failure::{Doing, Failure};
use crate::process;
use crate::results::{BINARY, DEATH_MS, IDLE_BYTES, RESIDENT, START_MS};
use crate::server::Server;
use crate::statistics::Spread;
use crate::workshop::Shop;

/// Connections that are open when the server's memory is first looked at.
const FEW: usize = 64;

/// Starts in one round, of which the middle one counts.
const STARTS: usize = 3;

/// Between two deaths: long enough for a worker to have come to rest.
const REST: Duration = Duration::from_millis(60);

/// A worker that is not back by then does not come back.
const PATIENCE: Duration = Duration::from_secs(10);

type Figures = BTreeMap<String, f64>;

/// Opens that many connections, with one request behind each; what each keeps resident.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52, where f64 begins to round")]
pub(crate) fn idle(server: &Server, connections: usize) -> Result<Figures, Failure> {
    let resident = || process::resident(server.group()).doing("reading the server's memory");
    let mut open = Vec::with_capacity(connections);
    grow(&mut open, FEW, server)?;
    let few = resident()?;
    grow(&mut open, connections, server)?;
    let many = resident()?;
    // The first was idle for longest; the memory counts only if it is still served.
    open[0].hello().map_err(|error| server.failed(format!("closed when idle: {error}")))?;
    let each = (many as f64 - few as f64) / (connections - FEW) as f64;
    Ok(Figures::from([
        (IDLE_BYTES.to_owned(), each),
        ("resident_bytes_few".to_owned(), few as f64),
        (RESIDENT.to_owned(), many as f64),
    ]))
}

/// Opens connections until there are `target`; each asks once.
fn grow(open: &mut Vec<Client>, target: usize, server: &Server) -> Result<(), Failure> {
    while open.len() < target {
        let client = Client::connect(server.address())
            .and_then(|mut client| client.hello().map(|_| client))
            .map_err(|error| server.failed(format!("connection {}: {error}", open.len() + 1)))?;
        open.push(client);
    }
    Ok(())
}

/// Starts it several times.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52, where f64 begins to round")]
pub(crate) fn start(contender: Contender, shop: &Shop) -> Result<Figures, Failure> {
    let mut times = Vec::new();
    let mut resident = Vec::new();
    for _ in 0..STARTS {
        let server = Server::start(contender, 1, shop)?;
        times.push(server.took.as_secs_f64() * 1e3);
        let bytes = process::resident(server.group()).doing("reading the server's memory")?;
        resident.push(bytes as f64);
    }
    let binary = fs::metadata(shop.program(contender)).doing("looking at a program")?.len();
    let middle = |figures| Spread::of(figures).map_or(0.0, |spread| spread.median);
    Ok(Figures::from([
        (START_MS.to_owned(), middle(times)),
        (RESIDENT.to_owned(), middle(resident)),
        (BINARY.to_owned(), binary as f64),
    ]))
}

/// Has the only worker die again and again; from the close of its connection to the next answer.
pub(crate) fn death(server: &Server, deaths: usize) -> Result<Figures, Failure> {
    let mut times = Vec::new();
    for _ in 0..deaths {
        std::thread::sleep(REST);
        let time = one_death(server).map_err(|error| server.failed(error))?;
        times.push(time.as_secs_f64() * 1e3);
    }
    let spread = Spread::of(times).unwrap_or(Spread { least: 0.0, median: 0.0, most: 0.0 });
    Ok(Figures::from([
        (DEATH_MS.to_owned(), spread.median),
        ("most_milliseconds".to_owned(), spread.most),
    ]))
}

fn one_death(server: &Server) -> io::Result<Duration> {
    let mut victim = Client::connect(server.address())?;
    victim.hello()?;
    victim.send("GET", "/die", b"")?;
    // Its answer may or may not get out; the close does.
    victim.closed()?;
    let closed = Instant::now();
    loop {
        // Whoever was accepted by the dying worker is closed without an answer.
        let answered = Client::connect(server.address()).and_then(|mut client| client.hello());
        match answered {
            Ok(_) => return Ok(closed.elapsed()),
            Err(error) if closed.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
    }
}
