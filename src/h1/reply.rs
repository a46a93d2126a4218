//! An answer as a client reads it, from received bytes to the end of its body: RFC 9112, 4 and 6.3.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{Header, ParserConfig, Status};
use memchr::memchr_iter;

use super::answer::AskedMethod;
use super::body::{BodyDecoder, BodyLength};
use super::facts::{Coding, Connection};
use super::refusal::Refusal;
use super::syntax::{decimal, elements};

/// The longest head of an answer, in bytes, with those of interim answers before it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most header lines of an answer.
const HEADERS_MAX: usize = 128;
/// What every answer begins with.
const PREFIX: &[u8] = b"HTTP/1.";

/// Why something is no answer. Nobody knows where the next one would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Malformed {
    /// The rule that was broken.
    pub reason: &'static str,
}

impl Malformed {
    const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl From<Refusal> for Malformed {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason)
    }
}

/// What the head of an answer says about the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyHead {
    /// The status, from 200 on, or 101.
    pub status: u16,
    /// How the body is delimited.
    pub length: ReplyLength,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
}

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyLength {
    /// There is none.
    None,
    /// This many bytes, never 0.
    Exact(u64),
    /// In chunks.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// What one call of [`ReplyDecoder::decode`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReplyPiece {
    /// How many bytes of the input are dealt with.
    pub consumed: usize,
    /// Where among them there are bytes of the body; may be empty.
    pub payload: Range<usize>,
    /// The answer, once it is complete: what follows is the next one.
    pub done: Option<ReplyHead>,
}

/// Decodes the answers of a connection, one after another. It copies no body, and looks at no byte
/// of a head twice; a head that is the same as the one before, byte for byte, it only compares.
#[derive(Debug, Default)]
pub(crate) struct ReplyDecoder {
    state: State,
    /// How many bytes of the head have been searched for its end.
    scanned: usize,
    /// Where the head's current line begins.
    line: usize,
    /// How many bytes interim answers have taken before this one.
    interim: usize,
    /// The last whole head, and what it said.
    last: Option<Last>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(ReplyHead, BodyDecoder),
    UntilClose(ReplyHead),
}

#[derive(Debug)]
struct Last {
    bytes: Vec<u8>,
    asked: AskedMethod,
    head: ReplyHead,
}

impl ReplyDecoder {
    /// The next piece of the answer to a request with the method `asked`, in `input`.
    ///
    /// Call again with what follows `consumed`, and more behind it, until the piece is `done`. A
    /// piece that consumed nothing and is not done means that more bytes are needed. Whether an
    /// answer is refused does not depend on how its bytes were cut into calls.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        asked: AskedMethod,
    ) -> Result<ReplyPiece, Malformed> {
        let mut from = 0;
        if matches!(self.state, State::Head) {
            let Some((head, end)) = self.head(input, asked)? else {
                return Ok(ReplyPiece::default());
            };
            from = end;
            match head.length {
                ReplyLength::None => return Ok(self.finished(head, from, from..from)),
                // By far the most common: the body has come with the head.
                ReplyLength::Exact(length) if (input.len() - from) as u64 >= length => {
                    let length = usize::try_from(length).map_err(|_| TOO_LONG)?;
                    return Ok(self.finished(head, from + length, from..from + length));
                }
                ReplyLength::Exact(length) => self.begin(head, BodyLength::Exact(length))?,
                ReplyLength::Chunked => self.begin(head, BodyLength::Chunked)?,
                ReplyLength::UntilClose => self.state = State::UntilClose(head),
            }
        }
        match &mut self.state {
            State::Head => Ok(ReplyPiece::default()),
            State::UntilClose(_) => {
                Ok(ReplyPiece { consumed: input.len(), payload: from..input.len(), done: None })
            }
            State::Body(head, body) => {
                let (head, piece) = (*head, body.decode(&input[from..])?);
                let payload = from + piece.payload.start..from + piece.payload.end;
                let consumed = from + piece.consumed;
                if piece.done {
                    return Ok(self.finished(head, consumed, payload));
                }
                Ok(ReplyPiece { consumed, payload, done: None })
            }
        }
    }

    /// Whether nothing has come yet of the next answer, of what was given to
    /// [`decode`](Self::decode).
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Head) && self.scanned == 0 && self.interim == 0
    }

    /// The connection has ended: the answer whose body it delimits, if there is one, is complete.
    /// `None` if no answer was under way, or one that has been cut off.
    pub(crate) fn end(&mut self) -> Option<ReplyHead> {
        match std::mem::take(&mut self.state) {
            State::UntilClose(head) => Some(head),
            State::Head | State::Body(..) => None,
        }
    }

    /// Gets ready for another connection.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only loadgen connects anew"))]
    pub(crate) fn restart(&mut self) {
        *self = Self { last: self.last.take(), ..Self::default() };
    }

    fn begin(&mut self, head: ReplyHead, length: BodyLength) -> Result<(), Malformed> {
        self.state = State::Body(head, BodyDecoder::new(length, u64::MAX)?);
        Ok(())
    }

    fn finished(&mut self, head: ReplyHead, consumed: usize, payload: Range<usize>) -> ReplyPiece {
        self.state = State::Head;
        ReplyPiece { consumed, payload, done: Some(head) }
    }

    /// The head with which `input` begins, and where it ends; interim answers before it are
    /// skipped. RFC 9110, 15.2: "A client MUST be able to parse one or more 1xx responses received
    /// prior to a final response, even if the client does not expect one."
    fn head(
        &mut self,
        input: &[u8],
        asked: AskedMethod,
    ) -> Result<Option<(ReplyHead, usize)>, Malformed> {
        if let Some(last) = &self.last
            && self.is_idle()
            && last.asked == asked
            && input.starts_with(&last.bytes)
        {
            return Ok(Some((last.head, last.bytes.len())));
        }
        loop {
            let Some(end) = self.find_end(input)? else { return Ok(None) };
            let head = parse(&input[self.interim..end], asked)?;
            if (100..200).contains(&head.status) && head.status != SWITCHING_PROTOCOLS {
                (self.interim, self.scanned, self.line) = (end, end, end);
                continue;
            }
            let begin = std::mem::take(&mut self.interim);
            (self.scanned, self.line) = (0, 0);
            if begin == 0 {
                self.remember(&input[..end], asked, head);
            }
            return Ok(Some((head, end)));
        }
    }

    /// Where the head that begins at `interim` ends, behind its empty line. RFC 9112, 2.2: "a
    /// recipient MAY recognize a single LF as a line terminator".
    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Malformed> {
        let window = &input[..input.len().min(HEAD_BYTES_MAX)];
        let begun = &window[self.interim..];
        if !begun.starts_with(PREFIX) && !PREFIX.starts_with(begun) {
            return Err(Malformed::new("an answer begins with HTTP/1"));
        }
        for at in memchr_iter(b'\n', &window[self.scanned..]) {
            let end = self.scanned + at;
            if matches!(&window[self.line..end], [] | [b'\r']) {
                return Ok(Some(end + 1));
            }
            self.line = end + 1;
        }
        self.scanned = window.len();
        if window.len() == HEAD_BYTES_MAX {
            return Err(TOO_LONG);
        }
        Ok(None)
    }

    fn remember(&mut self, bytes: &[u8], asked: AskedMethod, head: ReplyHead) {
        let mut memory = self.last.take().map(|last| last.bytes).unwrap_or_default();
        memory.clear();
        memory.extend_from_slice(bytes);
        self.last = Some(Last { bytes: memory, asked, head });
    }
}

const TOO_LONG: Malformed = Malformed::new("the head or the body is longer than the limit");
const SWITCHING_PROTOCOLS: u16 = 101;

/// Reads a whole head.
fn parse(bytes: &[u8], asked: AskedMethod) -> Result<ReplyHead, Malformed> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    match parsed {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Malformed::new("there are more headers than the limit"));
        }
        Ok(Status::Partial) | Err(_) => return Err(Malformed::new("the head is malformed")),
    }
    let mut said = Said::default();
    for header in response.headers.iter() {
        said.note(header.name.as_bytes(), header.value)?;
    }
    let status = response.code.unwrap_or_default();
    if status < 100 {
        return Err(Malformed::new("the status is below 100"));
    }
    said.head(status, response.version == Some(1), asked)
}

/// What the header lines say about the message itself.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    coding: Coding,
    connection: Connection,
}

impl Said {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        // The length rules out nearly every header at once.
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection.note(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                elements(value).try_for_each(|element| self.note_length(element))?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                for element in elements(value) {
                    self.coding = self.coding.followed_by(element)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112, 6.3: an invalid Content-Length is an error "unless the field value can be
    /// successfully parsed as a comma-separated list [...], all values in the list are valid, and
    /// all values in the list are the same".
    fn note_length(&mut self, element: &[u8]) -> Result<(), Malformed> {
        let length = decimal(element).ok_or(Malformed::new("Content-Length is malformed"))?;
        match self.length.replace(length) {
            Some(other) if other != length => {
                Err(Malformed::new("there are two values of Content-Length"))
            }
            _ => Ok(()),
        }
    }

    /// RFC 9112, 6.3 and 9.3.
    fn head(self, status: u16, http11: bool, asked: AskedMethod) -> Result<ReplyHead, Malformed> {
        let tunnel = status == SWITCHING_PROTOCOLS
            || (asked == AskedMethod::Connect && (200..300).contains(&status));
        let bodiless = tunnel || status < 200 || matches!(status, 204 | 304);
        let length = if bodiless || asked == AskedMethod::Head {
            ReplyLength::None
        } else {
            self.body_length(http11)?
        };
        let persists = !self.connection.close && (http11 || self.connection.keep_alive);
        let keep_alive = persists && !tunnel && length != ReplyLength::UntilClose;
        Ok(ReplyHead { status, length, keep_alive })
    }

    fn body_length(&self, http11: bool) -> Result<ReplyLength, Malformed> {
        match (self.coding, self.length) {
            (Coding::Absent, None) => Ok(ReplyLength::UntilClose),
            (Coding::Absent, Some(0)) => Ok(ReplyLength::None),
            (Coding::Absent, Some(length)) => Ok(ReplyLength::Exact(length)),
            // 6.1: "MUST treat the message as if the framing is faulty".
            _ if !http11 => Err(Malformed::new("HTTP/1.0 has no Transfer-Encoding")),
            // 6.3: such a message "ought to be handled as an error".
            (_, Some(_)) => {
                Err(Malformed::new("there are both Content-Length and Transfer-Encoding"))
            }
            (Coding::Chunked | Coding::UnknownThenChunked, None) => Ok(ReplyLength::Chunked),
            // 6.3: "If a Transfer-Encoding header field is present in a response and the chunked
            // transfer coding is not the final encoding, the message body length is determined by
            // reading the connection until it is closed by the server."
            (Coding::Unknown, None) => Ok(ReplyLength::UntilClose),
        }
    }
}

#[cfg(test)]
impl ReplyDecoder {
    /// Where the last head is kept.
    pub(super) fn memory(&self) -> Option<*const u8> {
        self.last.as_ref().map(|last| last.bytes.as_ptr())
    }
}
