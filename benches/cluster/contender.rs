//! Who is measured, and how each is started.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::WORKERS;
use crate::server::{self, Server};

/// A server to be measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Contender {
    /// The example with every fault.
    pub(crate) fn corelane() -> io::Result<Contender> {
        let workers = WORKERS.to_string();
        let arguments =
            ["--listen", "127.0.0.1:0", "--instances", &workers, "--unlimited-restarts"];
        let program = server::build_faults()?.into();
        Ok(Contender { name: "corelane", program, arguments: arguments.map(Into::into).to_vec() })
    }

    /// Node's `cluster`; an error if there is no Node.
    pub(crate) fn node() -> io::Result<Contender> {
        let mut command = Command::new("node");
        let found = command.arg("--version").stdin(Stdio::null()).output();
        found.map_err(|error| io::Error::new(error.kind(), format!("node is missing: {error}")))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cluster/node.js");
        let arguments = vec![script.into(), WORKERS.to_string().into()];
        Ok(Contender { name: "node", program: "node".into(), arguments })
    }

    /// Starts it and returns once all workers listen.
    pub(crate) fn start(&self) -> io::Result<Server> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        Server::start(command, WORKERS as u64)
    }
}
