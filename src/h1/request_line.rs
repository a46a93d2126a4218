//! The first line of a request: RFC 9112, 3.

use http::{Method, StatusCode, Version};

use super::refusal::Refusal;
use super::syntax::is_token_byte;
use super::target::Target;

/// The longest method; the longest registered one (UPDATEREDIRECTREF) has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

/// The first line of a request.
#[derive(Debug)]
pub(super) struct RequestLine {
    pub method: Method,
    pub target: Target,
    pub version: Version,
}

impl RequestLine {
    /// Parses `line`, with which the head begins, without its CR LF.
    ///
    /// RFC 9112, 3: `method SP request-target SP HTTP-version`. The RFC lets a server accept other
    /// white space; each such liberty has made two servers disagree, so none is taken.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Refusal> {
        const SHAPE: Refusal = Refusal::bad_request("the request line is malformed");
        let end = method_length(line)?.ok_or(SHAPE)?;
        let method = Method::from_bytes(&line[..end]).map_err(|_| SHAPE)?;
        let rest = &line[end + 1..];
        // What nearly all lines end with takes one comparison instead of a search.
        let (target, version) = if let Some((target, b" HTTP/1.1")) = rest.split_last_chunk() {
            (target, Version::HTTP_11)
        } else {
            let space = memchr::memrchr(b' ', rest).ok_or(SHAPE)?;
            (&rest[..space], parse_version(&rest[space + 1..])?)
        };
        let target = Target::parse(&method, target, line)?;
        Ok(Self { method, target, version })
    }
}

/// How long the method is with which `line` begins; `None` if the line ends within it. What is no
/// method is refused at once, so that whoever speaks another protocol need not wait for a time-out.
pub(super) fn method_length(line: &[u8]) -> Result<Option<usize>, Refusal> {
    let prefix = &line[..line.len().min(METHOD_BYTES_MAX + 1)];
    match prefix.iter().position(|byte| !is_token_byte(*byte)) {
        Some(end @ 1..) if prefix[end] == b' ' => Ok(Some(end)),
        Some(_) => Err(Refusal::bad_request("the method is malformed")),
        // RFC 9112, 3: "A server that receives a method longer than any that it implements SHOULD
        // respond with a 501".
        None if prefix.len() > METHOD_BYTES_MAX => {
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "the method is too long"))
        }
        None => Ok(None),
    }
}

/// RFC 9112, 2.3: `HTTP-version = HTTP-name "/" DIGIT "." DIGIT`, in capitals.
fn parse_version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] if text[5] != b'1' => {
            let reason = "only HTTP/1.0 and HTTP/1.1 are spoken here";
            Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, reason))
        }
        // RFC 9110, 2.5: a message of a higher minor version is processed as the highest minor
        // version that the recipient knows.
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Ok(Version::HTTP_11),
        _ => Err(Refusal::bad_request("the version is malformed")),
    }
}
