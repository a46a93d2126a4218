//! What the connections of one core share.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::date::{DATE_LEN, Date};
use super::exchange::Exchange;
use super::lookout::Lookout;
use super::{Balance, Limits, OnPanic, Timeouts};
use crate::app::App;
use crate::h1::HeadLimits;
use crate::message::discard;
use crate::rt::{DeadlineKind, Driver, Fault};
use crate::stats::{Pulse, WorkerStats};

/// Exchanges kept for the next busy connection.
const EXCHANGES_KEPT: usize = 256;

/// See the [module](self).
pub(super) struct Core {
    pub app: App,
    pub limits: Limits,
    pub head_limits: HeadLimits,
    pub stats: Arc<WorkerStats>,
    pub pulse: Arc<Pulse>,
    pub waits: Waits,
    pub driver: Rc<Driver>,
    on_panic: OnPanic,
    date: Date,
    mode: Cell<Mode>,
    pub balance: Balance,
    /// The other workers that serve.
    pub lookout: RefCell<Lookout>,
    /// Connections that linger after their last answer.
    pub lingering: Cell<usize>,
    /// Bytes of memory for bodies that have been announced and not received yet.
    pub claimed: Rc<Cell<u64>>,
    exchanges: RefCell<Vec<Exchange>>,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Serving,
    /// It takes leave; idle connections go to siblings.
    Retiring,
    /// It takes leave of its clients.
    Draining,
}

/// The timeouts, as the driver knows them.
pub(super) struct Waits {
    pub header: DeadlineKind,
    pub body_idle: DeadlineKind,
    pub keep_alive: DeadlineKind,
    pub write_idle: DeadlineKind,
    pub idle_grace: DeadlineKind,
    pub linger: DeadlineKind,
}

impl Core {
    /// For the core of the calling thread.
    pub(super) fn new(
        app: App,
        limits: Limits,
        timeouts: &Timeouts,
        (on_panic, balance): (OnPanic, Balance),
        stats: Arc<WorkerStats>,
        pulse: Arc<Pulse>,
    ) -> Rc<Self> {
        let driver = Driver::current();
        let waits = driver.with(|driver| Waits {
            header: driver.deadline_kind(timeouts.header),
            body_idle: driver.deadline_kind(timeouts.body_idle),
            keep_alive: driver.deadline_kind(timeouts.keep_alive),
            write_idle: driver.deadline_kind(timeouts.write_idle),
            idle_grace: driver.deadline_kind(timeouts.idle_grace),
            linger: driver.deadline_kind(super::linger::LINGER_MAX),
        });
        let head_limits = HeadLimits {
            request_line_bytes: limits.request_line_bytes,
            head_bytes: limits.head_bytes,
            headers: limits.headers,
        };
        Rc::new(Self {
            app,
            limits,
            head_limits,
            stats,
            pulse,
            waits,
            driver,
            on_panic,
            date: Date::new(),
            mode: Cell::new(Mode::Serving),
            balance,
            lookout: RefCell::new(Lookout::new()),
            lingering: Cell::new(0),
            claimed: Rc::default(),
            exchanges: RefCell::default(),
        })
    }

    /// The time as of this turn, which costs nothing.
    pub(super) fn now(&self) -> Instant {
        self.driver.with(|driver| driver.now())
    }

    /// The date, for an answer.
    pub(super) fn date(&self) -> [u8; DATE_LEN] {
        self.date.at(self.now())
    }

    /// Calls application code, which says to the pulse where it is; afterwards it is nowhere.
    ///
    /// What it returns is large, and moving it once more would show in the time that a request
    /// takes: hence the guard within.
    pub(super) fn call_app<T>(&self, code: impl FnOnce() -> T) -> std::thread::Result<T> {
        catch_unwind(AssertUnwindSafe(|| {
            let _inside = Inside(&self.pulse);
            code()
        }))
    }

    /// Notes a panic of application code. Does not return if it is to end the worker.
    #[cold]
    pub(super) fn note_panic(&self, route: Option<usize>, payload: Box<dyn Any + Send>) {
        self.stats.panics.increment();
        let pattern = route.and_then(|route| self.app.pattern(route));
        tracing::error!(route = pattern, "a handler panicked");
        let fault = Fault::from_payload(&*payload);
        discard(payload);
        if self.on_panic == OnPanic::Restart {
            // The payload itself may panic when it is dropped, out there where nobody expects it.
            resume_unwind(Box::new(fault));
        }
    }

    /// Whether the worker takes leave of its clients.
    pub(super) fn draining(&self) -> bool {
        self.mode.get() != Mode::Serving
    }

    /// Whether idle connections go to siblings.
    pub(super) fn hands_on(&self) -> bool {
        self.mode.get() == Mode::Retiring && self.has_siblings()
    }

    /// From now on answers close their connections, and idle ones go: to siblings, or after a
    /// while.
    pub(super) fn leave(&self, mode: Mode) {
        self.mode.set(mode);
        self.driver.with(crate::rt::Tables::wake_readers);
        self.driver.with(crate::rt::Tables::begin_to_leave);
    }

    /// What a busy connection needs.
    pub(super) fn take_exchange(&self) -> Exchange {
        let kept = self.exchanges.borrow_mut().pop();
        kept.unwrap_or_else(Exchange::new)
    }

    /// Keeps it for the next.
    pub(super) fn keep_exchange(&self, exchange: Exchange) {
        let mut exchanges = self.exchanges.borrow_mut();
        if exchanges.len() < EXCHANGES_KEPT {
            exchanges.push(exchange);
        }
    }
}

/// Application code runs.
struct Inside<'a>(&'a Pulse);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.enter(None);
    }
}
