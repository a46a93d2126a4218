//! How long a handler may take.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use http::StatusCode;

use crate::app::middleware::{Middleware, Next};
use crate::app::rejection::Rejection;
use crate::app::respond::IntoResponse as _;
use crate::message::{Request, Response};
use crate::rt::sleep;

/// Answers 503 for a handler that takes too long, and cancels it: its future is dropped at the
/// `.await` where it waits. Code that never awaits cannot be cancelled.
///
/// The time runs until the handler has returned its answer. A streamed body may take longer; a
/// client that does not read it is the business of the server's own timeouts.
///
/// ```
/// use std::time::Duration;
/// use corelane::{App, RequestTimeout};
/// use http::StatusCode;
///
/// let app = App::new()
///     .get("/", async || "Hello, Cluster!")
///     .wrap(RequestTimeout::new(Duration::from_secs(5)).status(StatusCode::GATEWAY_TIMEOUT));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RequestTimeout {
    after: Duration,
    status: StatusCode,
}

impl RequestTimeout {
    /// Answers 503 after this time.
    #[must_use]
    pub fn new(after: Duration) -> Self {
        Self { after, status: StatusCode::SERVICE_UNAVAILABLE }
    }

    /// Answers this status instead, such as 504 in a proxy.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl Middleware for RequestTimeout {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let head = request.head();
        let late = async {
            sleep(self.after).await;
            let late = Rejection::new(self.status, "the answer took too long");
            late.into_response_to(head.headers())
        };
        next.run(request).or(late).await
    }
}
