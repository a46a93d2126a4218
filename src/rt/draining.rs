//! By which what never ends by itself learns that its worker takes leave.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::Driver;
use super::core::Core;

/// Who waits on one core for the worker's leave.
#[derive(Default)]
pub(super) struct Leave {
    begun: bool,
    waiting: Slab<Waker>,
}

/// Waits until this worker begins to drain: because the program ends, or is reloaded, or because
/// there are to be fewer workers.
///
/// A draining worker gives what was begun `timeouts.drain` to end, and cuts it then. What would go
/// on for ever, such as an endless stream or an upgraded connection, should end when this does; its
/// client comes back to a worker that stays. [`Sse`](crate::Sse) does so by itself.
///
/// Once the worker drains this is ready at once. Outside a worker it never is.
///
/// ```
/// use corelane::{App, Response};
/// use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt};
/// use http::StatusCode;
/// use std::pin::pin;
///
/// async fn echo() -> Response {
///     Response::empty(StatusCode::OK).upgrade(async |mut io, _| {
///         let mut buffer = [0; 1024];
///         let mut leave = pin!(async {
///             corelane::draining().await;
///             Ok(0)
///         });
///         while let Ok(length @ 1..) = leave.as_mut().or(io.read(&mut buffer)).await {
///             if io.write_all(&buffer[..length]).await.is_err() || io.flush().await.is_err() {
///                 return;
///             }
///         }
///         // The client is gone already if this fails.
///         io.close().await.unwrap_or_default();
///     })
/// }
/// # let _ = App::new().get("/", echo);
/// ```
pub fn draining() -> Draining {
    Draining { place: None }
}

/// The future of [`draining`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Draining {
    place: Option<(Rc<Driver>, usize)>,
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = match &self.place {
            Some((driver, _)) => Rc::clone(driver),
            None => match Driver::try_current() {
                Some(driver) => driver,
                None => return Poll::Pending,
            },
        };
        // Wakers are cloned and dropped outside of the tables: they may run anything.
        let waker = cx.waker().clone();
        let key = self.place.as_ref().map(|(_, key)| *key);
        let (key, _old) = match driver.with(|core| core.leave.wait(key, waker)) {
            Ok(waiting) => waiting,
            Err(_unused) => return Poll::Ready(()),
        };
        self.place = Some((driver, key));
        Poll::Pending
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if let Some((driver, key)) = &self.place {
            let _waker = driver.with(|core| core.leave.waiting.try_remove(*key));
        }
    }
}

impl fmt::Debug for Draining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draining")
    }
}

impl Leave {
    /// Takes a waker in, in place of the one at `key`. The waker comes back if there is no need to
    /// wait any more.
    fn wait(&mut self, key: Option<usize>, waker: Waker) -> Result<(usize, Option<Waker>), Waker> {
        if self.begun {
            return Err(waker);
        }
        match key {
            Some(key) => Ok((key, Some(std::mem::replace(&mut self.waiting[key], waker)))),
            None => Ok((self.waiting.insert(waker), None)),
        }
    }
}

impl Core {
    /// The worker takes leave: wakes everybody who waits for that, now and from now on.
    pub(crate) fn begin_to_leave(&mut self) {
        self.leave.begun = true;
        self.woken.extend(self.leave.waiting.drain());
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::FutureExt as _;
    use futures_lite::future::{block_on, poll_once, yield_now};

    use super::*;
    use crate::rt::{Options, run, spawn_local};

    fn waiting() -> usize {
        Driver::current().with(|core| core.leave.waiting.len())
    }

    #[test]
    fn wakes_who_waits_and_lets_no_one_wait_later() {
        let done = run(&Options::new("leave"), || async {
            let first = spawn_local(draining());
            let second = spawn_local(draining().or(std::future::pending()));
            let mut kept = Box::pin(draining());
            while waiting() < 2 {
                yield_now().await;
            }
            assert!(poll_once(&mut kept).await.is_none());
            assert!(poll_once(&mut kept).await.is_none(), "it keeps its place");
            assert!(poll_once(draining()).await.is_none());
            assert_eq!(waiting(), 3, "who is dropped waits no more");
            Driver::current().with(Core::begin_to_leave);
            first.await;
            second.await;
            kept.await;
            draining().await;
            waiting()
        });
        assert_eq!(done.unwrap(), 0);
    }

    #[test]
    fn never_comes_outside_a_worker() {
        assert!(block_on(poll_once(draining())).is_none());
    }
}
