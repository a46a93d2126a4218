//! Doors into private rooms, for the benches `micro` and `instructions`. No part of the interface:
//! it exists with the feature `internals` only, and changes without notice.

use std::time::Duration;

use crate::app::App;
use crate::h1::{
    Asked, AskedMethod, BodyDecoder, BodyLength, Framing, HeadDecoder, HeadLimits, encode_head,
};
use crate::message::{Head, Response};
use crate::server::{Limits, Rehearsal};
use crate::stats::Histogram;

/// Decodes heads of requests, one after the other into the same memory, as a connection does.
#[derive(Debug)]
pub struct Heads {
    decoder: HeadDecoder,
    head: Head,
    limits: HeadLimits,
}

impl Default for Heads {
    fn default() -> Self {
        let Limits { request_line_bytes, head_bytes, headers, .. } = Limits::default();
        let limits = HeadLimits { request_line_bytes, head_bytes, headers };
        Self { decoder: HeadDecoder::default(), head: Head::default(), limits }
    }
}

impl Heads {
    /// How many headers the head has with which `input` begins; `None` if there is no whole one, or
    /// if it is refused.
    pub fn decode(&mut self, input: &[u8]) -> Option<usize> {
        self.decoder.decode(input, &self.limits, &mut self.head).ok().flatten()?;
        Some(self.head.fields.len())
    }
}

/// How many bytes of payload a whole chunked body has; `None` if it is not whole, or is refused.
#[must_use]
pub fn decode_chunked(mut input: &[u8]) -> Option<usize> {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, u64::MAX).ok()?;
    let mut payload = 0;
    loop {
        let piece = decoder.decode(input).ok()?;
        payload += piece.payload.len();
        input = &input[piece.consumed..];
        match piece.consumed {
            _ if piece.done => return Some(payload),
            0 => return None,
            _ => {}
        }
    }
}

/// Writes the head of an answer to a plain request behind what `out` holds.
pub fn encode_answer(out: &mut Vec<u8>, response: &Response) {
    let method = AskedMethod::Other;
    let version = http::Version::HTTP_11;
    let asked = Asked { method, version, keep_alive: true, upgrade: false };
    encode_head(out, response, &Framing::of(asked, response), b"Sun, 06 Nov 1994 08:49:37 GMT");
}

/// Whether a path has a route.
#[must_use]
pub fn routes(app: &App, path: &str) -> bool {
    app.has(path)
}

/// What a worker records latencies in.
#[derive(Debug, Default)]
pub struct Latencies(Histogram);

impl Latencies {
    /// One request took so long.
    pub fn record(&self, duration: Duration) {
        self.0.record(duration, 1);
    }
}

/// A worker without sockets.
pub struct Worker(Rehearsal);

impl Worker {
    /// One that serves this app on the calling thread.
    ///
    /// # Errors
    /// The kernel refuses a ring.
    pub fn new(app: App) -> std::io::Result<Self> {
        Rehearsal::new(app).map(Self)
    }

    /// The answer to a whole request, as it would be sent; `None` if it takes waiting.
    pub fn answer(&mut self, request: &[u8]) -> Option<&[u8]> {
        self.0.answer(request)
    }
}
