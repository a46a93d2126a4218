//! A line for each request.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_lite::Stream;
use http::Method;

use super::log_line::{Answered, Asked, Notation, line};
use super::log_writer::LogWriter;
use super::request_id::X_REQUEST_ID;
use crate::app::middleware::{Middleware, Next};
use crate::message::{Body, Request, Response};

/// Writes a line for each request, once its answer has been made: for a streamed body, once it has
/// ended or the client has gone away.
///
/// | notation | what it holds |
/// |---|---|
/// | [`common`](Self::common) | client, time, method, target, version, status, bytes of the body |
/// | [`combined`](Self::combined) | that, referer, user agent |
/// | [`json`](Self::json) | that, microseconds, the id by [`SetRequestId`](crate::SetRequestId) |
///
/// Times are in UTC. What clients send is escaped, so that nobody can forge a line or steer the
/// terminal of who reads it, and cut after 1 KiB each. A request whose client went away before
/// there was an answer has no status. Wrap the app in it last, so that it sees the answers of
/// the other layers.
///
/// ```no_run
/// use corelane::{AccessLog, App, Cluster, LogWriter, SetRequestId};
///
/// # fn main() -> std::io::Result<()> {
/// let log = LogWriter::stdout()?;
/// let cluster = Cluster::new(move || {
///     App::new()
///         .get("/", async || "Hello, Cluster!")
///         .wrap(SetRequestId::new())
///         .wrap(AccessLog::combined(&log))
/// });
/// # let _ = cluster;
/// # Ok(())
/// # }
/// ```
pub struct AccessLog {
    notation: Notation,
    log: LogWriter,
}

impl AccessLog {
    /// The Common Log Format.
    #[must_use]
    pub fn common(log: &LogWriter) -> Self {
        Self { notation: Notation::Common, log: log.clone() }
    }

    /// The Combined Log Format, as nginx and Apache write it.
    #[must_use]
    pub fn combined(log: &LogWriter) -> Self {
        Self { notation: Notation::Combined, log: log.clone() }
    }

    /// A JSON object a line.
    #[must_use]
    pub fn json(log: &LogWriter) -> Self {
        Self { notation: Notation::Json, log: log.clone() }
    }
}

impl Middleware for AccessLog {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let sends_body = *request.method() != Method::HEAD;
        let mut entry = Entry::new(Rc::clone(&self), &request);
        let mut response = next.run(request).await;
        entry.answered.status = Some(response.status().as_u16());
        let id = response.headers().get(X_REQUEST_ID);
        entry.answered.request_id = id.map(|id| id.as_bytes().to_vec());
        let body = response.body();
        if let Some(whole) = body.as_whole() {
            entry.answered.bytes = if sends_body { whole.len() as u64 } else { 0 };
        } else {
            let size = body.size();
            let body = std::mem::take(response.body_mut());
            *response.body_mut() = Body::sized(Counted { body, entry }, size);
        }
        response
    }
}

/// A line to be: it is written when this is dropped, so that there is one whatever becomes of the
/// request.
struct Entry {
    layer: Rc<AccessLog>,
    asked: Asked,
    answered: Answered,
    begun: Instant,
}

impl Entry {
    fn new(layer: Rc<AccessLog>, request: &Request) -> Self {
        let begun = Instant::now();
        let answered = Answered { status: None, bytes: 0, took: begun.elapsed(), request_id: None };
        Self { layer, asked: Asked::new(request), answered, begun }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.answered.took = self.begun.elapsed();
        if self.answered.status.is_none() && std::thread::panicking() {
            // What the server answers for a handler that panicked.
            self.answered.status = Some(500);
        }
        let AccessLog { notation, log } = &*self.layer;
        log.write(line(*notation, &self.asked, &self.answered, SystemTime::now()));
    }
}

/// A streamed body whose bytes are counted.
struct Counted {
    body: Body,
    entry: Entry,
}

impl Stream for Counted {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.poll_chunk(cx);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            self.entry.answered.bytes += chunk.len() as u64;
        }
        polled
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessLog({:?}, {:?})", self.notation, self.log)
    }
}
