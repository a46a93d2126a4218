//! From an answer to bytes.

use http::{StatusCode, header};

use super::answer::{AnswerLength, Framing};
use super::refusal::Refusal;
use crate::message::Response;

/// Tells a client that waits for it to send the body: RFC 9110, 15.2.1.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Ends a chunk's data.
pub(super) const CHUNK_END: &[u8] = b"\r\n";

/// Ends a chunked body. There are no trailers.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What the status line and the server's own headers take at most.
const OWN_BYTES_MAX: usize = 256;

/// Writes the head of an answer: status line, headers, and the empty line.
///
/// `date` is the value of `Date`, unless the handler set one. The server owns the framing: what a
/// handler says in `Content-Length`, `Transfer-Encoding` and `Connection` has been heard in
/// `framing`, and is not sent.
pub(crate) fn encode_head(
    out: &mut Vec<u8>,
    response: &Response,
    framing: &Framing,
    date: &[u8; 29],
) {
    out.reserve(OWN_BYTES_MAX);
    encode_status_line(out, framing.status);
    if let Some(content_type) = response.default_content_type() {
        encode_field(out, b"Content-Type", content_type.as_bytes());
    }
    let mut dated = false;
    for (name, value) in response.headers() {
        // Comparing is cheaper than asking the map, which hashes the name.
        dated |= *name == header::DATE;
        if *name != header::CONTENT_LENGTH
            && *name != header::TRANSFER_ENCODING
            && *name != header::CONNECTION
        {
            encode_field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if !dated {
        encode_date(out, date);
    }
    match framing.length {
        AnswerLength::Known(length) => encode_length(out, length),
        AnswerLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        AnswerLength::Absent | AnswerLength::UntilClose => {}
    }
    out.extend_from_slice(framing.connection);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole answer to a request that is refused; the connection closes behind it.
pub(crate) fn encode_refusal(out: &mut Vec<u8>, refusal: Refusal, date: &[u8; 29]) {
    out.reserve(OWN_BYTES_MAX + refusal.reason.len());
    encode_status_line(out, refusal.status);
    encode_field(out, b"Content-Type", b"text/plain; charset=utf-8");
    encode_date(out, date);
    encode_length(out, refusal.reason.len() as u64 + 1);
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    out.extend_from_slice(refusal.reason.as_bytes());
    out.push(b'\n');
}

/// Writes what precedes `length` bytes of data; [`CHUNK_END`] goes behind them. A chunk of no
/// bytes would end the body, so there must be at least one.
pub(super) fn encode_chunk_head(out: &mut Vec<u8>, length: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    debug_assert!(length > 0, "an empty chunk ends the body");
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| DIGITS[length >> (4 * digit) & 0xf]));
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole chunk; nothing for no bytes.
pub(crate) fn encode_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        encode_chunk_head(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(CHUNK_END);
    }
}

/// RFC 9112, 4: "A server MUST send the space that separates the status-code from the
/// reason-phrase even when the reason-phrase is absent".
fn encode_status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    // RFC 9112, 2.3: the server's own version, also to a client that speaks HTTP/1.0.
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// One copy of a length that the compiler knows is a few moves.
fn encode_date(out: &mut Vec<u8>, date: &[u8; 29]) {
    let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    line[6..35].copy_from_slice(date);
    out.extend_from_slice(&line);
}

fn encode_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `HeaderName` and `HeaderValue` admit no CR, LF or NUL, and the server's own values have none:
/// nothing that is passed here can begin another line.
fn encode_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
