//! The driver of one core: its ring, what is in flight on it, its deadlines and timers.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Timespec};
use io_uring::{opcode, types};
use slab::Slab;

use super::DeadlineKind;
use super::deadline::{Deadlines, Millis};
use super::mailbox::{Notice, Notifier};
use super::op::Payload;
use super::op::{Accept, Read, Send, Socket, Token};
use super::quarantine::Quarantine;
use super::ring::{Buffers, Completion, Queue, Wait};
use super::timer::Timers;

/// Input buffers kept for the next socket that receives.
const SPARE_MAX: usize = 256;
/// A kept buffer holds at most this many bytes; larger ones are freed.
const SPARE_BYTES_MAX: usize = 16 * 1024;
/// How long a core waits in its own ring at a time, before it looks at glommio's.
const SLICE: Duration = Duration::from_millis(1);
/// How long the end of a driver waits for the kernel to let go of what is in flight.
const DRAIN_MAX: Duration = Duration::from_secs(5);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Driver>>> = const { RefCell::new(None) };
}

/// The driver of this core. Handles keep it alive, but from the end of the executor's life on every
/// call fails and every descriptor is closed.
pub(crate) struct Driver {
    core: RefCell<Core>,
    notifier: Notifier,
    /// How often tasks have been polled; tells the root task whether anybody is still busy.
    polls: Cell<u64>,
    parks: Cell<u64>,
    rest: Cell<Rest>,
    root: Cell<Option<Waker>>,
    /// Tasks that were ready during a visit, to be woken after it.
    deferred: RefCell<Vec<Waker>>,
}

/// What the root task is doing while it does not turn the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It turns the ring.
    None,
    /// There was nothing to do, and glommio sleeps. Ends with whatever happens first.
    Parked,
    /// glommio looks at its own rings, which it does only while no task is ready. Ends when it has.
    Visiting,
}

impl Driver {
    /// A driver for the calling thread.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let (notifier, notice) = Notifier::new()?;
        let core = Core::new(notice)?;
        Ok(Rc::new(Self {
            core: RefCell::new(core),
            notifier,
            polls: Cell::new(0),
            parks: Cell::new(0),
            rest: Cell::new(Rest::None),
            root: Cell::new(None),
            deferred: RefCell::default(),
        }))
    }

    /// The driver of the executor that runs on this thread.
    ///
    /// # Panics
    /// Outside an executor.
    pub(crate) fn current() -> Rc<Self> {
        Self::try_current().expect("this needs a corelane executor: call it within a worker")
    }

    /// As [`current`](Self::current), but `None` outside an executor.
    pub(crate) fn try_current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Makes this the thread's driver until the guard goes.
    pub(crate) fn install(self: &Rc<Self>) -> Installed {
        CURRENT.set(Some(Rc::clone(self)));
        Installed { driver: Rc::clone(self) }
    }

    /// Works on the tables. Whoever does so while the core is parked ends the park: there may be
    /// something to submit, or an earlier deadline.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Core) -> T) -> T {
        self.unpark();
        f(&mut self.core.borrow_mut())
    }

    /// Submits, waits, and wakes whoever something has happened for. Returns how much happened.
    pub(super) fn turn(&self, wait: Wait) -> io::Result<usize> {
        #[cfg(test)]
        let _counting = super::allocation::counting();
        let (events, mut woken, garbage) = {
            let mut core = self.core.borrow_mut();
            let events = core.turn(wait)?;
            (events, std::mem::take(&mut core.woken), std::mem::take(&mut core.garbage))
        };
        // A waker or a destructor may run anything, also something that works on the tables.
        drop(garbage);
        woken.drain(..).for_each(Waker::wake);
        let mut core = self.core.borrow_mut();
        if core.woken.is_empty() {
            core.woken = woken;
        }
        Ok(events)
    }

    /// As [`turn`](Self::turn), waiting for one slice at most.
    pub(super) fn turn_and_wait(&self) -> io::Result<usize> {
        let wait = self.core.borrow_mut().slice()?;
        self.turn(wait)
    }

    /// The time as of the last turn.
    pub(super) fn now(&self) -> Instant {
        self.core.borrow().now()
    }

    /// Counts the poll of a task. One that glommio woke while the core is parked ends the park: it
    /// may be the last, or wake others. False if glommio is looking at its rings: then the task has
    /// its turn after that.
    pub(super) fn admit_poll(&self, cx: &Context<'_>) -> bool {
        if self.rest.get() == Rest::Visiting {
            self.deferred.borrow_mut().push(cx.waker().clone());
            return false;
        }
        self.polls.set(self.polls.get().wrapping_add(1));
        self.unpark();
        true
    }

    /// How many polls there have been.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    #[cfg(test)]
    /// How often the core has gone to sleep.
    pub(crate) fn parks(&self) -> u64 {
        self.parks.get()
    }

    #[cfg(test)]
    /// How often the kernel ran out of receive buffers.
    pub(crate) fn shortages(&self) -> u64 {
        self.core.borrow().shortages
    }

    /// By which other threads wake this core.
    pub(super) fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Has completions signal `eventfd` while the core is parked.
    pub(super) fn register_eventfd(&self, eventfd: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        self.core.borrow().queue.register_eventfd(eventfd)
    }

    /// Gets ready to sleep elsewhere: from now on completions signal the registered eventfd. False
    /// if something has happened meanwhile, so that there is no time to sleep.
    pub(crate) fn park(&self) -> io::Result<bool> {
        {
            let mut core = self.core.borrow_mut();
            core.queue.signal(true);
            core.set_alarm()?;
        }
        let events = self.turn(Wait::No)?;
        let mut core = self.core.borrow_mut();
        // The kernel may have been short of memory, or a waker may have queued something.
        if events > 0 || !core.queue.is_submitted() {
            core.queue.signal(false);
            return Ok(false);
        }
        drop(core);
        self.parks.set(self.parks.get() + 1);
        self.rest.set(Rest::Parked);
        Ok(true)
    }

    /// Lets no task run until glommio has looked at its rings, and says so by
    /// [`end_rest`](Self::end_rest).
    pub(super) fn visit(&self) {
        self.rest.set(Rest::Visiting);
    }

    /// Ends the park, if there is one.
    fn unpark(&self) {
        if self.rest.get() == Rest::Parked {
            self.end_rest();
        }
    }

    /// Has the root task go on.
    pub(super) fn end_rest(&self) {
        match self.rest.replace(Rest::None) {
            Rest::None => return,
            Rest::Parked => self.core.borrow_mut().queue.signal(false),
            Rest::Visiting => self.deferred.borrow_mut().drain(..).for_each(Waker::wake),
        }
        if let Some(root) = self.root.take() {
            root.wake();
        }
    }

    /// Waits for the end of the park or the visit.
    pub(super) fn poll_rested(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rest.get() == Rest::None {
            return Poll::Ready(());
        }
        self.root.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Ends the driver's life when it goes, on whatever path.
pub(crate) struct Installed {
    driver: Rc<Driver>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        CURRENT.set(None);
        self.driver.rest.set(Rest::None);
        let deferred = self.driver.deferred.take();
        let remains = self.driver.core.borrow_mut().end();
        // Destructors come back to the driver, and may panic.
        if catch_unwind(AssertUnwindSafe(|| drop((remains, deferred)))).is_err() {
            tracing::error!("a destructor panicked at the end of the executor");
        }
    }
}

/// What [`Driver`] guards: the ring and everything that is in flight on it.
pub(crate) struct Core {
    // The order matters: the ring goes before the memory that it knows of.
    queue: Queue,
    pub(super) buffers: Buffers,
    pub(super) sockets: Slab<Socket>,
    pub(super) sends: Slab<Send>,
    pub(super) accepts: Slab<Accept>,
    pub(super) reads: Slab<Read>,
    pub(super) notice: Notice,
    alarm: Box<Timespec>,
    alarm_due: Option<Instant>,
    tick: Box<Timespec>,
    ticking: bool,

    pub(super) deadlines: Deadlines,
    pub(super) timers: Timers,
    pub(super) clock: Clock,
    /// Whom to wake at the end of the turn.
    pub(crate) woken: Vec<Waker>,
    pub(super) garbage: Garbage,
    /// Input buffers to be used again.
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) quarantine: Quarantine,
    pub(super) shortages: u64,
    /// Operations whose last completion is still to come.
    outstanding: usize,
    pub(super) ended: bool,
    batch: Vec<Completion>,
}

impl Core {
    fn new(notice: Notice) -> io::Result<Self> {
        let queue = Queue::new()?;
        let buffers = Buffers::register(&queue.submitter())?;
        let mut core = Self {
            queue,
            buffers,
            sockets: Slab::new(),
            sends: Slab::new(),
            accepts: Slab::new(),
            reads: Slab::new(),
            notice,
            alarm: Box::new(Timespec::new()),
            alarm_due: None,
            tick: Box::new(Timespec::from(SLICE)),
            ticking: false,
            deadlines: Deadlines::default(),
            timers: Timers::default(),
            clock: Clock::new(),
            woken: Vec::new(),
            garbage: Garbage::default(),
            spare: Vec::new(),
            quarantine: Quarantine::default(),
            shortages: 0,
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

    /// Keeps an input buffer for the next socket.
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
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

    fn turn(&mut self, wait: Wait) -> io::Result<usize> {
        self.queue.enter(wait)?;
        self.clock.update();
        let mut batch = std::mem::take(&mut self.batch);
        self.queue.reap(&mut batch);
        let ticked = self.ticking;
        let mut events = batch.len();
        for completion in batch.drain(..) {
            self.complete(completion);
        }
        self.batch = batch;
        events -= usize::from(ticked && !self.ticking);
        while let Some(owner) = self.deadlines.expire(self.clock.millis()) {
            events += 1;
            match Token::unpack(owner) {
                Token::Socket(key) => self.socket_expired(key),
                Token::Send(key) => self.send_expired(key),
                other => tracing::error!(?other, "a deadline that nobody owns"),
            }
        }
        events += self.timers.expire(self.clock.now, &mut self.woken);
        Ok(events)
    }

    fn complete(&mut self, completion: Completion) {
        if !completion.more() {
            self.outstanding -= 1;
        }
        match Token::unpack(completion.user_data) {
            Token::Socket(key) => self.received(key, completion),
            Token::Send(key) => self.sent(key, completion),
            Token::Accept(key) => self.accepted(key, completion),
            Token::Read(key) => self.read_done(key, completion),
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
    fn slice(&mut self) -> io::Result<Wait> {
        if let Some(left) = self.next_deadline()
            && left < SLICE
        {
            return Ok(Wait::Upto(left));
        }
        if !self.ticking {
            let timeout: *const types::Timespec = &raw const *self.tick;
            // SAFETY: boxed, never changed, and it belongs to the core until the end.
            unsafe { self.push(opcode::Timeout::new(timeout).build(), Token::Tick)? };
            self.ticking = true;
        }
        Ok(Wait::Event)
    }

    /// Has the ring complete a timeout at the next deadline, so that a park ends then.
    fn set_alarm(&mut self) -> io::Result<()> {
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
    fn end(&mut self) -> Remains {
        self.ended = true;
        if let Err(error) = self.drain() {
            tracing::error!(%error, "the ring did not come to rest; its memory is kept for ever");
            self.leak();
        }
        self.quarantine.check();
        Remains {
            _sockets: std::mem::take(&mut self.sockets),
            _sends: std::mem::take(&mut self.sends),
            _accepts: std::mem::take(&mut self.accepts),
            _reads: std::mem::take(&mut self.reads),
            _timers: std::mem::take(&mut self.timers),
            _woken: std::mem::take(&mut self.woken),
            _garbage: std::mem::take(&mut self.garbage),
        }
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
        std::mem::forget(std::mem::take(&mut self.reads));
        self.notice.leak();
        self.buffers.leak();
    }
}

/// What is dropped only once the tables have been let go of, because it belongs to others, whose
/// destructors may come back to the driver.
#[derive(Default)]
pub(super) struct Garbage {
    pub wakers: Vec<Waker>,
    pub payloads: Vec<Payload>,
}

/// What is left of a driver at the end of its life; dropping it closes every descriptor.
struct Remains {
    _sockets: Slab<Socket>,
    _sends: Slab<Send>,
    _accepts: Slab<Accept>,
    _reads: Slab<Read>,
    _timers: Timers,
    _woken: Vec<Waker>,
    _garbage: Garbage,
}

/// The time as of this turn.
pub(super) struct Clock {
    start: Instant,
    pub now: Instant,
}

impl Clock {
    fn new() -> Self {
        let start = Instant::now();
        Self { start, now: start }
    }

    fn update(&mut self) {
        self.now = Instant::now();
    }

    /// Milliseconds since the start; they wrap.
    #[expect(clippy::cast_possible_truncation, reason = "wraps by design")]
    pub(super) fn millis(&self) -> Millis {
        (self.now - self.start).as_millis() as Millis
    }
}

#[cfg(test)]
impl Core {
    /// How many sockets, sends, listeners and reads there are.
    pub(crate) fn census(&self) -> (usize, usize, usize, usize) {
        (self.sockets.len(), self.sends.len(), self.accepts.len(), self.reads.len())
    }

    /// How many operations have their last completion still to come.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }
}
