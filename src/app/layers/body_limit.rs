//! How much a client may send.

use std::rc::Rc;
use std::task::Poll;

use futures_lite::stream::poll_fn;
use http::StatusCode;

use crate::app::middleware::{Middleware, Next};
use crate::app::rejection::Rejection;
use crate::app::respond::IntoResponse as _;
use crate::message::{Body, BodyError, Request, Response};

/// Refuses bodies that are longer than some bytes with 413: at once if the client says how long its
/// body is, else when it has sent more. Of use where parts of an app want less than the server's
/// own `limits.body_bytes`, which holds in any case.
///
/// A handler that reads a stream itself gets [`BodyError::TooLarge`] within its `io::Error`.
///
/// ```
/// use corelane::{App, BodyLimit};
///
/// let app = App::new().post("/note", async |note: String| note).wrap(BodyLimit::new(16 * 1024));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    bytes: u64,
}

impl BodyLimit {
    /// At most so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }
}

impl Middleware for BodyLimit {
    async fn handle(self: Rc<Self>, mut request: Request, next: Next) -> Response {
        match request.body_mut().size() {
            Some(size) if size <= self.bytes => {}
            Some(_) => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                let message = format!("the body is longer than {} bytes", self.bytes);
                return Rejection::new(status, message).into_response_to(request.headers());
            }
            None => {
                let body = request.take_body();
                *request.body_mut() = limited(body, self.bytes);
            }
        }
        next.run(request).await
    }
}

/// A body that fails once it is longer.
fn limited(mut body: Body, mut left: u64) -> Body {
    Body::stream(poll_fn(move |cx| {
        let polled = body.poll_chunk(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            let Some(rest) = left.checked_sub(bytes.len() as u64) else {
                left = 0;
                return Poll::Ready(Some(Err(BodyError::TooLarge.into())));
            };
            left = rest;
        }
        polled
    }))
}
