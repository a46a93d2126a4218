//! What the app answers to the server: an answer, or a future of one.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::message::Response;

/// A request on its way through the app.
#[derive(Debug)]
pub(crate) struct Call {
    /// The pattern of the route that matched, as its author wrote it; for reports.
    pub pattern: Option<Rc<str>>,
    /// What is to be sent.
    pub answer: Answer,
}

impl Call {
    pub(super) fn unrouted(answer: Answer) -> Self {
        Self { pattern: None, answer }
    }
}

/// The answer to a request, now or later.
pub(crate) enum Answer {
    /// Now: nothing had to be waited for, and nothing was allocated.
    Ready(Response),
    /// Once the handler is done.
    Pending(HandlerFuture),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(response) => write!(f, "Ready({response:?})"),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// A handler at work: the one allocation that a request costs.
///
/// A panic in [`poll`](Future::poll) is the caller's to catch. A panic in the destructor of what
/// the handler owns is caught here: the future is often dropped where nobody could, as when a
/// client has gone away.
pub(crate) struct HandlerFuture {
    inner: Option<Pin<Box<dyn Future<Output = Response>>>>,
}

impl HandlerFuture {
    pub(super) fn new(future: impl Future<Output = Response> + 'static) -> Self {
        Self { inner: Some(Box::pin(future)) }
    }
}

impl Future for HandlerFuture {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let inner = self.inner.as_mut().expect("invariant: taken out in `drop` only");
        inner.as_mut().poll(cx)
    }
}

impl Drop for HandlerFuture {
    fn drop(&mut self) {
        let inner = self.inner.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(inner))) {
            tracing::error!(panic = message(&*payload), "a handler panicked while it was dropped");
            discard(payload);
        }
    }
}

/// The text of a panic.
fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&'static str>().copied()).unwrap_or("(no message)")
}

/// Drops a panic's payload, which may panic in turn; what it then throws is leaked.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }

    fn armed() -> HandlerFuture {
        let bomb = Bomb;
        HandlerFuture::new(async move {
            let _bomb = bomb;
            std::future::pending().await
        })
    }

    #[test]
    fn survives_a_panicking_destructor() {
        drop(armed());
    }

    #[test]
    fn survives_a_panicking_destructor_while_unwinding() {
        let outcome = catch_unwind(|| {
            let _future = armed();
            panic!("first");
        });
        assert_eq!(message(&*outcome.unwrap_err()), "first");
    }

    #[test]
    fn survives_a_payload_that_panics() {
        drop(HandlerFuture::new(async move {
            struct Thrower;
            impl Drop for Thrower {
                fn drop(&mut self) {
                    std::panic::panic_any(Bomb);
                }
            }
            let _thrower = Thrower;
            std::future::pending().await
        }));
        let thrown = catch_unwind(|| std::panic::panic_any(Bomb)).unwrap_err();
        discard(thrown);
    }
}
