//! An answer, from the application to the socket.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::exchange::{COPIED_MAX, Dialogue, End, Handled, Line};
use super::incoming::Incoming;
use crate::h1::{After, AnswerLength, Asked, Framing, LAST_CHUNK, encode_chunk, encode_head};
use crate::message::{Body, Parts, Response};

/// The answer to a request whose handler panicked.
pub(super) fn internal_error() -> Response {
    Response::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error\n")
}

/// The answer where the application wants an upgrade and the client has not offered one.
pub(super) fn upgrade_required() -> Response {
    Response::text(StatusCode::UPGRADE_REQUIRED, "this resource needs an upgraded connection\n")
        .with_header(header::CONNECTION, HeaderValue::from_static("upgrade"))
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
        encode_head(&mut self.output.buffer, &response, &framing, &line.core.date());
        let Parts { body, handover } = response.into_parts();
        let whole = body.as_whole().cloned();
        let sent = match whole {
            _ if !framing.sends_body => self.queue(line).await.is_ok(),
            Some(bytes) => {
                self.append(bytes);
                self.queue(line).await.is_ok()
            }
            None => self.stream(line, body, framing.length, incoming).await,
        };
        if !sent {
            return Some(End::Close);
        }
        let end = match (framing.after, handover) {
            (After::Persist, _) => return None,
            (After::HandOver, Some(handover)) => End::HandOver(handover),
            (After::HandOver | After::Close, _) => End::Linger,
        };
        self.flush(line).await.map_or(Some(End::Close), |()| Some(end))
    }

    fn append(&mut self, bytes: Bytes) {
        if bytes.len() <= COPIED_MAX {
            self.output.buffer.extend_from_slice(&bytes);
        } else {
            self.output.tail = Some(bytes);
        }
    }

    /// Sends a body as it comes. False if the connection must be cut: it failed, or the body did,
    /// and the client must not take what it has for the whole.
    async fn stream(
        &mut self,
        line: &mut Line,
        mut body: Body,
        length: AnswerLength,
        incoming: &mut Option<Box<Incoming>>,
    ) -> bool {
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
                    return false;
                }
                Handled::Panicked | Handled::Gone => return false,
            };
            if let Some(left) = &mut left {
                let Some(rest) = left.checked_sub(chunk.len() as u64) else { return false };
                *left = rest;
            }
            if length == AnswerLength::Chunked {
                encode_chunk(&mut self.output.buffer, &chunk);
            } else {
                self.append(chunk);
            }
            if self.flush(line).await.is_err() {
                return false;
            }
        }
        if length == AnswerLength::Chunked {
            self.output.buffer.extend_from_slice(LAST_CHUNK);
        }
        left.is_none_or(|left| left == 0) && self.queue(line).await.is_ok()
    }
}
