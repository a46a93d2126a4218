//! A contender that runs.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::client;
use crate::contender::Contender;
use crate::failure::{Doing, Failure};

/// How long a contender may take until it listens.
const START: Duration = Duration::from_secs(10);

/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);

/// A started contender; dropping it kills it and whatever it started.
pub(crate) struct Server {
    contender: Contender,
    address: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl Server {
    /// Starts a contender on a free port and returns once it gives the expected answer.
    pub(crate) fn start(contender: Contender) -> Result<Server, Failure> {
        let doing = || format!("starting {}", contender.name());
        let directory = TempDir::new().doing(doing())?;
        let address = free_address().doing(doing())?;
        let said = File::create(directory.path().join("said")).doing(doing())?;
        let child = contender
            .command(address.port(), directory.path())
            .and_then(|mut command| {
                command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
                command.stderr(said).spawn()
            })
            .doing(doing())?;
        let mut server = Server { contender, address, child, directory };
        server.listening()?;
        client::connect(address)
            .and_then(|stream| client::ask(&stream))
            .map_err(|error| server.failed(error.to_string()))?;
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process group that it leads.
    pub(crate) fn group(&self) -> u32 {
        self.child.id()
    }

    /// A failure that names this contender.
    pub(crate) fn failed(&self, what: impl Into<String>) -> Failure {
        Failure::Contender { name: self.contender.name(), what: what.into() }
    }

    fn listening(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START;
        while client::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait().doing("waiting for a contender")? {
                return Err(self.failed(format!("ended at once, {status}: {}", self.said())));
            }
            if Instant::now() > deadline {
                return Err(self.failed(format!("does not listen: {}", self.said())));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What it wrote to stderr.
    fn said(&self) -> String {
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        said.trim().to_owned()
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

/// An address that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
