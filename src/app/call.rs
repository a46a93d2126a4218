//! What the app answers to the server: an answer, or a future of one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::message::{Contained, Response};

/// A request on its way through the app.
#[derive(Debug)]
pub(crate) struct Call {
    /// The number of the handler that the request went to, for reports; see
    /// [`App::patterns`](super::App::patterns).
    pub route: Option<usize>,
    /// What is to be sent.
    pub answer: Answer,
}

impl Call {
    pub(super) fn unrouted(answer: Answer) -> Self {
        Self { route: None, answer }
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
/// the handler owns is contained: the future is often dropped where nobody could, as when a
/// client has gone away.
pub(crate) struct HandlerFuture {
    inner: Contained<Pin<Box<dyn Future<Output = Response>>>>,
}

impl HandlerFuture {
    pub(super) fn new(future: impl Future<Output = Response> + 'static) -> Self {
        let inner: Pin<Box<dyn Future<Output = Response>>> = Box::pin(future);
        Self { inner: Contained::new(inner) }
    }
}

impl Future for HandlerFuture {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.inner.get_mut().as_mut().poll(cx)
    }
}
