//! What is in flight on a core: its ring, the tables of operations, deadlines and timers.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, Timespec};
use io_uring::{opcode, types};
use slab::Slab;

use super::deadline::{Deadlines, Millis};
use super::draining::Leave;
use super::executor::Options;
use super::mailbox::Notice;
use super::op::{Accept, Connect, Off, Read, Send, Socket, Token};
use super::quarantine::Quarantine;
use super::registry::Registry;
use super::ring::{Buffers, Completion, Queue, Wait};
use super::timer::Timers;
use super::{DeadlineKind, block};
use crate::stats::WorkerStats;

/// Buffers kept for the next socket that receives or sends.
const SPARE_MAX: usize = 256;
/// A kept buffer holds at most this many bytes; larger ones are freed.
const SPARE_BYTES_MAX: usize = 16 * 1024;
/// A turn that took longer was held up: by a handler that did not yield, or by the machine.
const TURN_MAX: Duration = Duration::from_millis(5);
/// Of its deferred work a kernel may run no more than this in one enter, and keep the rest.
const DEFERRED_MAX: usize = 20;
/// How long the end of a driver waits for the kernel to let go of what is in flight.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What [`Driver`](super::Driver) guards: the ring and everything that is in flight on it.
pub(crate) struct Core {
    // The order matters: the ring goes before the memory that it knows of.
    pub(super) queue: Queue,
    pub(super) small: Buffers,
    pub(super) large: Buffers,
    pub(super) bulk: Buffers,
    pub(super) sockets: Slab<Socket>,
    pub(super) sends: Slab<Send>,
    pub(super) accepts: Slab<Accept>,
    pub(super) reads: Slab<Read>,
    pub(super) connects: Slab<Connect>,
    pub(super) notice: Notice,
    alarm: Box<Timespec>,
    alarm_due: Option<Instant>,
    tick: Box<Timespec>,
    ticking: bool,

    pub(super) deadlines: Deadlines,
    pub(super) timers: Timers,
    pub(super) leave: Leave,
    pub(super) clock: Clock,
    /// Whom to wake at the end of the turn.
    pub(crate) woken: Vec<Waker>,
    pub(super) garbage: Garbage,
    /// What has been sent off since the last turn. Who is not `None` when everything has been
    /// submitted is sent.
    pub(super) sent_off: Vec<Option<Off>>,
    /// Somebody waits for what was sent off: the next turn must not wait.
    pub(super) hurry: bool,
    /// Buffers to be used again.
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) quarantine: Quarantine,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) registry: Registry,
    /// Operations whose last completion is still to come.
    pub(super) outstanding: usize,
    pub(super) ended: bool,
    batch: Vec<Completion>,
}

impl Core {
    /// For the calling thread, which it hears by `notice`.
    pub(super) fn new(notice: Notice, options: &Options) -> io::Result<Self> {
        let queue = Queue::new()?;
        let small = Buffers::small(&queue.submitter()?)?;
        let large = Buffers::large(&queue.submitter()?)?;
        let bulk = Buffers::bulk(&queue.submitter()?)?;
        let mut core = Self {
            queue,
            small,
            large,
            bulk,
            sockets: Slab::new(),
            sends: Slab::new(),
            accepts: Slab::new(),
            reads: Slab::new(),
            connects: Slab::new(),
            notice,
            alarm: Box::new(Timespec::new()),
            alarm_due: None,
            tick: Box::new(Timespec::new()),
            ticking: false,
            deadlines: Deadlines::default(),
            timers: Timers::default(),
            leave: Leave::default(),
            clock: Clock::new(),
            woken: Vec::new(),
            garbage: Garbage::default(),
            sent_off: Vec::new(),
            hurry: false,
            spare: Vec::new(),
            quarantine: Quarantine::default(),
            stats: Arc::clone(&options.stats),
            registry: options.registry.clone(),
            outstanding: 0,
            ended: false,
            batch: Vec::new(),
        };
        core.hear_notices()?;
        Ok(core)
    }

    /// Refuses new operations once the executor's life is over.
    pub(super) fn alive(&self) -> io::Result<()> {
        if self.ended {
            return Err(io::Error::other("the executor has ended"));
        }
        Ok(())
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// As for [`Queue::push`]: the entry's memory and descriptor belong to one of the tables until
    /// the last completion with this token.
    pub(super) unsafe fn push(&mut self, entry: Entry, token: Token) -> io::Result<()> {
        // SAFETY: the caller vouches for it.
        unsafe { self.queue.push(&entry.user_data(token.pack()))? };
        self.outstanding += 1;
        Ok(())
    }

    /// Cancels the operation with this token. Its last completion is still to come.
    pub(super) fn cancel(&mut self, token: Token) {
        let entry = opcode::AsyncCancel::new(token.pack()).build();
        // SAFETY: a cancellation points to no memory.
        if let Err(error) = unsafe { self.push(entry, Token::Unobserved) } {
            tracing::error!(%error, "a cancellation could not be submitted");
        }
    }

    /// An empty buffer.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next socket.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if block::is(&buffer) {
            return block::put(buffer);
        }
        let worth = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if worth && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// A new kind of timeout, for [`arm`](Self::arm) and for sends.
    pub(crate) fn deadline_kind(&mut self, duration: Duration) -> DeadlineKind {
        self.deadlines.kind(duration)
    }

    /// The time as of this turn.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now
    }

    /// Wakes everybody who waits to receive, so that they look around.
    pub(crate) fn wake_readers(&mut self) {
        let readers = self.sockets.iter_mut().filter_map(|(_, socket)| socket.reader.take());
        self.woken.extend(readers);
    }

    /// Submits, waits, and works off what has happened; returns how much that was.
    pub(super) fn turn(&mut self, wait: Wait) -> io::Result<usize> {
        let given = (!self.sent_off.is_empty()).then(Instant::now);
        // Who is to be woken already must not wait for something else to happen.
        let hurry = self.hurry || !self.woken.is_empty();
        self.queue.enter(if hurry { Wait::No } else { wait })?;
        let answered = self.queue.has_answered();
        self.look_at_clock();
        let mut events = self.reap();
        if let Some(given) = given.filter(|_| answered) {
            self.settle_sent_off(given);
        }
        if self.deadlines.next(self.clock.millis()) == Some(Duration::ZERO) {
            events += self.expire()?;
        }
        events += self.timers.expire(self.clock.now, &mut self.woken);
        Ok(events)
    }

    /// The time of this turn. What was armed in the last turn counts from the end of it, which is
    /// now, if it took long: it was armed as of the turn's beginning, and nobody looks at the clock
    /// for each deadline.
    fn look_at_clock(&mut self) {
        let (began, then) = (self.clock.now, self.clock.millis());
        self.clock.update();
        if self.clock.now - began > TURN_MAX {
            self.deadlines.postpone(then, self.clock.millis());
        }
    }

    /// Works off the completions that are there.
    fn reap(&mut self) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        self.queue.reap(&mut batch);
        let ticked = self.ticking;
        let events = batch.len();
        for completion in batch.drain(..) {
            self.complete(completion);
        }
        self.batch = batch;
        events - usize::from(ticked && !self.ticking)
    }

    /// Ends the waits whose deadline is due. Whoever did in time what was waited for is not late
    /// because this core was: what had happened when the clock was looked at is worked off first,
    /// also where the kernel still has work to do for it.
    fn expire(&mut self) -> io::Result<usize> {
        let mut events = 0;
        for _ in 0..=self.outstanding / DEFERRED_MAX {
            self.queue.enter(Wait::No)?;
            match self.reap() {
                0 => break,
                more => events += more,
            }
        }
        while let Some(owner) = self.deadlines.expire(self.clock.millis()) {
            events += 1;
            match Token::unpack(owner) {
                Token::Socket(key) => self.socket_expired(key),
                Token::Send(key) => self.send_expired(key),
                Token::Connect(key) => self.connect_expired(key),
                other => tracing::error!(?other, "a deadline that nobody owns"),
            }
        }
        Ok(events)
    }

    fn complete(&mut self, completion: Completion) {
        if !completion.more() {
            self.outstanding -= 1;
        }
        match Token::unpack(completion.user_data) {
            Token::Socket(key) => self.received(key, completion),
            Token::Send(key) => self.sent(key, completion),
            Token::Off(index) => self.not_sent_off(index, completion),
            Token::Accept(key) => self.accepted(key, completion),
            Token::Read(key) => self.read_done(key, completion),
            Token::Connect(key) => self.connected(key, completion),
            Token::Notice => self.noticed(),
            Token::Alarm if completion.errno() == Some(libc::ECANCELED) => {}
            Token::Alarm => self.alarm_due = None,
            Token::Tick => self.ticking = false,
            Token::Unobserved => {}
        }
    }

    /// Listens to the bell by which other threads wake this core.
    fn hear_notices(&mut self) -> io::Result<()> {
        let (fd, heard) = self.notice.target();
        let entry = opcode::Recv::new(Fd(fd), heard, 1).build();
        // SAFETY: the byte is boxed and belongs to the core, like the descriptor, until the end.
        unsafe { self.push(entry, Token::Notice) }
    }

    fn noticed(&mut self) {
        self.notice.heard(&mut self.woken);
        if !self.ended && self.hear_notices().is_err() {
            tracing::error!("the core no longer hears other threads");
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        let deadline = self.deadlines.next(self.clock.millis());
        let timer = self.timers.next().map(|due| due.saturating_duration_since(self.clock.now));
        [deadline, timer].into_iter().flatten().min()
    }

    /// How to wait for one slice at most. A wait with a timeout of its own sets the machine's timer
    /// each time, which in a virtual machine costs more than the wait: under load that is several
    /// times in a slice. So a timeout in the ring ends the slice, however many waits it has.
    pub(super) fn slice(&mut self, longest: Duration) -> io::Result<Wait> {
        if let Some(left) = self.next_deadline()
            && left < longest
        {
            return Ok(Wait::Upto(left));
        }
        if !self.ticking {
            *self.tick = Timespec::from(longest);
            let timeout: *const types::Timespec = &raw const *self.tick;
            // SAFETY: boxed, left alone while it ticks, and it belongs to the core until the end.
            unsafe { self.push(opcode::Timeout::new(timeout).build(), Token::Tick)? };
            self.ticking = true;
        }
        Ok(Wait::Event)
    }

    /// Has the ring complete a timeout at the next deadline, so that a park ends then.
    pub(super) fn set_alarm(&mut self) -> io::Result<()> {
        let Some(left) = self.next_deadline() else { return Ok(()) };
        let due = self.clock.now + left;
        if self.alarm_due.is_some_and(|armed| armed <= due) {
            return Ok(());
        }
        if self.alarm_due.is_some() {
            let remove = opcode::TimeoutRemove::new(Token::Alarm.pack()).build();
            // SAFETY: points to no memory.
            unsafe { self.push(remove, Token::Unobserved)? };
        }
        *self.alarm = Timespec::from(left);
        self.alarm_due = Some(due);
        let timeout: *const types::Timespec = &raw const *self.alarm;
        // SAFETY: boxed, and read at submission, which follows before the next change.
        unsafe { self.push(opcode::Timeout::new(timeout).build(), Token::Alarm) }
    }

    /// Ends the life: cancels what is in flight, waits until the kernel has let go of all memory,
    /// closes every descriptor. Returns what is left, to be dropped.
    pub(super) fn end(&mut self) -> Option<Remains> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        if let Err(error) = self.drain() {
            tracing::error!(%error, "the ring did not come to rest; its memory is kept for ever");
            self.leak();
        }
        // A handle that user code has leaked keeps the tables for ever, but not these.
        self.queue.close();
        self.small.close();
        self.large.close();
        self.bulk.close();
        // Before the first descriptor is closed.
        self.registry.clear();
        self.quarantine.check();
        Some(Remains {
            _sockets: std::mem::take(&mut self.sockets),
            _sends: std::mem::take(&mut self.sends),
            _sent_off: std::mem::take(&mut self.sent_off),
            _accepts: std::mem::take(&mut self.accepts),
            _reads: std::mem::take(&mut self.reads),
            _connects: std::mem::take(&mut self.connects),
            _timers: std::mem::take(&mut self.timers),
            _woken: std::mem::take(&mut self.woken),
            _garbage: std::mem::take(&mut self.garbage),
            _listeners: self.notice.take_listeners(),
        })
    }

    fn drain(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN_MAX;
        self.queue.signal(false);
        self.turn(Wait::No)?;
        while self.outstanding > 0 {
            if Instant::now() > deadline {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            self.queue.cancel_all(DRAIN_MAX)?;
            self.turn(Wait::Upto(Duration::from_millis(10)))?;
        }
        Ok(())
    }

    /// Gives up memory that the kernel may still touch.
    fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.sends));
        std::mem::forget(std::mem::take(&mut self.sent_off));
        std::mem::forget(std::mem::take(&mut self.reads));
        self.sockets.iter_mut().for_each(|(_, socket)| socket.leak_lent());
        std::mem::forget(std::mem::take(&mut self.connects));
        self.notice.leak();
        self.small.leak();
        self.large.leak();
        self.bulk.leak();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // A core that never lived in an executor closes its sockets here.
        self.registry.clear();
    }
}

/// What is dropped only once the tables have been let go of, because it belongs to others, whose
/// destructors may come back to the driver.
#[derive(Default)]
pub(super) struct Garbage {
    pub wakers: Vec<Waker>,
    pub tails: Vec<Bytes>,
}

/// What is left of a driver at the end of its life; dropping it closes every descriptor.
pub(super) struct Remains {
    _sockets: Slab<Socket>,
    _sends: Slab<Send>,
    _sent_off: Vec<Option<Off>>,
    _accepts: Slab<Accept>,
    _reads: Slab<Read>,
    _connects: Slab<Connect>,
    _timers: Timers,
    _woken: Vec<Waker>,
    _garbage: Garbage,
    _listeners: Vec<Waker>,
}

/// The time as of this turn.
pub(super) struct Clock {
    start: Instant,
    pub now: Instant,
    /// What [`millis`](Self::millis) says: it is asked several times per request.
    millis: Millis,
}

impl Clock {
    fn new() -> Self {
        let start = Instant::now();
        Self { start, now: start, millis: 0 }
    }

    /// Looks at the clock.
    #[expect(clippy::cast_possible_truncation, reason = "wraps by design")]
    pub(super) fn update(&mut self) {
        self.now = Instant::now();
        self.millis = (self.now - self.start).as_millis() as Millis;
    }

    /// Milliseconds since the start; they wrap.
    pub(super) fn millis(&self) -> Millis {
        self.millis
    }
}

#[cfg(test)]
impl Core {
    /// How many sockets, sends, listeners and reads there are.
    pub(crate) fn census(&self) -> (usize, usize, usize, usize) {
        (self.sockets.len(), self.sends.len(), self.accepts.len(), self.reads.len())
    }

    /// How many connections are being made.
    pub(crate) fn connecting(&self) -> usize {
        self.connects.len()
    }

    /// How many operations have their last completion still to come.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }
}
