//! Messages to a core from other threads.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use concurrent_queue::ConcurrentQueue;
use rustix::event::{EventfdFlags, eventfd};

use super::Driver;

/// Wakes one core, from any thread.
#[derive(Clone)]
pub(super) struct Notifier(Arc<Bell>);

struct Bell {
    fd: OwnedFd,
    rung: AtomicBool,
}

impl Notifier {
    /// For the core of the calling thread.
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Bell { fd, rung: AtomicBool::new(false) })))
    }

    fn notify(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // Fails only if the counter is full, and then the core is being woken already.
            let _ = rustix::io::write(&self.0.fd, &1_u64.to_ne_bytes());
        }
    }
}

/// The core's side of its notifier.
pub(super) struct Notice {
    bell: Arc<Bell>,
    /// What the kernel reads the eventfd into.
    count: Box<u64>,
    listeners: Vec<Waker>,
}

impl Notice {
    /// Of this notifier.
    pub(super) fn new(notifier: &Notifier) -> Self {
        Self { bell: Arc::clone(&notifier.0), count: Box::new(0), listeners: Vec::new() }
    }

    /// What to read, and where to.
    pub(super) fn target(&mut self) -> (RawFd, *mut u64) {
        (self.bell.fd.as_raw_fd(), &raw mut *self.count)
    }

    /// The eventfd has been read.
    pub(super) fn heard(&mut self, woken: &mut Vec<Waker>) {
        self.bell.rung.store(false, Ordering::Release);
        woken.append(&mut self.listeners);
    }

    /// Keeps the counter for ever.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.count));
    }
}

/// A queue to a core that holds at most `capacity` messages.
pub(crate) fn mailbox<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared =
        Arc::new(Shared { queue: ConcurrentQueue::bounded(capacity), notifier: OnceLock::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

struct Shared<T> {
    queue: ConcurrentQueue<T>,
    notifier: OnceLock<Notifier>,
}

/// The side of the other threads.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    /// Leaves a message. Gives it back if the mailbox is full, or its core has ended.
    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message).map_err(concurrent_queue::PushError::into_inner)?;
        if let Some(notifier) = self.0.notifier.get() {
            notifier.notify();
        }
        Ok(())
    }
}

/// The core's side. It may be made on any thread; the first wait binds it to its core.
pub(crate) struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next message.
    pub(crate) async fn recv(&self) -> T {
        let driver = Driver::current();
        self.0.notifier.get_or_init(|| driver.notifier().clone());
        poll_fn(|cx| {
            if let Ok(message) = self.0.queue.pop() {
                return Poll::Ready(message);
            }
            self.listen(&driver, cx.waker());
            // A message that came in between has rung before anybody listened.
            match self.0.queue.pop() {
                Ok(message) => Poll::Ready(message),
                Err(_) => Poll::Pending,
            }
        })
        .await
    }

    #[expect(clippy::unused_self, reason = "reads as what it does")]
    fn listen(&self, driver: &Rc<Driver>, waker: &Waker) {
        driver.with(|core| {
            let listeners = &mut core.notice.listeners;
            if !listeners.iter().any(|listener| listener.will_wake(waker)) {
                listeners.push(waker.clone());
            }
        });
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}
