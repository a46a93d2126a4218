//! One thread of the generator: its connections, and what it hands out to them.
//!
//! A connection that may send is *free*; a request that is to be sent is taken from the schedule;
//! [`Thread::dispatch`] brings the two together, in the order in which connections became free.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

use super::connection::{Connection, End, Free, Request};
use super::link;
use super::pacer;
use super::run::{Gate, Lane};
use super::schedule::{Nanos, Schedule, nanos, share};
use super::tally::{Failure, Tally};
use super::{Pace, Plan, Until};
use crate::h1::AskedMethod;
use crate::rt::{DeadlineKind, Driver, sleep, spawn_detached};

/// How often the thread looks at what is not the connections' own business.
const TICK: Duration = Duration::from_millis(5);
/// How often it looks whether all is ready to start.
const START_TICK: Duration = Duration::from_millis(1);
/// Open loop: for how long requests that have become due may still be sent when the time is over.
const GRACE: Duration = Duration::from_secs(1);
/// Requests that are sent in one piece, in bytes: no more of them than fit, but one at least.
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// See the [module](self).
pub(super) struct Thread {
    pub plan: Arc<Plan>,
    pub address: socket2::SockAddr,
    pub asked: AskedMethod,
    pub connections: Vec<RefCell<Connection>>,
    pub schedule: RefCell<Schedule>,
    pub tally: RefCell<Tally>,
    /// How long connecting may take.
    pub connect_within: DeadlineKind,
    /// How long a send may make no progress.
    pub send_idle: DeadlineKind,
    /// How long a server may take to close what it said it would.
    pub close_within: DeadlineKind,
    /// Connections that have not tried to connect yet.
    pub opening: Cell<usize>,
    /// Counts what has happened.
    pub activity: Cell<u64>,
    start: Cell<Option<Instant>>,
    free: RefCell<VecDeque<Free>>,
    /// The request over and over.
    block: Bytes,
    block_requests: usize,
    /// So many answers and errors are the end.
    goal: u64,
}

/// What a thread has at the end.
#[derive(Debug)]
pub(super) struct Account {
    pub tally: Tally,
    /// When it was over.
    pub ended: Nanos,
    /// Closed loop: how long each request had waited that had no answer then.
    pub waiting: Vec<Nanos>,
    pub cpu: Duration,
    pub interrupted: bool,
}

impl Thread {
    /// Within the executor.
    pub(super) fn new(
        plan: Arc<Plan>,
        address: socket2::SockAddr,
        index: usize,
        threads: usize,
    ) -> Self {
        let size = plan.request.len().max(1);
        let block_requests = (BLOCK_BYTES_MAX / size).clamp(1, plan.pipeline.max(1));
        let (driver, timeout) = (Driver::current(), plan.timeout);
        let kind = |duration| driver.with(|core| core.deadline_kind(duration));
        #[expect(clippy::cast_possible_truncation, reason = "no more than all connections")]
        let connections = share(plan.connections as u64, index, threads) as usize;
        Self {
            address,
            asked: if plan.headless_answer { AskedMethod::Head } else { AskedMethod::Other },
            connections: (0..connections).map(|id| RefCell::new(Connection::new(id))).collect(),
            schedule: RefCell::new(Schedule::new(&plan, index, threads)),
            tally: RefCell::new(Tally::new()),
            connect_within: kind(timeout),
            send_idle: kind(timeout),
            close_within: kind(link::CLOSE_WITHIN),
            opening: Cell::new(connections),
            activity: Cell::new(0),
            start: Cell::new(None),
            free: RefCell::default(),
            block: Bytes::from(plan.request.repeat(block_requests)),
            block_requests,
            goal: match plan.until {
                Until::Elapsed(_) => u64::MAX,
                Until::Requests(requests) => share(requests, index, threads),
            },
            plan,
        }
    }

    /// The time since the start that all threads share.
    pub(super) fn now(&self) -> Nanos {
        self.start.get().map_or(0, |start| nanos(start.elapsed()))
    }

    /// Whether requests are sent.
    pub(super) fn has_started(&self) -> bool {
        self.start.get().is_some()
    }

    /// Up to so many requests as they are sent, and how many they are.
    pub(super) fn requests(&self, wanted: usize) -> (Bytes, usize) {
        let requests = wanted.min(self.block_requests);
        (self.block.slice(..requests * self.plan.request.len()), requests)
    }

    /// A connection may send one more request.
    pub(super) fn release(&self, free: Free) {
        self.free.borrow_mut().push_back(free);
    }

    /// An answer has come.
    pub(super) fn answered(&self, from: Nanos, status: u16, now: Nanos) {
        if self.schedule.borrow().counts(from) {
            let success = match self.plan.expect {
                Some(expected) => status == expected.as_u16(),
                None => (200..300).contains(&status),
            };
            self.tally.borrow_mut().answered(status, success, from, now);
        }
    }

    /// A request has come to nothing.
    pub(super) fn failed(&self, from: Nanos, failure: Failure, now: Nanos) {
        if self.schedule.borrow().counts(from) {
            self.tally.borrow_mut().failed(failure, now);
        }
    }

    /// A request is to be sent again.
    pub(super) fn retried(&self, from: Nanos) {
        self.tally.borrow_mut().retried += u64::from(self.schedule.borrow().counts(from));
    }

    /// Hands requests to connections that are free.
    pub(super) fn dispatch(&self) {
        if !self.has_started() || self.free.borrow().is_empty() {
            return;
        }
        let now = self.now();
        let mut unflushed: Option<usize> = None;
        while let Some(free) = self.next_free() {
            let Some(from) = self.schedule.borrow_mut().take(now) else { break };
            self.free.borrow_mut().pop_front();
            if self.plan.pace != Pace::Closed && free.since <= from {
                self.late(from, now);
            }
            if let Some(before) = unflushed.replace(free.connection)
                && before != free.connection
            {
                self.connections[before].borrow_mut().flush(self);
            }
            let mut connection = self.connections[free.connection].borrow_mut();
            connection.requests.push_back(Request { from, sent: now });
        }
        if let Some(last) = unflushed {
            self.activity.set(self.activity.get() + 1);
            self.connections[last].borrow_mut().flush(self);
        }
    }

    /// The connection that has been free for longest.
    fn next_free(&self) -> Option<Free> {
        let mut free = self.free.borrow_mut();
        while let Some(first) = free.front() {
            if self.connections[first.connection].borrow().life == first.life {
                return Some(*first);
            }
            free.pop_front();
        }
        None
    }

    /// Closed loop: how long each request has waited that has no answer.
    fn waiting(&self, now: Nanos) -> Vec<Nanos> {
        if self.plan.pace != Pace::Closed {
            return Vec::new();
        }
        let waited = |connection: &RefCell<Connection>| {
            let connection = connection.borrow();
            let since = connection.requests.iter().map(|request| request.from);
            since.map(|from| now.saturating_sub(from)).collect::<Vec<_>>()
        };
        self.connections.iter().flat_map(waited).collect()
    }

    fn late(&self, due: Nanos, now: Nanos) {
        if self.schedule.borrow().counts(due) {
            self.tally.borrow_mut().late.saturating_record(now - due);
        }
    }

    /// Serves a connection until its link ends.
    pub(super) fn poll_connection(&self, id: usize, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let polled = self.connections[id].borrow_mut().poll(self, cx);
            if polled.is_ready() {
                self.activity.set(self.activity.get() + 1);
            }
            self.dispatch();
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => {}
            }
        }
    }
}

/// Runs a thread from its first connection to its account.
pub(super) async fn drive(thread: Rc<Thread>, gate: Arc<Gate>, lane: Arc<Lane>) -> Account {
    for id in 0..thread.connections.len() {
        spawn_detached(link::live(Rc::clone(&thread), id));
    }
    while thread.opening.get() > 0 && !gate.stopped() {
        sleep(START_TICK).await;
    }
    lane.set_ready();
    let start = loop {
        match gate.start() {
            Some(start) => break start,
            None => sleep(START_TICK).await,
        }
    };
    sleep(start.saturating_duration_since(Instant::now())).await;
    thread.start.set(Some(start));
    let mut watch = Watch::new(&thread);
    if thread.plan.pace == Pace::Closed {
        thread.dispatch();
    } else {
        spawn_detached(pacer::pace(Rc::clone(&thread)));
    }
    while !watch.look(&thread, &gate, &lane) {
        sleep(watch.rest(&thread)).await;
    }
    watch.account(&thread, &lane)
}

/// What is looked at now and then.
struct Watch {
    measured_from: Nanos,
    /// What had been used when the warm-up ended.
    before: Option<Before>,
    /// When requests are next looked at that have waited too long.
    sweep_at: Nanos,
    sweep_every: Nanos,
    /// When the run was over.
    ended: Nanos,
    interrupted: bool,
}

struct Before {
    cpu: Duration,
    sent: u64,
    received: u64,
    idle: Duration,
}

impl Before {
    fn now(tally: &Tally) -> Self {
        let Tally { sent, received, idle, .. } = *tally;
        Self { cpu: cpu_time(), sent, received, idle }
    }
}

impl Watch {
    fn new(thread: &Thread) -> Self {
        let sweep_every = nanos(thread.plan.timeout / 20).clamp(1, nanos(10 * TICK));
        let measured_from = nanos(thread.plan.warm_up);
        Self {
            measured_from,
            // Without a warm-up what is sent first counts already.
            before: (measured_from == 0).then(|| Before::now(&thread.tally.borrow())),
            sweep_at: 0,
            sweep_every,
            ended: 0,
            interrupted: false,
        }
    }

    /// Whether the run is over.
    fn look(&mut self, thread: &Thread, gate: &Gate, lane: &Lane) -> bool {
        let now = thread.now();
        if self.before.is_none() && now >= self.measured_from {
            self.before = Some(Before::now(&thread.tally.borrow()));
        }
        lane.set_done(thread.tally.borrow().counted);
        if now >= self.sweep_at {
            self.sweep_at = now + self.sweep_every;
            sweep(thread, now);
        }
        if gate.stopped() {
            self.interrupt(thread, now);
            return true;
        }
        self.is_over(thread, now)
    }

    fn is_over(&mut self, thread: &Thread, now: Nanos) -> bool {
        let counted = thread.tally.borrow().counted;
        if counted >= thread.goal && now >= self.measured_from {
            self.ended = thread.tally.borrow().last.max(self.measured_from);
            return true;
        }
        let closes = thread.schedule.borrow().closes();
        if thread.plan.pace == Pace::Closed {
            self.ended = now;
            return now >= closes;
        }
        // Open loop: what was due is not forgotten because the time is over.
        if closes > 0 && now >= closes.saturating_add(nanos(GRACE)) {
            self.close(thread, closes);
        }
        let waiting = thread.schedule.borrow().next_due().is_some();
        let closes = if self.ended > 0 { self.ended } else { closes };
        let idle = |connection: &RefCell<Connection>| connection.borrow().requests.is_empty();
        if now < closes || waiting || !thread.connections.iter().all(idle) {
            return false;
        }
        self.ended = closes.max(thread.tally.borrow().last_answer);
        true
    }

    /// Nothing more is sent.
    fn close(&mut self, thread: &Thread, closes: Nanos) {
        let unsent = thread.schedule.borrow_mut().close(closes);
        thread.tally.borrow_mut().unsent += unsent;
        self.ended = closes;
    }

    /// Somebody wants the run to end now. Requests of an open loop that are in flight are not
    /// forgotten either: a server that hangs must not look good because nobody had the patience.
    fn interrupt(&mut self, thread: &Thread, now: Nanos) {
        self.interrupted = true;
        self.ended = now.max(self.measured_from);
        if thread.plan.pace == Pace::Closed {
            return;
        }
        let schedule = &mut *thread.schedule.borrow_mut();
        let mut unsent = schedule.close(now);
        for connection in &thread.connections {
            let requests = &connection.borrow().requests;
            unsent +=
                requests.iter().filter(|request| schedule.counts(request.from)).count() as u64;
        }
        thread.tally.borrow_mut().unsent += unsent;
    }

    /// How long until the next look.
    fn rest(&self, thread: &Thread) -> Duration {
        let now = thread.now();
        let edge = match self.before {
            None => self.measured_from,
            Some(_) => thread.schedule.borrow().closes(),
        };
        let until = if edge > now { Duration::from_nanos(edge - now) } else { TICK };
        until.min(TICK)
    }

    fn account(self, thread: &Thread, lane: &Lane) -> Account {
        let mut tally = std::mem::replace(&mut *thread.tally.borrow_mut(), Tally::new());
        lane.set_done(tally.counted);
        // Or else it ended in its warm-up.
        let before = self.before.unwrap_or_else(|| Before::now(&tally));
        tally.sent -= before.sent;
        tally.received -= before.received;
        let busy = cpu_time().saturating_sub(before.cpu);
        let cpu = busy.saturating_sub(tally.idle.saturating_sub(before.idle));
        let (ended, interrupted) = (self.ended, self.interrupted);
        Account { tally, ended, waiting: thread.waiting(ended), cpu, interrupted }
    }
}

/// Ends the links whose oldest request has waited too long.
fn sweep(thread: &Thread, now: Nanos) {
    let timeout = nanos(thread.plan.timeout);
    for connection in &thread.connections {
        let mut connection = connection.borrow_mut();
        let oldest = connection.requests.front().filter(|_| connection.in_flight > 0);
        if oldest.is_some_and(|oldest| oldest.sent.saturating_add(timeout) <= now) {
            connection.overdue = true;
            connection.waker.wake_by_ref();
        }
    }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
