//! What a manager may ask of the program while it runs: see [`crate::control::wire`].
//!
//! A thread of its own accepts at the socket that the manager has passed, another answers each
//! connection. None of them touches a worker but through its cluster.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::announce::say;
use crate::cluster::{Address, Cluster, Instances, Remote};
use crate::control::wire::{
    Ask, DESCRIPTOR, INSTANCES, LINE_BYTES_MAX, Line, PID, ProgramReport, Question, SHARED, Tell,
    WorkerReport,
};
use crate::stats::WorkerFigures;
use crate::sys::{inherit, rights};

/// How long the end of the program may take to tell what was counted.
const LAST_WORD_MAX: Duration = Duration::from_millis(500);

/// What a manager has started this program with.
#[derive(Debug)]
pub(super) struct Managed {
    listener: UnixListener,
    /// How many workers it wants.
    instances: Option<Instances>,
    /// Another process accepts from the same sockets.
    shared: bool,
}

/// What is known of the program.
#[derive(Default)]
struct Board {
    clusters: Mutex<Vec<(String, Remote)>>,
    ready: AtomicBool,
    draining: AtomicBool,
    closed: AtomicBool,
    /// The connections of managers, to be told what they have not asked for.
    connections: Mutex<Vec<Arc<Mutex<UnixStream>>>>,
}

/// The program's side of its control socket; without a manager nobody hears of it.
#[derive(Clone, Default)]
pub(super) struct Control(Arc<Board>);

impl Managed {
    /// If a manager has started this very process.
    pub(super) fn of_process() -> Option<Self> {
        let number = |name| env::var(name).ok()?.parse::<i32>().ok();
        let meant = number(PID)?.unsigned_abs() == std::process::id();
        let descriptor = number(DESCRIPTOR).filter(|_| meant)?;
        let socket = match inherit::take_control(descriptor) {
            Ok(socket) => socket,
            Err(error) => {
                say(&format!("warning: the manager cannot ask anything: {error}"));
                return None;
            }
        };
        let instances = env::var(INSTANCES).ok().and_then(|text| text.parse().ok());
        let shared = env::var_os(SHARED).is_some();
        Some(Self { listener: socket.into(), instances, shared })
    }

    /// Has a cluster be what the manager wants.
    pub(super) fn direct(&self, cluster: Cluster) -> Cluster {
        let cluster = cluster.shared(self.shared);
        match self.instances {
            Some(instances) => cluster.instances(instances),
            None => cluster,
        }
    }

    /// Answers from now on.
    pub(super) fn serve(self, control: &Control) -> io::Result<()> {
        let (listener, control) = (self.listener, control.clone());
        listener.set_nonblocking(false)?;
        let accept = move || {
            for connection in listener.incoming() {
                // An accept that fails for want of something must not spin.
                let Ok(stream) = connection else {
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                let control = control.clone();
                let thread = thread::Builder::new().name("corelane-ctl".to_owned());
                // One that cannot be answered sees its connection end.
                let _refused = thread.spawn(move || control.converse(stream));
            }
        };
        thread::Builder::new().name("corelane-control".to_owned()).spawn(accept).map(drop)
    }
}

impl Control {
    /// These serve.
    pub(super) fn ready(&self, clusters: Vec<(String, Remote)>) {
        *lock(&self.0.clusters) = clusters;
        self.0.ready.store(true, Ordering::Release);
    }

    /// The end has begun.
    pub(super) fn draining(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Nobody accepts any more.
    pub(super) fn closed(&self) {
        self.0.closed.store(true, Ordering::Release);
        let connections = lock(&self.0.connections).clone();
        for connection in connections {
            // One that has gone asks, should it come back.
            let _gone = write(&connection, None, Tell::Closed);
        }
    }

    /// All clusters have ended: what they have counted is not to be lost with them.
    pub(super) fn last_word(&self) {
        let connections = lock(&self.0.connections).clone();
        for connection in connections {
            // No manager that does not listen is waited for.
            let timed = lock(&connection).set_write_timeout(Some(LAST_WORD_MAX));
            let _gone = timed.and_then(|()| self.tell_metrics(&connection, None));
        }
    }

    fn converse(&self, stream: UnixStream) {
        if !is_allowed(&stream) {
            return;
        }
        let Ok(writer) = stream.try_clone() else { return };
        let writer = Arc::new(Mutex::new(writer));
        lock(&self.0.connections).push(Arc::clone(&writer));
        let mut reader = BufReader::new(Receiver { stream, passed: Vec::new() });
        let mut line = String::new();
        loop {
            line.clear();
            let bounded = (&mut reader).take(LINE_BYTES_MAX as u64).read_line(&mut line);
            if !matches!(bounded, Ok(1..)) {
                break;
            }
            // A manager of another version may ask what this one does not know.
            let number = serde_json::from_str(&line).map(|Numbered { number }| number).ok();
            let question = serde_json::from_str::<Question>(&line);
            // Several questions may be read at once, and only this one comes with descriptors.
            let passed = match &question {
                Ok(Question { ask: Ask::Logs, .. }) => std::mem::take(&mut reader.get_mut().passed),
                _ => Vec::new(),
            };
            let done = match question {
                Ok(question) => self.answer(&writer, question, &passed),
                Err(error) => write(&writer, number, Tell::Failed { problem: error.to_string() }),
            };
            if done.is_err() {
                break;
            }
        }
        lock(&self.0.connections).retain(|other| !Arc::ptr_eq(other, &writer));
    }

    fn answer(
        &self,
        writer: &Arc<Mutex<UnixStream>>,
        Question { number, ask }: Question,
        passed: &[OwnedFd],
    ) -> io::Result<()> {
        let told = match ask {
            Ask::Status => Tell::Status(self.report()),
            Ask::Metrics => return self.tell_metrics(writer, Some(number)),
            Ask::Scale { instances } => {
                // It takes a while, and other questions need not wait for it.
                let (control, writer) = (self.clone(), Arc::clone(writer));
                let scale = move || {
                    let told = done(control.scale(&instances));
                    let _gone = write(&writer, Some(number), told);
                };
                return thread::Builder::new().spawn(scale).map(drop);
            }
            Ask::Alone => {
                lock(&self.0.clusters).iter().for_each(|(_, cluster)| cluster.alone());
                Tell::Done
            }
            Ask::Sockets => return self.give_sockets(writer, number),
            Ask::Logs => done(redirect(passed)),
        };
        write(writer, Some(number), told)
    }

    fn report(&self) -> ProgramReport {
        let clusters = lock(&self.0.clusters).clone();
        let addresses = clusters.iter().flat_map(|(_, cluster)| cluster.addresses());
        let workers = clusters.iter().flat_map(|(_, cluster)| cluster.stats().workers);
        ProgramReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: self.0.ready.load(Ordering::Acquire),
            draining: self.0.draining.load(Ordering::Acquire),
            closed: self.0.closed.load(Ordering::Acquire),
            addresses: addresses.map(|address| address.to_string()).collect(),
            workers: workers.map(|worker| worker_report(&worker)).collect(),
        }
    }

    /// What is said later counts more, also if two say it.
    fn tell_metrics(&self, writer: &Mutex<UnixStream>, number: Option<u64>) -> io::Result<()> {
        let mut stream = lock(writer);
        stream.write_all(&text(number, Tell::Metrics { text: self.metrics() })?)
    }

    fn metrics(&self) -> String {
        let clusters = lock(&self.0.clusters).clone();
        clusters.iter().map(|(name, cluster)| cluster.stats().to_prometheus(name)).collect()
    }

    fn scale(&self, instances: &str) -> Result<(), String> {
        let instances: Instances = instances.parse().map_err(|error| format!("{error}"))?;
        let clusters = lock(&self.0.clusters).clone();
        match clusters.as_slice() {
            [(_, cluster)] => cluster.scale(instances).map_err(|error| error.to_string()),
            [] => Err("it does not serve yet".to_owned()),
            _ => Err("it has several clusters, and nobody knows which is meant".to_owned()),
        }
    }

    fn give_sockets(&self, writer: &Mutex<UnixStream>, number: u64) -> io::Result<()> {
        let clusters = lock(&self.0.clusters).clone();
        let found = clusters.iter().map(|(_, cluster)| cluster.sockets());
        let sockets: Vec<_> = match found.collect::<io::Result<Vec<_>>>() {
            Ok(sockets) => sockets.into_iter().flatten().collect(),
            Err(error) => {
                let problem = error.to_string();
                return write(writer, Some(number), Tell::Failed { problem });
            }
        };
        let mut left: &[(Address, OwnedFd)] = &sockets;
        loop {
            let (now, later) = left.split_at(left.len().min(rights::DESCRIPTORS_MAX));
            let addresses = now.iter().map(|(address, _)| address.to_string()).collect();
            let descriptors: Vec<_> = now.iter().map(|(_, socket)| socket.as_fd()).collect();
            let more = !later.is_empty();
            let tell = Tell::Sockets { addresses, more };
            let text = text(Some(number), tell)?;
            let mut stream = lock(writer);
            let sent = rights::send(&*stream, &text, &descriptors)?;
            stream.write_all(&text[sent..])?;
            if !more {
                return Ok(());
            }
            left = later;
        }
    }
}

/// Only the number of a question.
#[derive(serde::Deserialize)]
struct Numbered {
    number: u64,
}

/// Reads a stream, and keeps what descriptors come with the bytes.
struct Receiver {
    stream: UnixStream,
    passed: Vec<OwnedFd>,
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rights::receive(&self.stream, buffer, &mut self.passed)
    }
}

/// Root may ask, and whoever this program runs as.
fn is_allowed(stream: &UnixStream) -> bool {
    let asked_by = socket_peercred(stream).map(|peer| peer.uid);
    asked_by.is_ok_and(|uid| uid.is_root() || uid == geteuid())
}

fn text(number: Option<u64>, tell: Tell) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(&Line { number, tell })?;
    text.push(b'\n');
    Ok(text)
}

fn write(writer: &Mutex<UnixStream>, number: Option<u64>, tell: Tell) -> io::Result<()> {
    let text = text(number, tell)?;
    lock(writer).write_all(&text)
}

fn done(result: Result<(), String>) -> Tell {
    match result {
        Ok(()) => Tell::Done,
        Err(problem) => Tell::Failed { problem },
    }
}

/// Writes there from now on.
fn redirect(passed: &[OwnedFd]) -> Result<(), String> {
    let [out, err] = passed else { return Err("two descriptors are needed".to_owned()) };
    let done = rustix::stdio::dup2_stdout(out).and_then(|()| rustix::stdio::dup2_stderr(err));
    done.map_err(|errno| errno.to_string())
}

fn worker_report(worker: &WorkerFigures) -> WorkerReport {
    let WorkerFigures { worker: number, cpu, state, restarts, last_exit, figures } = worker;
    let micros = |percentile| {
        let micros = figures.latency.percentile(percentile).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    };
    WorkerReport {
        worker: *number,
        cpu: *cpu,
        state: state.to_string(),
        restarts: *restarts,
        last_exit: last_exit.clone(),
        connections: figures.connections,
        requests: figures.requests,
        requests_per_second: 0.0,
        bytes_received: figures.bytes_received,
        bytes_sent: figures.bytes_sent,
        server_errors: figures.statuses.server_error,
        panics: figures.panics,
        latency_p50_us: micros(50.0),
        latency_p99_us: micros(99.0),
    }
}

/// What panicked while it held the lock has left it whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
