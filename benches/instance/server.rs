//! A server under test: started, waited for, and ended with the bench.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};

/// The example that has every fault.
const EXAMPLE: &str = "faults";
/// How long a server may take until every worker listens.
const START: Duration = Duration::from_secs(20);
/// How many of its last lines are kept, to be shown if it ends.
const LINES_KEPT: usize = 8;

/// A started server, killed when dropped.
///
/// It says on stderr where it listens, in a line with `http://ADDRESS`, and each time that a worker
/// accepts connections, in a line that ends with `listening`: so does corelane.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    said: Arc<Said>,
}

/// What a server has said.
#[derive(Default)]
struct Said {
    listened: AtomicU64,
    last: Mutex<VecDeque<String>>,
}

/// Builds the example as a user would, so that it is not older than the library.
pub(crate) fn build_faults() -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--example", EXAMPLE])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()?;
    // This bench is `deps/NAME-...` of the same directory.
    let bench = std::env::current_exe()?;
    let profile = bench.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?;
    let example = profile.join("examples").join(EXAMPLE);
    if built.status.success() && example.is_file() {
        return Ok(example);
    }
    let said = String::from_utf8_lossy(&built.stderr);
    Err(io::Error::other(format!("the example {EXAMPLE} was not built: {}", said.trim())))
}

impl Server {
    /// Starts it and returns once so many workers listen.
    pub(crate) fn start(mut command: Command, workers: u64) -> io::Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Looking up the lines of a backtrace takes longer than all that is measured.
        command.env_remove("RUST_BACKTRACE");
        // Its own group, so that Ctrl-C is the bench's alone, which then reports and ends it.
        command.process_group(0);
        let follow = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: between fork and exec it makes one system call and allocates nothing.
        unsafe { command.pre_exec(follow) };
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (said, (tell, told)) = (Arc::<Said>::default(), channel());
        let hearing = Arc::clone(&said);
        thread::spawn(move || hearing.hear(stderr, &tell));
        // Made before it listens, so that it is killed if it never does.
        let mut server = Server { address: SocketAddr::from(([0; 4], 0)), child, said };
        server.address = server.listening(&told, workers)?;
        Ok(server)
    }

    /// How often a worker has begun to listen.
    pub(crate) fn listened(&self) -> u64 {
        self.said.listened.load(Ordering::SeqCst)
    }

    /// An error if it has ended, with what it said last.
    pub(crate) fn check(&mut self) -> io::Result<u32> {
        match self.child.try_wait()? {
            None => Ok(self.child.id()),
            Some(status) => {
                let last = self.said.last.lock().unwrap_or_else(PoisonError::into_inner);
                let last = Vec::from(last.clone()).join("\n    ");
                Err(io::Error::other(format!("the server has ended, {status}:\n    {last}")))
            }
        }
    }

    fn listening(&mut self, told: &Receiver<SocketAddr>, workers: u64) -> io::Result<SocketAddr> {
        let deadline = Instant::now() + START;
        let mut address = None;
        while address.is_none() || self.listened() < workers {
            self.check()?;
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("no {workers} workers within {START:?}")));
            }
            address = address.or(told.recv_timeout(Duration::from_millis(5)).ok());
        }
        address.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both may fail only if it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Said {
    /// Reads to the end, lest the server be stopped by a full pipe.
    fn hear(&self, stderr: ChildStderr, tell: &Sender<SocketAddr>) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                // Asked for once; the start may be over.
                let _late = tell.send(address);
            }
            if line.ends_with("listening") {
                self.listened.fetch_add(1, Ordering::SeqCst);
            }
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() == LINES_KEPT {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split([',', ' ', '/']).next()?.parse().ok()
}
