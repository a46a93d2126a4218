//! How an answer is delimited, and what becomes of the connection: RFC 9112, 6.3 and 9.3.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode, Version};

use super::syntax::{decimal, elements};
use crate::message::Response;

/// What an answer depends on. The server keeps it for each pipelined request after the head's
/// memory has been handed on; a draining server sets `keep_alive` to false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The method, as far as it matters for the answer.
    pub method: AskedMethod,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// Whether the client offered to change the protocol.
    pub upgrade: bool,
}

/// The two methods whose answers are delimited in their own ways, and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedMethod {
    /// HEAD: the answer has no body, whatever it says.
    Head,
    /// CONNECT: a successful answer turns the connection into a tunnel.
    Connect,
    /// Any other.
    Other,
}

impl AskedMethod {
    /// What the answer to this method depends on.
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::HEAD => Self::Head,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// How long an answer's head says that its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerLength {
    /// Nothing is said: there cannot be a body.
    Absent,
    /// `Content-Length`. A stream that yields another number of bytes must be cut.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The body ends with the connection, as nothing better reaches an HTTP/1.0 client.
    UntilClose,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The next request is served.
    Persist,
    /// It closes.
    Close,
    /// It is handed over: it no longer carries HTTP.
    HandOver,
}

/// How one answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    /// The status to send: the answer's, but 200 for a tunnel.
    pub status: StatusCode,
    /// What the head says about the body.
    pub length: AnswerLength,
    /// Whether the body is sent; if not, what the answer has is dropped.
    pub sends_body: bool,
    /// What becomes of the connection.
    pub after: After,
    /// The `Connection` line.
    pub(super) connection: &'static [u8],
}

impl Framing {
    /// How `response` answers a request that `asked` so.
    pub(crate) fn of(asked: Asked, response: &Response) -> Self {
        let after = after(asked, response);
        let tunnel = after == After::HandOver && asked.method == AskedMethod::Connect;
        let informational = response.status().is_informational();
        let status = if tunnel && informational { StatusCode::OK } else { response.status() };
        let length = length(asked, status, response);
        Self {
            status,
            length,
            sends_body: asked.method != AskedMethod::Head
                && length != AnswerLength::Absent
                && !matches!(status, StatusCode::NOT_MODIFIED | StatusCode::RESET_CONTENT),
            after: if length == AnswerLength::UntilClose { After::Close } else { after },
            connection: b"",
        }
        .with_connection(asked, response.headers())
    }

    fn with_connection(mut self, asked: Asked, headers: &HeaderMap) -> Self {
        // RFC 9110, 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option"; so
        // with 101 and with 426 alike.
        let switches = self.status == StatusCode::SWITCHING_PROTOCOLS;
        let upgrade = switches || has(headers, &header::UPGRADE);
        self.connection = match (self.after, upgrade) {
            (After::Close, false) => b"Connection: close\r\n",
            (After::Close, true) => b"Connection: close, upgrade\r\n",
            // RFC 9112, 9.3: HTTP/1.0 persists only if both sides say so.
            (After::Persist, false) if asked.version == Version::HTTP_10 => {
                b"Connection: keep-alive\r\n"
            }
            (After::Persist, true) if asked.version == Version::HTTP_10 => {
                b"Connection: keep-alive, upgrade\r\n"
            }
            (After::Persist | After::HandOver, false) => b"",
            (After::Persist | After::HandOver, true) => b"Connection: upgrade\r\n",
        };
        self
    }
}

impl Asked {
    /// Whether a handover is an answer that the client can understand; else it gets 426.
    pub(crate) fn allows_handover(self) -> bool {
        self.upgrade || self.method == AskedMethod::Connect
    }
}

fn after(asked: Asked, response: &Response) -> After {
    let status = response.status();
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let tunnels = asked.method == AskedMethod::Connect && (status.is_success() || switches);
    if response.upgrades() && (tunnels || asked.upgrade && switches) {
        return After::HandOver;
    }
    // A 1xx answer is not final, and a client takes any 2xx to CONNECT for a tunnel: with nobody
    // to hand the connection to, there is nothing left that both sides would understand. Nor is
    // there behind a CONNECT that is refused: the client may have sent its tunnel's first bytes,
    // which must not be taken for a request.
    let confusing = status.is_informational() || asked.method == AskedMethod::Connect;
    if confusing || !asked.keep_alive || says_close(response.headers()) {
        After::Close
    } else {
        After::Persist
    }
}

/// RFC 9112, 6.3, seen from the server.
fn length(asked: Asked, status: StatusCode, response: &Response) -> AnswerLength {
    let head = asked.method == AskedMethod::Head;
    let tunnel = asked.method == AskedMethod::Connect && status.is_success();
    match status {
        // RFC 9110, 8.6: "A server MUST NOT send a Content-Length header field in any response
        // with a status code of 1xx (Informational) or 204 (No Content)", nor "in any 2xx
        // (Successful) response to a CONNECT request".
        StatusCode::NO_CONTENT => AnswerLength::Absent,
        _ if status.is_informational() || tunnel => AnswerLength::Absent,
        // 15.4.5: 304 "is always terminated by the end of the header section"; its length, if it
        // states one, is the length that 200 would have had.
        StatusCode::NOT_MODIFIED => {
            stated_length(response.headers()).map_or(AnswerLength::Absent, AnswerLength::Known)
        }
        // 15.3.6: "a server MUST NOT generate content in a 205 response".
        StatusCode::RESET_CONTENT => AnswerLength::Known(0),
        _ => match response.body().size() {
            // A handler that knows the length of a body that HEAD does not need may state it.
            Some(0) if head => AnswerLength::Known(stated_length(response.headers()).unwrap_or(0)),
            Some(length) => AnswerLength::Known(length),
            // RFC 9112, 6.1: "A server MUST NOT send a response containing Transfer-Encoding
            // unless the corresponding request indicates HTTP/1.1 (or later minor revisions)".
            None if asked.version != Version::HTTP_10 => AnswerLength::Chunked,
            None if head => AnswerLength::Absent,
            None => AnswerLength::UntilClose,
        },
    }
}

/// The length that a handler set, where it may.
fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH).and_then(|value| decimal(value.as_bytes()))
}

/// Whether a handler wants the connection closed.
fn says_close(headers: &HeaderMap) -> bool {
    has(headers, &header::CONNECTION)
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| elements(value.as_bytes()))
            .any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// Whether there is a header of this name. An answer has few, so comparing is cheaper than asking
/// the map, which hashes the name.
fn has(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|candidate| candidate == name)
}
