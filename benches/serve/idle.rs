//! What an idle connection keeps resident.

use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::CLIENT_CPU;
use crate::client;
use crate::contender::Contender;
use crate::failure::{Doing, Failure};
use crate::launch;
use crate::note;
use crate::process;
use crate::server::Server;

/// Connections that are open when the server's memory is first looked at.
pub(crate) const FEW: usize = 64;

/// Descriptors that a process needs besides those of the connections.
const SPARE_DESCRIPTORS: u64 = 256;

/// One contender's memory.
pub(crate) struct Memory {
    pub(crate) contender: Contender,
    /// Bytes resident with [`FEW`] connections.
    pub(crate) few: u64,
    /// Bytes resident with all connections.
    pub(crate) many: u64,
}

impl Memory {
    /// Bytes per connection beyond the first [`FEW`].
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52, where f64 begins to round")]
    pub(crate) fn per_connection(&self, connections: usize) -> f64 {
        (self.many as f64 - self.few as f64) / (connections - FEW) as f64
    }
}

/// Opens that many connections to each contender in turn, with one request behind each.
pub(crate) fn measure(
    connections: usize,
    contenders: &[Contender],
) -> Result<Vec<Memory>, Failure> {
    if connections <= FEW {
        return Err(Failure::Usage(format!("--idle must be more than {FEW}")));
    }
    allow_descriptors(connections as u64 + SPARE_DESCRIPTORS)?;
    launch::pin(CLIENT_CPU)?;
    contenders.iter().map(|&contender| hold(connections, contender)).collect()
}

fn hold(connections: usize, contender: Contender) -> Result<Memory, Failure> {
    note(&format!("{connections} idle connections: {}", contender.name()));
    let server = Server::start(contender)?;
    let resident = || process::resident(server.group()).doing("reading the server's memory");
    let mut open = Vec::with_capacity(connections);
    grow(&mut open, FEW, &server)?;
    let few = resident()?;
    grow(&mut open, connections, &server)?;
    let many = resident()?;
    // The first was idle for longest; the memory counts only if it is still served.
    client::ask(&open[0]).map_err(|error| server.failed(format!("closed when idle: {error}")))?;
    Ok(Memory { contender, few, many })
}

/// Opens connections until there are `target`; each asks once.
fn grow(open: &mut Vec<TcpStream>, target: usize, server: &Server) -> Result<(), Failure> {
    while open.len() < target {
        let stream = client::connect(server.address())
            .and_then(|stream| client::ask(&stream).map(|()| stream))
            .map_err(|error| server.failed(format!("connection {}: {error}", open.len() + 1)))?;
        open.push(stream);
    }
    Ok(())
}

/// Raises the limit of descriptors, for this process and the servers that it starts.
fn allow_descriptors(needed: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .doing(format!("raising the limit of descriptors to {needed}"))
}
