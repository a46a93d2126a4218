//! The driver of one core: turns its ring, and rests when there is nothing to do.

use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::core::Core;
use super::crowd::Place;
use super::executor::Options;
use super::mailbox::Notifier;
use super::ring::Wait;
use crate::stats::{Pulse, WorkerStats};

/// How long a core that has its CPU for itself waits in its own ring at a time, and how often it
/// looks at glommio's.
const SLICE: Duration = Duration::from_millis(1);
/// Where n share a CPU their slices are n times as long, up to so many times.
const STRETCH_MAX: u32 = 16;

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
    stats: Arc<WorkerStats>,
    pulse: Arc<Pulse>,
    place: Place,
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
    pub(crate) fn new(options: &Options) -> io::Result<Rc<Self>> {
        let (notifier, notice) = Notifier::new()?;
        let core = Core::new(notice, options)?;
        Ok(Rc::new(Self {
            core: RefCell::new(core),
            notifier,
            polls: Cell::new(0),
            stats: Arc::clone(&options.stats),
            pulse: Arc::clone(&options.pulse),
            place: Place::new(options.cpu),
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
            if wait != Wait::No {
                self.pulse.rest();
            }
            let events = core.turn(wait)?;
            self.pulse.busy(core.clock.now);
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
        let wait = self.core.borrow_mut().slice(self.slice())?;
        self.turn(wait)
    }

    /// How long to wait at most, and how long to leave glommio alone. A look at it takes longer
    /// than a request, and the end of a slice interrupts the CPU: n executors that did so each
    /// millisecond would take n times as much of the one CPU.
    pub(super) fn slice(&self) -> Duration {
        SLICE * self.place.sharers().min(STRETCH_MAX)
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

    /// What this core counts.
    #[cfg(test)]
    pub(crate) fn stats(&self) -> &WorkerStats {
        &self.stats
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
        if events > 0 || !core.queue.is_submitted() || !core.sent_off.is_empty() {
            core.queue.signal(false);
            return Ok(false);
        }
        drop(core);
        self.stats.parks.increment();
        self.pulse.rest();
        self.place.sleep();
        self.rest.set(Rest::Parked);
        Ok(true)
    }

    /// Lets no task run until [`end_visit`](Self::end_visit), so that glommio looks at its rings.
    pub(super) fn visit(&self) {
        self.rest.set(Rest::Visiting);
    }

    /// glommio has looked at its rings.
    pub(super) fn end_visit(&self) {
        self.rest.set(Rest::None);
        self.deferred.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// Ends the park, if there is one: has the root task go on.
    pub(super) fn unpark(&self) {
        if self.rest.get() != Rest::Parked {
            return;
        }
        self.rest.set(Rest::None);
        self.place.wake();
        {
            let mut core = self.core.borrow_mut();
            core.queue.signal(false);
            // Whoever ends the park works on before the next turn.
            core.clock.update();
            self.pulse.busy(core.clock.now);
        }
        if let Some(root) = self.root.take() {
            root.wake();
        }
    }

    /// Ends the ring's life, if it has not ended: cancels what is in flight, waits until the kernel
    /// has let go, closes every descriptor.
    ///
    /// Best called within the executor: of a task whose last waker is dropped outside, glommio
    /// never frees the memory.
    pub(super) fn end(&self) {
        self.rest.set(Rest::None);
        self.place.sleep();
        let wakers = (self.deferred.take(), self.root.take());
        let remains = self.core.borrow_mut().end();
        // Destructors come back to the driver, and may panic.
        if catch_unwind(AssertUnwindSafe(|| drop((remains, wakers)))).is_err() {
            tracing::error!("a destructor panicked at the end of the executor");
        }
    }

    /// Waits for the end of the park.
    pub(super) fn poll_unparked(&self, cx: &mut Context<'_>) -> Poll<()> {
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
        self.driver.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_awake_on_one_cpu_have_longer_slices() {
        // No machine that runs this has so many.
        let cpu = Some(777);
        let options = || Options { cpu, ..Options::new("crowded") };
        let (driver, other) = (Driver::new(&options()).unwrap(), Driver::new(&options()).unwrap());
        assert_eq!(driver.slice(), 2 * SLICE);
        assert!(other.park().unwrap(), "nothing happens there");
        assert_eq!(driver.slice(), SLICE);
        other.with(|_| ());
        assert_eq!(driver.slice(), 2 * SLICE, "whoever works is awake");
        let crowd: Vec<Place> = (0..STRETCH_MAX).map(|_| Place::new(cpu)).collect();
        assert_eq!(driver.slice(), STRETCH_MAX * SLICE);
        drop(crowd);
        other.end();
        assert_eq!(driver.slice(), SLICE);
        driver.end();
    }
}
