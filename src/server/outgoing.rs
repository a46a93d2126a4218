//! An answer, from the application to the socket.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::exchange::{COPIED_MAX, Dialogue, End, Handled, Line};
use super::incoming::Incoming;
use crate::h1::{After, AnswerLength, Asked, Framing, LAST_CHUNK, encode_chunk, encode_head};
use crate::message::{Body, Parts, Response};
use crate::net::Transport;

/// The answer where the application made a mistake.
pub(super) fn internal_error() -> Response {
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n")
}

/// The answer where the application wants an upgrade and the client has not offered one.
pub(super) fn upgrade_required() -> Response {
    Response::text(StatusCode::UPGRADE_REQUIRED, "this resource needs an upgraded connection\n")
        .with_header(header::CONNECTION, HeaderValue::from_static("upgrade"))
}

/// The answer where the application wants an upgrade without having read the request's body: what
/// is left of it would be taken for bytes of the new protocol.
pub(super) fn unread_upgrade() -> Response {
    tracing::error!("a handler upgrades a connection before it has read the request's body");
    internal_error()
}

/// Why an answer was cut short.
enum Cut {
    /// The connection has failed.
    Line,
    /// The body has.
    Body,
}

impl Dialogue {
    /// Sends an answer, or queues it. `None`: the next request may be read.
    pub(super) async fn send(
        &mut self,
        line: &mut Line,
        response: Response,
        asked: Asked,
        incoming: &mut Option<Box<Incoming>>,
    ) -> Option<End> {
        let framing = Framing::of(asked, &response);
        line.core.stats.statuses.count(framing.status.as_u16());
        encode_head(&mut self.outbox.output.buffer, &response, &framing, &line.core.date());
        let Parts { body, handover } = response.into_parts();
        let whole = body.as_whole().cloned();
        let sent = match whole {
            _ if !framing.sends_body => self.queue(line).await.map_err(|_| Cut::Line),
            Some(bytes) => {
                self.append(bytes);
                self.queue(line).await.map_err(|_| Cut::Line)
            }
            None if body.as_pages().is_some() => self.send_pages(line, &body).await,
            None => self.stream(line, body, framing.length, incoming).await,
        };
        match sent {
            Ok(()) => {}
            Err(Cut::Line) => return Some(End::Close),
            Err(Cut::Body) => return Some(self.cut(line, framing.length).await),
        }
        let end = match (framing.after, handover) {
            (After::Persist, _) => return None,
            (After::HandOver, Some(handover)) => End::HandOver(handover),
            (After::HandOver | After::Close, _) => End::Linger,
        };
        self.flush(line).await.map_or(Some(End::Close), |()| Some(end))
    }

    /// Ends the dialogue behind an answer whose body has failed. The answers before it were sound,
    /// and are not lost with it.
    async fn cut(&mut self, line: &mut Line, length: AnswerLength) -> End {
        match self.flush(line).await {
            Ok(()) if length != AnswerLength::UntilClose => End::Linger,
            _ => End::Close,
        }
    }

    fn append(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED_MAX {
            self.outbox.output.buffer.extend_from_slice(&bytes);
        } else {
            self.outbox.output.tail = Some(bytes);
        }
    }

    /// Begins to send what is queued, which whoever waits next goes on with.
    async fn begin_to_send(&mut self, line: &mut Line) -> io::Result<()> {
        poll_fn(|cx| match self.outbox.poll_send(cx, line) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Sends pages without a copy, as far as the socket has room for them. Where it has none, a
    /// piece that is copied waits for it, as any other answer does.
    async fn send_pages(&mut self, line: &mut Line, body: &Body) -> Result<(), Cut> {
        let Some(mut pages) = body.as_pages().cloned() else { return Ok(()) };
        if self.outbox.output.tail.is_some() || line.stream.is_sending() {
            self.flush(line).await.map_err(|_| Cut::Line)?;
        }
        loop {
            let sent = line.stream.send_pages(&mut self.outbox.output, &mut pages);
            line.core.stats.bytes_sent.add(sent.map_err(|_| Cut::Line)?);
            if pages.len() == 0 {
                break;
            }
            pages.take(COPIED_MAX, &mut self.outbox.output.buffer).map_err(|_| Cut::Body)?;
            self.flush(line).await.map_err(|_| Cut::Line)?;
        }
        self.outbox.note(line.begun);
        self.flush(line).await.map_err(|_| Cut::Line)
    }

    /// Sends a body as it comes: a piece is on its way while the next is waited for. If the body
    /// fails, the client must not take what it has for the whole.
    async fn stream(
        &mut self,
        line: &mut Line,
        mut body: Body,
        length: AnswerLength,
        incoming: &mut Option<Box<Incoming>>,
    ) -> Result<(), Cut> {
        let mut left = match length {
            AnswerLength::Known(length) => Some(length),
            _ => None,
        };
        loop {
            let chunk = match self.drive(line, incoming, |cx| body.poll_chunk(cx)).await {
                Handled::Answered(Some(Ok(chunk))) => chunk,
                Handled::Answered(None) => break,
                Handled::Answered(Some(Err(error))) => {
                    tracing::debug!(%error, "a streamed body failed");
                    return Err(Cut::Body);
                }
                Handled::Panicked => return Err(Cut::Body),
                Handled::Gone => return Err(Cut::Line),
            };
            if let Some(left) = &mut left {
                let rest = left.checked_sub(chunk.len() as u64);
                let Some(rest) = rest else { return Err(Cut::Body) };
                *left = rest;
            }
            // The piece before this one: no more than that is ahead of the client.
            self.flush(line).await.map_err(|_| Cut::Line)?;
            if length == AnswerLength::Chunked {
                encode_chunk(&mut self.outbox.output.buffer, &chunk);
            } else {
                self.append(chunk);
            }
            if left != Some(0) {
                self.begin_to_send(line).await.map_err(|_| Cut::Line)?;
            }
        }
        if length == AnswerLength::Chunked {
            self.outbox.output.buffer.extend_from_slice(LAST_CHUNK);
        }
        if left.is_some_and(|left| left > 0) {
            return Err(Cut::Body);
        }
        self.queue(line).await.map_err(|_| Cut::Line)
    }
}
