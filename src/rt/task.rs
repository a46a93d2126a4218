//! Tasks: every one is spawned here.
//!
//! A panic that unwinds glommio's executor leaks it (tasks, rings, descriptors). So each task's
//! polls are caught here: a panic is reported to the root task, which ends this life in order. A
//! panic in the destructor of a task's future is caught too, because glommio would abort.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use slab::Slab;

use super::Driver;
use super::fault::Fault;

/// The tasks of one executor's life.
pub(super) struct Tasks {
    driver: Rc<Driver>,
    /// How to wake each task that is not over; `None` before its first poll.
    running: RefCell<Slab<Option<Waker>>>,
    fault: RefCell<Option<Fault>>,
    closed: Cell<bool>,
}

thread_local! {
    static CURRENT: RefCell<Weak<Tasks>> = const { RefCell::new(Weak::new()) };
}

impl Tasks {
    /// None yet.
    pub(super) fn new(driver: Rc<Driver>) -> Rc<Self> {
        let (running, fault, closed) = Default::default();
        Rc::new(Self { driver, running, fault, closed })
    }

    /// Makes this the thread's table.
    pub(super) fn install(self: &Rc<Self>) {
        CURRENT.set(Rc::downgrade(self));
    }

    /// The first panic that a task ended with.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }

    /// Whether a task has panicked.
    pub(super) fn failed(&self) -> bool {
        self.fault.borrow().is_some()
    }

    /// Notes a panic; only the first counts.
    pub(super) fn fail(&self, fault: Fault) {
        self.fault.borrow_mut().get_or_insert(fault);
    }

    /// Spawns no more, and cancels all that are left. They go at their next turn.
    ///
    /// Each ends itself, in a poll: of a task that is cancelled by its handle glommio frees the
    /// future, but never the task.
    pub(super) fn close(&self) {
        self.closed.set(true);
        let running = std::mem::take(&mut *self.running.borrow_mut());
        running.into_iter().filter_map(|(_, waker)| waker).for_each(Waker::wake);
    }

    /// The task with this id can be woken so.
    fn note_waker(&self, id: u32, waker: &Waker) {
        if let Some(place) = self.running.borrow_mut().get_mut(id as usize) {
            *place = Some(waker.clone());
        }
    }
}

pin_project! {
    /// A task's future with its safety net.
    struct Guarded<F: Future> {
        #[pin]
        future: Option<F>,
        tasks: Rc<Tasks>,
        id: u32,
        polled: bool,
    }

    impl<F: Future> PinnedDrop for Guarded<F> {
        fn drop(this: Pin<&mut Self>) {
            this.discard();
        }
    }
}

impl<F: Future> Guarded<F> {
    /// Drops the future; a panic of its destructor is this life's end, not the process's.
    fn discard(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| this.future.set(None))) {
            this.tasks.fail(Fault::from_payload(&*payload));
        }
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        #[cfg(test)]
        let _counting = super::allocation::counting();
        let mut this = self.as_mut().project();
        if !std::mem::replace(this.polled, true) {
            this.tasks.note_waker(*this.id, cx.waker());
        }
        if !this.tasks.closed.get() {
            if !this.tasks.driver.admit_poll(cx) {
                return Poll::Pending;
            }
            let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
                Err(payload) => this.tasks.fail(Fault::from_payload(&*payload)),
            }
        }
        let waker = this.tasks.running.borrow_mut().try_remove(*this.id as usize);
        self.discard();
        drop(waker);
        Poll::Ready(())
    }
}

/// Spawns a task of which nobody awaits the end. During the end of a life it is dropped instead.
pub(crate) fn spawn_detached(future: impl Future<Output = ()> + 'static) {
    let tasks = CURRENT.with_borrow(Weak::upgrade);
    let tasks = tasks.expect("this needs a corelane executor: call it within a worker");
    if tasks.closed.get() {
        return;
    }
    let id = tasks.running.borrow_mut().insert(None);
    let id = u32::try_from(id).expect("invariant: fewer tasks than memory has room for");
    let guarded = Guarded { future: Some(future), tasks: Rc::clone(&tasks), id, polled: false };
    // glommio polls the task at once: it may be over when this returns.
    drop(glommio::spawn_local(guarded).detach());
}

/// Runs `future` as a task of this core. It goes on if the handle is dropped.
///
/// A panic in the task ends the worker, which is then started anew; a handler's own panic does not.
///
/// ```no_run
/// # async fn example() {
/// let answer = corelane::spawn_local(async { 6 * 7 });
/// assert_eq!(answer.await, 42);
/// # }
/// ```
///
/// # Panics
/// Outside a corelane executor.
pub fn spawn_local<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let shared = Rc::new(Outcome { value: Cell::new(None), waiter: Cell::new(None) });
    let handle = JoinHandle { shared: Rc::clone(&shared) };
    spawn_detached(async move {
        let value = future.await;
        shared.value.set(Some(value));
        if let Some(waiter) = shared.waiter.take() {
            waiter.wake();
        }
    });
    handle
}

struct Outcome<T> {
    value: Cell<Option<T>>,
    waiter: Cell<Option<Waker>>,
}

/// Awaits the result of a task started by [`spawn_local`].
pub struct JoinHandle<T> {
    shared: Rc<Outcome<T>>,
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.shared.value.take() {
            return Poll::Ready(value);
        }
        self.shared.waiter.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinHandle")
    }
}
