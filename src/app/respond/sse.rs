//! Server-sent events (WHATWG HTML, 9.2): a stream of events that goes on as long as both want.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::Stream;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use serde::Serialize;

use super::IntoResponse;
use crate::app::extract::FromRequestParts;
use crate::message::{Body, Request, Response};
use crate::rt::{Draining, Sleep, draining, sleep};

/// After so long without an event a comment is sent: proxies close what is silent for a minute,
/// and a client that has vanished is noticed only when something is sent to it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An answer of events, from a stream of them, for a browser's `EventSource`.
///
/// It ends with the stream, when the client goes away (the stream is dropped), and when the worker
/// begins to drain (see [`draining`](crate::draining)): the client then comes back to a worker that
/// stays, and says in [`LastEventId`] what it has seen. The next event is asked for when the one
/// before it is on its way, so a client that does not read holds the stream up.
///
/// ```
/// use corelane::{App, LastEventId, Sse, SseEvent};
/// use futures_lite::stream;
/// use std::time::Duration;
///
/// async fn clock(LastEventId(last): LastEventId) -> Sse {
///     let next = last.and_then(|id| id.parse().ok()).map_or(0, |id: u64| id + 1);
///     Sse::new(stream::unfold(next, async |tick| {
///         corelane::sleep(Duration::from_secs(1)).await;
///         let event = SseEvent::data(format!("tick {tick}")).id(tick.to_string());
///         Some((event, tick + 1))
///     }))
/// }
///
/// let app = App::new().get("/clock", clock);
/// ```
pub struct Sse {
    events: Pin<Box<dyn Stream<Item = SseEvent>>>,
    keep_alive: Duration,
}

impl Sse {
    /// The events of this stream.
    pub fn new(events: impl Stream<Item = SseEvent> + 'static) -> Self {
        Self { events: Box::pin(events), keep_alive: KEEP_ALIVE }
    }

    /// Sends a comment after so long without an event, instead of after 15 s.
    #[must_use]
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every;
        self
    }
}

impl fmt::Debug for Sse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sse").field("keep_alive", &self.keep_alive).finish_non_exhaustive()
    }
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        const STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
        const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
        // nginx would keep events back until it has a buffer full of them.
        const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
        const NO: HeaderValue = HeaderValue::from_static("no");
        let Self { events, keep_alive } = self;
        let frames = Frames { events, leave: draining(), keep_alive, silence: None };
        Response::new(Body::stream(frames))
            .with_content_type(STREAM)
            .with_header(CACHE_CONTROL, NO_CACHE)
            .with_header(BUFFERING, NO)
    }
}

/// Events as they are sent.
struct Frames {
    events: Pin<Box<dyn Stream<Item = SseEvent>>>,
    leave: Draining,
    keep_alive: Duration,
    /// Since the last frame, once there was nothing to send.
    silence: Option<Sleep>,
}

impl Stream for Frames {
    type Item = std::io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frames = self.get_mut();
        // Before the events: there may be one whenever they are asked for.
        if Pin::new(&mut frames.leave).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = frames.events.as_mut().poll_next(cx) {
            frames.silence = None;
            return Poll::Ready(event.map(|event| Ok(event.into_frame())));
        }
        let silence = frames.silence.get_or_insert_with(|| sleep(frames.keep_alive));
        if Pin::new(silence).poll(cx).is_pending() {
            return Poll::Pending;
        }
        frames.silence = None;
        Poll::Ready(Some(Ok(Bytes::from_static(b":\n\n"))))
    }
}

/// One event of an [`Sse`].
///
/// No text can end its field: data and comments of several lines are sent line by line, and line
/// ends are left out of names and ids.
///
/// ```
/// use corelane::SseEvent;
/// use std::time::Duration;
///
/// let event = SseEvent::data("first line\nsecond line")
///     .event("news")
///     .id("7")
///     .retry(Duration::from_secs(5));
/// let sent = "event: news\nid: 7\nretry: 5000\ndata: first line\ndata: second line\n\n";
/// assert_eq!(event.to_string(), sent);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    comment: Option<String>,
    event: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
    data: Option<String>,
}

impl SseEvent {
    /// An event with this text.
    #[must_use]
    pub fn data(text: impl Into<String>) -> Self {
        Self { data: Some(text.into()), ..Self::default() }
    }

    /// An event with this value as JSON.
    ///
    /// # Errors
    /// The value cannot be said in JSON, such as a map whose keys are no strings.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self::data)
    }

    /// No event, but a line that the client disregards.
    #[must_use]
    pub fn comment(text: impl Into<String>) -> Self {
        Self { comment: Some(text.into()), ..Self::default() }
    }

    /// Names the kind of event, for `addEventListener`; without a name it is `message`.
    #[must_use]
    pub fn event(mut self, name: impl Into<String>) -> Self {
        self.event = Some(within_line(name.into()));
        self
    }

    /// What the client says as [`LastEventId`] when it comes back after this event.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(within_line(id.into()));
        self
    }

    /// How long the client waits before it comes back, in whole milliseconds.
    #[must_use]
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = Some(after);
        self
    }

    fn into_frame(self) -> Bytes {
        self.to_string().into()
    }
}

impl fmt::Display for SseEvent {
    /// As it is sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(f, "", self.comment.as_deref())?;
        lines(f, "event", self.event.as_deref())?;
        lines(f, "id", self.id.as_deref())?;
        if let Some(retry) = self.retry {
            writeln!(f, "retry: {}", retry.as_millis())?;
        }
        lines(f, "data", self.data.as_deref())?;
        f.write_str("\n")
    }
}

/// Writes a field, or one for each line: a client ends lines at CR, at LF and at both.
fn lines(f: &mut fmt::Formatter<'_>, field: &str, text: Option<&str>) -> fmt::Result {
    let Some(text) = text else { return Ok(()) };
    let mut rest = text;
    while let Some(end) = rest.find(['\r', '\n']) {
        writeln!(f, "{field}: {}", &rest[..end])?;
        let both = rest[end..].starts_with("\r\n");
        rest = &rest[end + 1 + usize::from(both)..];
    }
    writeln!(f, "{field}: {rest}")
}

/// Leaves out what would end the line, and NUL, for which clients disregard an id.
fn within_line(mut text: String) -> String {
    text.retain(|letter| !matches!(letter, '\r' | '\n' | '\0'));
    text
}

/// The id of the last event that a client has seen which comes back to an [`Sse`], as an extractor;
/// `None` at its first time.
///
/// ```
/// use corelane::{App, LastEventId};
///
/// let app = App::new().get("/", async |LastEventId(last): LastEventId| {
///     last.unwrap_or_else(|| "from the beginning".to_owned())
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastEventId(pub Option<String>);

impl FromRequestParts for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(Self(request.headers().get("last-event-id").map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_field() {
        let event = SseEvent::data;
        let table = [
            (event("a"), "data: a\n\n"),
            (event(""), "data: \n\n"),
            (event(" a: b"), "data:  a: b\n\n"),
            (event("a\nb\rc\r\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            (event("a\n\nevent: x"), "data: a\ndata: \ndata: event: x\n\n"),
            (event("a\n"), "data: a\ndata: \n\n"),
            (event("\n\r"), "data: \ndata: \ndata: \n\n"),
            (event("a").event("n\r\ndata: x"), "event: ndata: x\ndata: a\n\n"),
            (event("a").id("1\n2\x003\r"), "id: 123\ndata: a\n\n"),
            (event("a").retry(Duration::from_millis(1500)), "retry: 1500\ndata: a\n\n"),
            (SseEvent::comment("a\ndata: x"), ": a\n: data: x\n\n"),
            (SseEvent::comment("").id("7"), ": \nid: 7\n\n"),
            (SseEvent::json(&["a\nb"]).unwrap(), "data: [\"a\\nb\"]\n\n"),
            (SseEvent::default().retry(Duration::ZERO), "retry: 0\n\n"),
        ];
        for (event, sent) in table {
            assert_eq!(event.to_string(), sent);
        }
    }
}
