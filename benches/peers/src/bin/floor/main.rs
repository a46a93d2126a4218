//! The bare loops, `floor uring|epoll PORT WORKERS`: threads that answer every request alike.
//!
//! No routes, no limits, no timeouts, no executor: what is left is the least that a server can
//! spend on this kernel through `io_uring` or through epoll, with requests parsed by httparse.
//! Each thread has a listener and connections of its own. Not to be run where strangers can
//! connect.

mod answer;
mod buffers;
mod epoll;
mod uring;

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The exit code tells as well.
            let _closed = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let [kind, port, workers] = arguments else {
        return Err(io::Error::other("usage: floor uring|epoll PORT WORKERS"));
    };
    let port = port.parse().map_err(io::Error::other)?;
    let workers = workers.parse().map_err(io::Error::other)?;
    match kind.as_str() {
        "uring" => peers::on_threads(workers, move || uring::serve(peers::listen(port)?)),
        "epoll" => peers::on_threads(workers, move || epoll::serve(&peers::listen(port)?)),
        _ => Err(io::Error::other(format!("no loop is called {kind:?}"))),
    }
}
