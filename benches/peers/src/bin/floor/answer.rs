//! The one answer, and how requests are told apart.

use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most header fields that a request may have.
const HEADERS: usize = 64;

/// The most bytes of a request that may wait for their rest.
const PARTIAL_BYTES: usize = 64 * 1024;

/// The answer to everything, with the date of this second.
pub(crate) struct Answer {
    bytes: Vec<u8>,
    second: u64,
}

/// What a client sends is not HTTP, or too long.
pub(crate) struct Malformed;

/// A connection's input: the beginning of a request whose rest has not come yet.
#[derive(Default)]
pub(crate) struct Input {
    partial: Vec<u8>,
}

impl Answer {
    /// The answer as of now.
    pub(crate) fn new() -> Answer {
        let mut answer = Answer { bytes: Vec::new(), second: 0 };
        answer.refresh();
        answer
    }

    /// Writes the date anew if the second has changed; to be called once per turn of the loop.
    pub(crate) fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second == self.second {
            return;
        }
        self.second = second;
        let date = httpdate::fmt_http_date(now);
        self.bytes = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 15\r\ncontent-type: text/plain; charset=utf-8\r\n\
             date: {date}\r\n\r\nHello, Cluster!"
        )
        .into_bytes();
    }

    /// Appends an answer for every whole request; returns how many bytes those took.
    fn each(&self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, Malformed> {
        let mut taken = 0;
        while taken < input.len() {
            let mut headers = [MaybeUninit::uninit(); HEADERS];
            let mut request = httparse::Request::new(&mut []);
            match request.parse_with_uninit_headers(&input[taken..], &mut headers) {
                Ok(httparse::Status::Complete(length)) => taken += length,
                Ok(httparse::Status::Partial) => break,
                Err(_) => return Err(Malformed),
            }
            output.extend_from_slice(&self.bytes);
        }
        Ok(taken)
    }
}

impl Input {
    /// Takes what has come and appends the answers to `output`.
    pub(crate) fn take(
        &mut self,
        received: &[u8],
        answer: &Answer,
        output: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        if self.partial.is_empty() {
            let taken = answer.each(received, output)?;
            self.partial.extend_from_slice(&received[taken..]);
        } else {
            self.partial.extend_from_slice(received);
            let taken = answer.each(&self.partial, output)?;
            self.partial.drain(..taken);
        }
        if self.partial.len() > PARTIAL_BYTES { Err(Malformed) } else { Ok(()) }
    }
}
