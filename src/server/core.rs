//! What the connections of one core share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::date::{DATE_LEN, Date};
use super::exchange::Exchange;
use super::{Limits, Timeouts};
use crate::app::App;
use crate::h1::HeadLimits;
use crate::rt::{DeadlineKind, Driver};
use crate::stats::WorkerStats;

/// Exchanges kept for the next busy connection.
const EXCHANGES_KEPT: usize = 256;

/// See the [module](self).
pub(super) struct Core {
    pub app: App,
    pub limits: Limits,
    pub head_limits: HeadLimits,
    pub stats: Arc<WorkerStats>,
    pub waits: Waits,
    pub driver: Rc<Driver>,
    date: Date,
    draining: Cell<bool>,
    /// Connections that linger after their last answer.
    pub lingering: Cell<usize>,
    exchanges: RefCell<Vec<Exchange>>,
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
        stats: Arc<WorkerStats>,
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
            waits,
            driver,
            date: Date::new(),
            draining: Cell::new(false),
            lingering: Cell::new(0),
            exchanges: RefCell::default(),
        })
    }

    /// The date, for an answer.
    pub(super) fn date(&self) -> [u8; DATE_LEN] {
        self.date.at(self.driver.with(|driver| driver.now()))
    }

    /// Whether the worker takes leave of its clients.
    pub(super) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// From now on answers close their connections, and idle ones go after a while.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.driver.with(crate::rt::Tables::wake_readers);
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
