//! The thread that writes a log.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How many lines may wait to be written.
const QUEUE_MAX: usize = 4096;

/// How much is written at a time.
const BATCH_BYTES: usize = 64 * 1024;

/// How long the last handle waits for the rest to be written; a disk may be stuck.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where log lines go: a bounded queue to one thread that writes them. Clones are handles of the
/// same log, for the app of each core and for whoever rotates the file.
///
/// No core ever waits for it. When the queue is full, because the disk or the reader of a pipe is
/// slow, lines are dropped; when the disk is full, they fail. Both are [counted](Self::dropped),
/// and told to `tracing` once. When there is room again, lines are written again. When the
/// last handle is dropped, what waits is written, for up to two seconds.
///
/// ```no_run
/// use corelane::{AccessLog, App, Cluster, LogWriter};
///
/// # fn main() -> std::io::Result<()> {
/// let log = LogWriter::file("/var/log/my-app/access.log")?;
/// let handle = log.clone(); // handle.reopen() once the file has been renamed
/// let cluster = Cluster::new(move || {
///     App::new().get("/", async || "Hello, Cluster!").wrap(AccessLog::json(&log))
/// });
/// # let _ = (cluster, handle);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LogWriter(Arc<Handle>);

struct Handle {
    /// `None` only while the last handle is dropped.
    lines: Option<SyncSender<Message>>,
    /// Hears of the end of the thread.
    over: Mutex<Receiver<()>>,
    shared: Arc<Shared>,
}

enum Message {
    Line(Vec<u8>),
    /// There is something to be seen in `Shared`.
    Nudge,
}

#[derive(Default)]
struct Shared {
    reopen: AtomicBool,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// Whether it has been told that lines are dropped.
    told: AtomicBool,
}

impl LogWriter {
    /// Appends to a file, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened, or there can be no more threads.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = open(&path)?;
        Self::start(Output::File { path, file })
    }

    /// Writes to the standard output.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    /// Writes to the standard error output.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn stderr() -> io::Result<Self> {
        Self::to(io::stderr())
    }

    /// Writes to whatever can be written to from another thread.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn to(writer: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start(Output::Other(Box::new(writer)))
    }

    fn start(output: Output) -> io::Result<Self> {
        let (lines, inbox) = sync_channel(QUEUE_MAX);
        let (alive, over) = sync_channel::<()>(0);
        let shared = Arc::<Shared>::default();
        let mut writer = Writer { output, shared: Arc::clone(&shared), torn: false, told: false };
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.run(&inbox);
            drop(alive);
        })?;
        Ok(Self(Arc::new(Handle { lines: Some(lines), over: over.into(), shared })))
    }

    /// Opens the file anew, before the next line: for those who have renamed it. Without a file it
    /// does nothing. If it cannot be opened, the old one is written on, and `tracing` is told.
    pub fn reopen(&self) {
        self.0.shared.reopen.store(true, Ordering::Release);
        // If the queue is full, the thread is not asleep and will see it anyway.
        let _seen_anyway = self.0.lines.as_ref().map(|lines| lines.try_send(Message::Nudge));
    }

    /// How many lines were dropped because the queue was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.shared.dropped.load(Ordering::Relaxed)
    }

    /// How many lines could not be written, such as to a full disk; of lines that are written
    /// together all count, if one fails.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.shared.failed.load(Ordering::Relaxed)
    }

    /// Has a line written, which ends in a line feed.
    pub(super) fn write(&self, line: Vec<u8>) {
        let Handle { lines, shared, .. } = &*self.0;
        if lines.as_ref().is_some_and(|lines| lines.try_send(Message::Line(line)).is_ok()) {
            return;
        }
        shared.dropped.fetch_add(1, Ordering::Relaxed);
        if !shared.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("log lines are dropped, because they are not written fast enough");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.lines = None;
        let Ok(over) = self.over.get_mut() else { return };
        if over.recv_timeout(FAREWELL) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of a log are given up, because its disk is stuck");
        }
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogWriter({} dropped, {} failed)", self.dropped(), self.failed())
    }
}

enum Output {
    File { path: PathBuf, file: File },
    Other(Box<dyn Write + Send>),
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// What the thread has.
struct Writer {
    output: Output,
    shared: Arc<Shared>,
    /// Whether what was written ends in the middle of a line.
    torn: bool,
    /// Whether it has been told that writing fails.
    told: bool,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Message>) {
        let mut batch = Vec::new();
        while let Ok(first) = inbox.recv() {
            let mut count = 0;
            let mut next = Some(first);
            while let Some(message) = next {
                if let Message::Line(line) = message {
                    batch.extend_from_slice(&line);
                    count += 1;
                }
                next = (batch.len() < BATCH_BYTES).then(|| inbox.try_recv().ok()).flatten();
            }
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            self.write(&batch, count);
            batch.clear();
        }
    }

    fn reopen(&mut self) {
        let Output::File { path, file } = &mut self.output else { return };
        match open(path) {
            Ok(new) => {
                *file = new;
                self.torn = false;
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%path, %error, "a log cannot be reopened; the old one goes on");
            }
        }
    }

    /// Writes lines, or counts them as failed.
    fn write(&mut self, batch: &[u8], count: u64) {
        if batch.is_empty() {
            return;
        }
        let torn = std::mem::take(&mut self.torn);
        let result = if torn { self.write_all(b"\n") } else { Ok(()) };
        self.torn |= torn && result.is_err();
        let Err(error) = result.and_then(|()| self.write_all(batch)) else { return };
        self.shared.failed.fetch_add(count, Ordering::Relaxed);
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!(%error, "log lines cannot be written; hint: is the disk full?");
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let output: &mut dyn Write = match &mut self.output {
            Output::File { file, .. } => file,
            Output::Other(writer) => writer,
        };
        while !bytes.is_empty() {
            match output.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A disk that is stuck until it is told how many bytes it takes at the next call; 0 is full.
    struct Disk {
        begun: Sender<()>,
        room: Receiver<usize>,
        written: Written,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).unwrap();
            let room = self.room.recv().unwrap_or(usize::MAX).min(bytes.len());
            self.written.lock().unwrap().extend_from_slice(&bytes[..room]);
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<u8>>>;

    fn disk() -> (LogWriter, Receiver<()>, Sender<usize>, Written) {
        let ((begun, begins), (grant, room)) = (channel(), channel());
        let written = Written::default();
        let log = LogWriter::to(Disk { begun, room, written: Arc::clone(&written) }).unwrap();
        (log, begins, grant, written)
    }

    #[test]
    fn a_stuck_disk_costs_lines_and_no_time() {
        let (log, begins, grant, written) = disk();
        log.write(b"first\n".to_vec());
        begins.recv().unwrap();
        for _ in 0..QUEUE_MAX + 10 {
            log.write(b"more\n".to_vec());
        }
        assert_eq!(log.dropped(), 10);
        drop(grant);
        drop(log);
        let written = written.lock().unwrap();
        assert_eq!(written.len(), 6 + 5 * QUEUE_MAX, "the rest is written at the end");
    }

    #[test]
    fn a_full_disk_is_counted_and_written_again_later() {
        let (log, begins, grant, written) = disk();
        // Part of a line, no more, then there is room again.
        for (line, rooms) in [("lost\n", [2, 0].as_slice()), ("kept\n", &[1, 99])] {
            log.write(line.into());
            for room in rooms {
                begins.recv().unwrap();
                grant.send(*room).unwrap();
            }
        }
        let shared = Arc::clone(&log.0.shared);
        drop(log);
        assert_eq!(shared.failed.load(Ordering::Relaxed), 1);
        assert_eq!(*written.lock().unwrap(), b"lo\nkept\n", "each line begins on its own");
    }

    #[test]
    fn a_renamed_file_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("old.log"));
        let log = LogWriter::file(&path).unwrap();
        log.write(b"one\n".to_vec());
        while std::fs::read(&path).unwrap().is_empty() {
            thread::yield_now();
        }
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        log.write(b"two\n".to_vec());
        drop(log);
        assert_eq!(std::fs::read(&old).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        LogWriter::file(&path).unwrap().write(b"three\n".to_vec());
        assert_eq!(std::fs::read(&path).unwrap(), b"two\nthree\n", "files are appended to");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        assert!(LogWriter::file("/nowhere/access.log").is_err());
    }
}
