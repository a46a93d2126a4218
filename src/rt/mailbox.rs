//! Messages to a core from other threads.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use concurrent_queue::ConcurrentQueue;

use super::Driver;
use crate::stats::Apart;

/// Wakes one core, from any thread.
#[derive(Clone)]
pub(super) struct Notifier(Arc<Apart<Bell>>);

/// A socket pair, and not an eventfd: a ring whose operation is woken by an eventfd may not signal
/// its own eventfd at once, so the kernel defers that by an RCU grace period. A parked core would
/// hear of a message some 13 ms late.
struct Bell {
    rope: UnixStream,
    rung: AtomicBool,
}

impl Notifier {
    /// For the core of the calling thread, which keeps the other half.
    pub(super) fn new() -> io::Result<(Self, Notice)> {
        let (rope, hearing) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        let bell = Arc::new(Apart::new(Bell { rope, rung: AtomicBool::new(false) }));
        let notice =
            Notice { bell: Arc::clone(&bell), hearing, heard: Box::new(0), listeners: Vec::new() };
        Ok((Self(bell), notice))
    }

    fn notify(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel) {
            // Fails only if the core has ended, or has not yet heard thousands of notices.
            let _ = (&self.0.rope).write(&[0]);
        }
    }
}

/// The core's side of its notifier.
pub(super) struct Notice {
    bell: Arc<Apart<Bell>>,
    hearing: UnixStream,
    /// What the kernel receives into.
    heard: Box<u8>,
    listeners: Vec<Waker>,
}

impl Notice {
    /// What to receive from, and where to.
    pub(super) fn target(&mut self) -> (RawFd, *mut u8) {
        (self.hearing.as_raw_fd(), &raw mut *self.heard)
    }

    /// The bell has been heard.
    pub(super) fn heard(&mut self, woken: &mut Vec<Waker>) {
        // Reads what the last ringer wrote: its message is seen by whoever is woken here.
        self.bell.rung.swap(false, Ordering::AcqRel);
        woken.append(&mut self.listeners);
    }

    /// Those who wait for the bell; nobody does any more.
    pub(super) fn take_listeners(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.listeners)
    }

    /// Keeps the memory for ever.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.heard));
    }
}

/// A queue to a core that holds at most `capacity` messages.
///
/// It outlives its receiver: whoever ends a life, and keeps a sender for that, must
/// [take back](Sender::take_back) what the life has not received, or it is lost, and in memory
/// until the last sender goes.
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
    /// Leaves a message. Gives it back if the mailbox is full, or its receiver has gone.
    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message).map_err(concurrent_queue::PushError::into_inner)?;
        if let Some(notifier) = self.0.notifier.get() {
            notifier.notify();
        }
        Ok(())
    }

    /// Takes no more messages, of any sender. What is there can be received, or taken back.
    pub(crate) fn close(&self) {
        self.0.queue.close();
    }

    /// Whether it takes no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.queue.is_closed()
    }

    /// The next message that nobody will receive, because the receiver has gone; `None` if there is
    /// none left, or the receiver is still there. No message comes after `None` then: a send that
    /// has not failed is in the queue before the receiver goes.
    pub(crate) fn take_back(&self) -> Option<T> {
        if !self.0.queue.is_closed() {
            return None;
        }
        self.0.queue.pop().ok()
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

    /// Takes no more messages.
    pub(crate) fn close(&self) {
        self.0.queue.close();
    }

    /// The next message, if there is one.
    pub(crate) fn try_recv(&self) -> Option<T> {
        self.0.queue.pop().ok()
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
