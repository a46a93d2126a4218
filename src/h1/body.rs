//! A request's body, from received bytes to its payload.

use std::ops::Range;

use super::chunk::Chunks;
use super::refusal::Refusal;

/// How the body of a request is delimited: RFC 9112, 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    None,
    /// This many bytes, never 0.
    Exact(u64),
    /// In chunks.
    Chunked,
}

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where in the input there are bytes of the body; may be empty.
    pub payload: Range<usize>,
    /// How many bytes of the input are dealt with.
    pub consumed: usize,
    /// Whether the body is complete: what follows is the next request.
    pub done: bool,
}

/// Delimits one request's body. It copies nothing and keeps nothing of the input.
///
/// Trailers are checked as headers are, and dropped: RFC 9110, 6.5.1 lets a recipient discard them.
#[derive(Debug)]
pub(crate) struct BodyDecoder(Kind);

#[derive(Debug)]
enum Kind {
    Exact { left: u64 },
    Chunked(Chunks),
}

impl BodyDecoder {
    /// A decoder for a body of this length, of at most `max` bytes.
    ///
    /// A length that exceeds it is refused at once, so that a client that waits for `100 Continue`
    /// need not send its body in vain; chunks are refused when their sum exceeds it.
    pub(crate) fn new(length: BodyLength, max: u64) -> Result<Self, Refusal> {
        match length {
            BodyLength::None => Ok(Self(Kind::Exact { left: 0 })),
            BodyLength::Exact(length) if length > max => Err(Refusal::BODY_TOO_LARGE),
            BodyLength::Exact(left) => Ok(Self(Kind::Exact { left })),
            BodyLength::Chunked => Ok(Self(Kind::Chunked(Chunks::new(max)))),
        }
    }

    /// Whether the body is complete.
    pub(crate) fn is_done(&self) -> bool {
        match &self.0 {
            Kind::Exact { left } => *left == 0,
            Kind::Chunked(chunks) => chunks.is_done(),
        }
    }

    /// How many bytes are still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.0 {
            Kind::Exact { left } => Some(*left),
            Kind::Chunked(_) => None,
        }
    }

    /// The next piece of the body in `input`. Call again with what follows `consumed` until the
    /// piece is `done`; a piece that consumed nothing means that more bytes are needed.
    pub(crate) fn decode(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        match &mut self.0 {
            Kind::Exact { left } => {
                let taken =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                Ok(Piece { payload: 0..taken, consumed: taken, done: *left == 0 })
            }
            Kind::Chunked(chunks) => chunks.decode(input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn exact(length: u64) -> BodyDecoder {
        BodyDecoder::new(BodyLength::Exact(length), u64::MAX).unwrap()
    }

    #[test]
    fn an_exact_body_ends_where_it_said() {
        let mut body = exact(5);
        assert_eq!(body.decode(b"").unwrap(), Piece::default());
        let piece = Piece { payload: 0..3, consumed: 3, done: false };
        assert_eq!(body.decode(b"abc").unwrap(), piece);
        assert!(!body.is_done());
        let piece = Piece { payload: 0..2, consumed: 2, done: true };
        assert_eq!(body.decode(b"deGET / HTTP/1.1").unwrap(), piece);
        assert!(body.is_done());
        let piece = Piece { payload: 0..0, consumed: 0, done: true };
        assert_eq!(body.decode(b"GET / HTTP/1.1").unwrap(), piece);
    }

    #[test]
    fn no_body_is_done_at_once() {
        assert!(BodyDecoder::new(BodyLength::None, 0).unwrap().is_done());
    }

    #[test]
    fn the_largest_length_is_not_a_reason_to_fail() {
        let piece = exact(u64::MAX).decode(b"abc").unwrap();
        assert_eq!(piece, Piece { payload: 0..3, consumed: 3, done: false });
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_a_byte_is_read() {
        assert!(BodyDecoder::new(BodyLength::Exact(10), 10).is_ok());
        let refusal = BodyDecoder::new(BodyLength::Exact(11), 10).unwrap_err();
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
