//! A contender that runs.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peers::FILES;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::client::Client;
use crate::contender::Contender;
use crate::failure::{Doing, Failure};
use crate::load;
use crate::websocket;
use crate::workshop::Shop;

/// How long a contender may take until it answers.
const START: Duration = Duration::from_secs(20);

/// How often it is asked meanwhile.
const LOOK: Duration = Duration::from_micros(200);

/// A started contender; dropping it kills it and whatever it started.
pub(crate) struct Server {
    contender: Contender,
    address: SocketAddr,
    child: Child,
    directory: TempDir,
    /// From the start to the first answer.
    pub(crate) took: Duration,
}

impl Server {
    /// Starts a contender on a free port and returns once it answers.
    pub(crate) fn start(
        contender: Contender,
        workers: usize,
        shop: &Shop,
    ) -> Result<Server, Failure> {
        let doing = || format!("starting {}", contender.name());
        let directory = TempDir::new().doing(doing())?;
        let address = free_address().doing(doing())?;
        put_files(&directory.path().join("files")).doing(doing())?;
        let said = File::create(directory.path().join("said")).doing(doing())?;
        let mut command =
            contender.command(shop, address.port(), workers, directory.path()).doing(doing())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        // Looking up the lines of a backtrace takes longer than a worker's restart.
        command.env_remove("RUST_BACKTRACE");
        let begun = Instant::now();
        let child = command.spawn().doing(doing())?;
        let mut server = Server { contender, address, child, directory, took: Duration::ZERO };
        server.answers(begun)?;
        server.took = begun.elapsed();
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process group that it leads, by the number of its first process.
    pub(crate) fn group(&self) -> u32 {
        self.child.id()
    }

    /// A failure that names this contender, with what it said last.
    pub(crate) fn failed(&self, what: impl std::fmt::Display) -> Failure {
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        let last = said.trim().lines().last().unwrap_or_default();
        let said = if last.is_empty() { String::new() } else { format!("; it said: {last}") };
        Failure::Contender { name: self.contender.name(), what: format!("{what}{said}") }
    }

    fn ready(&self) -> io::Result<()> {
        if self.contender == Contender::Tungstenite {
            return websocket::connect(self.address).map(drop);
        }
        let hello = self.contender.hello();
        Client::connect(self.address)?.hello_of(hello).map(drop)
    }

    fn answers(&mut self, begun: Instant) -> Result<(), Failure> {
        loop {
            let Err(error) = self.ready() else { return Ok(()) };
            if let Some(status) = self.child.try_wait().doing("waiting for a contender")? {
                return Err(self.failed(format!("ended at once, {status}")));
            }
            if begun.elapsed() > START {
                return Err(self.failed(format!("does not answer: {error}")));
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both may fail only if it has ended already.
        if let Ok(Some(group)) = i32::try_from(self.child.id()).map(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// Writes the files that are served.
fn put_files(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (name, bytes) in FILES {
        fs::write(directory.join(name), load::body(bytes))?;
    }
    fs::write(directory.join("page.txt"), peers::page())
}

/// An address that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
