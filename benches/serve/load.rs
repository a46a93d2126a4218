//! `wrk`, the load.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::CLIENT_CPU;
use crate::contender::find;
use crate::failure::{Doing, Failure};
use crate::launch;
use crate::options::Workload;

const SCRIPT: &str = include_str!("wrk.lua");

/// `wrk` with its script, ready to be let loose on a server.
pub(crate) struct Load {
    wrk: PathBuf,
    script: PathBuf,
    _directory: TempDir,
}

/// What `wrk` counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    pub(crate) errors: u64,
}

/// Refuses to begin without `wrk`.
pub(crate) fn require_wrk() -> Result<PathBuf, Failure> {
    find("wrk").ok_or(Failure::NoWrk)
}

impl Load {
    /// Finds `wrk` and writes its script.
    pub(crate) fn new() -> Result<Load, Failure> {
        let wrk = require_wrk()?;
        let directory = TempDir::new().doing("making a temporary directory")?;
        let script = directory.path().join("wrk.lua");
        fs::write(&script, SCRIPT).doing("writing the script of wrk")?;
        Ok(Load { wrk, script, _directory: directory })
    }

    /// Loads the server for `seconds` from one thread.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        workload: Workload,
        seconds: u64,
    ) -> Result<Count, Failure> {
        let output = launch::pinned(CLIENT_CPU, &self.wrk)
            .and_then(|mut command| {
                command.arg("-t1").arg(format!("-c{}", workload.connections));
                command.arg(format!("-d{seconds}s")).arg("-s").arg(&self.script);
                command.arg(format!("http://{address}/"));
                command.args(["--", &workload.pipeline.to_string()]).output()
            })
            .doing("running wrk")?;
        let said = String::from_utf8_lossy(&output.stdout);
        counted(&said).ok_or_else(|| Failure::Contender {
            name: "wrk",
            what: format!("{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr)),
        })
    }
}

/// Reads the line that the script writes: requests, microseconds, errors.
fn counted(said: &str) -> Option<Count> {
    let line = said.lines().find_map(|line| line.strip_prefix("measured "))?;
    let mut figures = line.split(' ').map(|figure| figure.parse().ok());
    Some(Count {
        requests: figures.next()??,
        elapsed: Duration::from_micros(figures.next()??),
        errors: figures.next()??,
    })
}
