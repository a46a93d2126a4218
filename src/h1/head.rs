//! From received bytes to a [`Head`].

use httparse::{EMPTY_HEADER, Error};
use memchr::{memchr, memchr_iter};

use super::answer::Asked;
use super::body::BodyLength;
use super::facts::Facts;
use super::refusal::Refusal;
use super::request_line::{RequestLine, method_length};
use crate::message::{Field, Head, Span};

/// How many empty lines may precede a request line.
const BLANK_LINES_MAX: usize = 4;

/// Up to here a head is parsed in little memory, which is quickly made: load generators, proxies
/// that talk to themselves, small clients.
const FIELDS_FEW: usize = 6;

/// Up to here a head is parsed on the stack without ado; nearly every client stays below it.
const FIELDS_USUAL: usize = 24;

/// Up to here a head is parsed on the stack; beyond it one allocation is made.
const FIELDS_ON_STACK: usize = 128;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// The longest request line, without its CR LF: 414.
    pub request_line_bytes: usize,
    /// The longest head, from the method to the empty line, with it: 431.
    pub head_bytes: usize,
    /// How many header lines: 431. Heads of up to 128 are decoded without an allocation.
    pub headers: usize,
}

/// What a head says besides what is in [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// How many bytes of the input the head took, empty lines before it included.
    pub consumed: usize,
    /// How the body that follows is delimited.
    pub length: BodyLength,
    /// Whether the client waits for [`CONTINUE`](super::CONTINUE) before it sends the body.
    pub expects_continue: bool,
    /// What the answer depends on: method, version, keep-alive, upgrade.
    pub asked: Asked,
}

/// Finds and decodes heads in a growing input. It remembers how far it has looked, so that a head
/// that arrives one byte at a time costs no more than one that arrives whole.
#[derive(Debug, Default)]
pub(crate) struct HeadDecoder {
    /// Where the request line begins in the input: behind the empty lines.
    start: usize,
    /// How long the request line is, with its CR LF; 0 as long as its end has not been seen.
    request_line: usize,
    /// How many bytes behind `start` have been searched for line ends.
    scanned: usize,
    /// Where the current line begins, counted from `start`.
    line: usize,
    /// How many header lines are complete.
    fields: usize,
}

impl HeadDecoder {
    /// Decodes the request with which `input` begins, into `head`.
    ///
    /// `None` means that more bytes are needed: call again with the same bytes and more behind
    /// them. After `Some` the decoder is ready for the next request. Whether and why a request is
    /// refused does not depend on how its bytes were cut into calls.
    pub(crate) fn decode(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
        head: &mut Head,
    ) -> Result<Option<Decoded>, Refusal> {
        if !self.skip_blank_lines(input)? {
            return Ok(None);
        }
        let bytes = &input[self.start..];
        let window = &bytes[..bytes.len().min(limits.head_bytes)];
        let Some((line, end)) = self.find_end(window, limits)? else {
            return if window.len() < limits.head_bytes {
                Ok(None)
            } else {
                Err(Refusal::HEAD_TOO_LONG)
            };
        };
        let fields_from = self.request_line;
        let consumed = self.start + end;
        let fields = self.fields;
        *self = Self::default();
        fill(head, &window[..end], line, fields_from, fields)
            .map(|decoded| Some(Decoded { consumed, ..decoded }))
    }

    /// RFC 9112, 2.2: "a server that is expecting to receive and parse a request-line SHOULD
    /// ignore at least one empty line (CRLF) received prior to the request-line". False if the
    /// request line has not begun.
    fn skip_blank_lines(&mut self, input: &[u8]) -> Result<bool, Refusal> {
        loop {
            match input.get(self.start..).unwrap_or_default() {
                [] | [b'\r'] => return Ok(false),
                [b'\r', b'\n', ..] if self.start == 2 * BLANK_LINES_MAX => {
                    return Err(Refusal::bad_request("too many empty lines before the request"));
                }
                [b'\r', b'\n', ..] => self.start += 2,
                [b'\r', ..] => return Err(Refusal::BARE_CR),
                [b'\n', ..] => return Err(Refusal::BARE_LF),
                _ => return Ok(true),
            }
        }
    }

    /// The request line, and how long the head is; `None` if its end is not in `window`.
    fn find_end(
        &mut self,
        window: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<(RequestLine, usize)>, Refusal> {
        let mut line = None;
        if self.request_line == 0 {
            line = self.find_request_line(window, limits)?;
            if line.is_none() {
                return Ok(None);
            }
        }
        let Some(end) = self.find_empty_line(window, limits)? else { return Ok(None) };
        let line = match line {
            Some(line) => line,
            // It was sound when its end was found; keeping it would make idle connections larger.
            None => RequestLine::parse(&window[..self.request_line - 2])?,
        };
        Ok(Some((line, end)))
    }

    /// The request line, once it is complete. A bad one is refused before the headers are there.
    fn find_request_line(
        &mut self,
        window: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<RequestLine>, Refusal> {
        method_length(window)?;
        let longest = limits.request_line_bytes.saturating_add(2);
        let searched = &window[..window.len().min(longest)];
        let Some(at) = memchr(b'\n', &searched[self.scanned..]) else {
            self.scanned = searched.len();
            // RFC 9112, 3: "A server that receives a request-target longer than any URI it wishes
            // to parse MUST respond with a 414".
            return if searched.len() == longest { Err(Refusal::LINE_TOO_LONG) } else { Ok(None) };
        };
        let end = self.scanned + at;
        let line = line_before(searched, end)?;
        self.request_line = end + 1;
        self.scanned = end + 1;
        self.line = end + 1;
        RequestLine::parse(line).map(Some)
    }

    /// How long the head is: up to and with the empty line.
    fn find_empty_line(
        &mut self,
        window: &[u8],
        limits: &HeadLimits,
    ) -> Result<Option<usize>, Refusal> {
        for at in memchr_iter(b'\n', &window[self.scanned..]) {
            let end = self.scanned + at;
            let line = line_before(window, end)?;
            if line.len() == self.line {
                return Ok(Some(end + 1));
            }
            self.line = end + 1;
            self.fields += 1;
            if self.fields > limits.headers {
                return Err(Refusal::too_many_fields("there are more headers than the limit"));
            }
        }
        self.scanned = window.len();
        Ok(None)
    }
}

/// What precedes the line end whose LF is at `end`. RFC 9112, 2.2 lets a recipient accept LF
/// alone; those who do and those who do not see different messages, so it is refused.
fn line_before(window: &[u8], end: usize) -> Result<&[u8], Refusal> {
    window[..end].strip_suffix(b"\r").ok_or(Refusal::BARE_LF)
}

/// Fills `head` from the bytes of a whole head; `consumed` is left to the caller.
fn fill(
    head: &mut Head,
    bytes: &[u8],
    line: RequestLine,
    fields_from: usize,
    fields: usize,
) -> Result<Decoded, Refusal> {
    head.clear();
    head.bytes.extend_from_slice(bytes);
    let whole = &head.bytes[..];
    let facts = if fields <= FIELDS_FEW {
        read_fields(whole, fields_from, &mut [EMPTY_HEADER; FIELDS_FEW], &mut head.fields)
    } else if fields <= FIELDS_USUAL {
        read_fields(whole, fields_from, &mut [EMPTY_HEADER; FIELDS_USUAL], &mut head.fields)
    } else if fields <= FIELDS_ON_STACK {
        read_fields(whole, fields_from, &mut [EMPTY_HEADER; FIELDS_ON_STACK], &mut head.fields)
    } else {
        read_fields(whole, fields_from, &mut vec![EMPTY_HEADER; fields], &mut head.fields)
    }?;
    let host = facts.host(&line)?;
    let length = facts.body_length(&line)?;
    let expects_continue = facts.expects_continue(line.version, length)?;
    let asked = facts.asked(&line);

    // RFC 9112, 3.2.2: the host in an absolute-form target replaces the one in Host.
    head.authority = line.target.authority.or(host.map(|host| Span::of(host, whole)));
    head.target = line.target.whole;
    head.path = line.target.path;
    head.query = line.target.query;
    head.version = line.version;
    head.method = line.method;
    Ok(Decoded { consumed: 0, length, expects_continue, asked })
}

/// Parses the header lines of `whole`, from `from` on.
///
/// Every line end has been found to be CR LF already, so what `httparse` accepts with LF alone
/// does not occur. It refuses what RFC 9112, 5.1 and 5.2 and RFC 9110, 5.1 and 5.5 refuse: white
/// space before a colon or within a name, lines that begin with white space (obs-fold), and in
/// values CR, NUL, and every other control byte but HTAB.
fn read_fields<'b>(
    whole: &'b [u8],
    from: usize,
    scratch: &mut [httparse::Header<'b>],
    fields: &mut Vec<Field>,
) -> Result<Facts<'b>, Refusal> {
    let mut facts = Facts::default();
    let parsed = match httparse::parse_headers(&whole[from..], scratch) {
        Ok(httparse::Status::Complete((_, parsed))) => parsed,
        Ok(httparse::Status::Partial) => {
            return Err(Refusal::bad_request("a header is malformed"));
        }
        Err(error) => return Err(refuse_field(error)),
    };
    for header in parsed {
        facts.note(header.name.as_bytes(), header.value)?;
        let name = Span::of(header.name.as_bytes(), whole);
        fields.push(Field { name, value: Span::of(header.value, whole) });
    }
    Ok(facts)
}

fn refuse_field(error: Error) -> Refusal {
    Refusal::bad_request(match error {
        Error::HeaderName => "a header's name is malformed, or a header is folded",
        Error::HeaderValue => "a header's value has a control byte",
        _ => "a header is malformed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_searched_twice_for_a_line_end() {
        let limits = HeadLimits { request_line_bytes: 100, head_bytes: 1000, headers: 10 };
        let input = b"GET /a/long/path HTTP/1.1\r\nHost: a\r\nName: a long value\r\n\r\n";
        let (mut decoder, mut head) = (HeadDecoder::default(), Head::default());
        for end in 1..input.len() {
            assert_eq!(decoder.decode(&input[..end], &limits, &mut head), Ok(None));
            assert_eq!(decoder.scanned, end);
        }
        let found = decoder.decode(input, &limits, &mut head).unwrap().unwrap();
        assert_eq!(found.consumed, input.len());
    }

    #[test]
    fn a_warm_head_keeps_its_memory() {
        let limits = HeadLimits { request_line_bytes: 100, head_bytes: 1000, headers: 10 };
        let input = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
        let (mut decoder, mut head) = (HeadDecoder::default(), Head::default());
        let mut memory = None;
        for _ in 0..3 {
            decoder.decode(input, &limits, &mut head).unwrap().unwrap();
            let now = (head.bytes.as_ptr(), head.fields.as_ptr());
            assert_eq!(*memory.get_or_insert(now), now);
        }
    }
}
