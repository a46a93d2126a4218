//! The chunked transfer coding: RFC 9112, 7.1.
//!
//! The machine goes through the framing byte by byte and skips the data, so it needs no buffer of
//! its own and does not care how the input was cut.

use super::body::Piece;
use super::refusal::Refusal;
use super::syntax::{is_token_byte, is_value_byte, is_white_space};
use super::trailer::Trailers;

/// How many digits a chunk size may have; 16 fill 64 bits. Leading zeros count.
const SIZE_DIGITS_MAX: u8 = 16;

/// How long the extensions of one chunk may be, in bytes.
pub(super) const EXTENSION_BYTES_MAX: u16 = 256;

/// How long the extensions of all chunks of a body may be together, in bytes. RFC 9112, 7.1.1: "A
/// server ought to limit the total length of chunk extensions received in a request".
pub(super) const EXTENSIONS_BYTES_MAX: u16 = 4096;

const SIZE: Refusal = Refusal::bad_request("a chunk size is malformed");
const EXTENSION: Refusal = Refusal::bad_request("a chunk extension is malformed");
const EXTENSION_LENGTH: Refusal = Refusal::bad_request("the chunk extensions are too long");
const DATA: Refusal = Refusal::bad_request("a chunk's data is not followed by CR LF");

/// Delimits a chunked body.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// The size of the chunk as far as it has been read, then what is left of it.
    left: u64,
    /// How many bytes the body may still have.
    room: u64,
    /// How many bytes of extensions this chunk has had.
    extension: u16,
    /// How many bytes of extensions the body has had before this chunk.
    extensions: u16,
    trailers: Trailers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Where in `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    BeforeSemicolon,
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Value,
    Quoted,
    QuotedPair,
    AfterQuoted,
}

/// What a byte does to an extension.
enum Step {
    To(Extension),
    LineEnds,
    Malformed,
}

impl Chunks {
    /// A decoder for a body of at most `max` bytes.
    pub(super) fn new(max: u64) -> Self {
        Self {
            state: State::Size { digits: 0 },
            left: 0,
            room: max,
            extension: 0,
            extensions: 0,
            trailers: Trailers::default(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The next run of data in `input`, with the framing before it and behind it.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Piece, Refusal> {
        let mut piece = Piece::default();
        while let Some(byte) = input.get(piece.consumed) {
            match self.state {
                State::Done => break,
                State::Data if !piece.payload.is_empty() => break,
                State::Data => {
                    let taken = self.take_data(input.len() - piece.consumed);
                    piece.payload = piece.consumed..piece.consumed + taken;
                    piece.consumed += taken;
                }
                _ => {
                    self.step(*byte)?;
                    piece.consumed += 1;
                }
            }
        }
        piece.done = self.is_done();
        Ok(piece)
    }

    /// How many of the next `available` bytes belong to the chunk.
    fn take_data(&mut self, available: usize) -> usize {
        let taken = usize::try_from(self.left).map_or(available, |left| left.min(available));
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        taken
    }

    /// Goes through one byte of framing.
    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.state = match (self.state, byte) {
            (State::Size { digits }, _) => self.size(digits, byte)?,
            (State::Extension(at), _) => self.extend(at, byte)?,
            (State::SizeLf, b'\n') => self.begin_data()?,
            (State::SizeLf, _) => return Err(Refusal::BARE_CR),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0 },
            (State::DataCr | State::DataLf, _) => return Err(DATA),
            (State::Trailers, _) if self.trailers.step(byte)? => State::Done,
            (State::Trailers, _) => State::Trailers,
            (state @ (State::Data | State::Done), _) => state,
        };
        Ok(())
    }

    /// `chunk-size = 1*HEXDIG`, then the line ends or an extension begins. White space is allowed
    /// only before an extension's semicolon.
    fn size(&mut self, digits: u8, byte: u8) -> Result<State, Refusal> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(_), _) if digits == SIZE_DIGITS_MAX => Err(SIZE),
            (Some(digit), _) => {
                self.left = self.left << 4 | u64::from(digit);
                Ok(State::Size { digits: digits + 1 })
            }
            (None, b'\n') => Err(Refusal::BARE_LF),
            (None, _) if digits == 0 => Err(SIZE),
            (None, b'\r') => Ok(State::SizeLf),
            (None, b';' | b' ' | b'\t') => self.extend(Extension::BeforeSemicolon, byte),
            (None, _) => Err(SIZE),
        }
    }

    /// RFC 9112, 7.1.1: "A recipient MUST ignore unrecognized chunk extensions", within limits.
    fn extend(&mut self, at: Extension, byte: u8) -> Result<State, Refusal> {
        match at.step(byte) {
            Step::LineEnds => Ok(State::SizeLf),
            Step::Malformed if byte == b'\n' => Err(Refusal::BARE_LF),
            Step::Malformed => Err(EXTENSION),
            Step::To(next) => {
                self.extension += 1;
                let total = self.extensions + self.extension;
                if self.extension > EXTENSION_BYTES_MAX || total > EXTENSIONS_BYTES_MAX {
                    return Err(EXTENSION_LENGTH);
                }
                Ok(State::Extension(next))
            }
        }
    }

    /// The line with the size is complete.
    fn begin_data(&mut self) -> Result<State, Refusal> {
        self.extensions += self.extension;
        self.extension = 0;
        self.room = self.room.checked_sub(self.left).ok_or(Refusal::BODY_TOO_LARGE)?;
        Ok(if self.left == 0 { State::Trailers } else { State::Data })
    }
}

impl Extension {
    fn step(self, byte: u8) -> Step {
        match (self, byte) {
            (
                Self::BeforeSemicolon
                | Self::Name
                | Self::AfterName
                | Self::Value
                | Self::AfterQuoted,
                b';',
            ) => Step::To(Self::BeforeName),
            (Self::Name | Self::Value | Self::AfterQuoted, b'\r') => Step::LineEnds,
            (Self::Name | Self::AfterName, b'=') => Step::To(Self::BeforeValue),
            (Self::BeforeValue, b'"') => Step::To(Self::Quoted),
            (Self::Quoted, b'"') => Step::To(Self::AfterQuoted),
            (Self::Quoted, b'\\') => Step::To(Self::QuotedPair),
            (Self::Quoted | Self::QuotedPair, _) if is_value_byte(byte) => Step::To(Self::Quoted),
            (Self::Quoted | Self::QuotedPair, _) => Step::Malformed,
            (Self::BeforeName | Self::Name, _) if is_token_byte(byte) => Step::To(Self::Name),
            (Self::BeforeValue | Self::Value, _) if is_token_byte(byte) => Step::To(Self::Value),
            (_, _) if is_white_space(byte) => self.skip_white_space(),
            _ => Step::Malformed,
        }
    }

    /// RFC 9110, 5.6.3: "A recipient MUST parse for such bad whitespace and remove it".
    fn skip_white_space(self) -> Step {
        Step::To(match self {
            Self::Name => Self::AfterName,
            Self::Value | Self::AfterQuoted => Self::BeforeSemicolon,
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    const ROOM: u64 = 1 << 20;

    /// The payload, and what is left of the input behind the body.
    type Split = (Vec<u8>, Vec<u8>);

    /// `None` if the input ends within the body.
    fn decode(input: &[u8]) -> Result<Option<Split>, Refusal> {
        let mut chunks = Chunks::new(ROOM);
        let (mut rest, mut payload) = (input, Vec::new());
        loop {
            let piece = chunks.decode(rest)?;
            payload.extend_from_slice(&rest[piece.payload]);
            rest = &rest[piece.consumed..];
            if piece.done {
                return Ok(Some((payload, rest.to_vec())));
            }
            if piece.consumed == 0 {
                return Ok(None);
            }
        }
    }

    fn check_payload(input: &str, payload: &str, rest: &str) {
        let expected = Some((payload.as_bytes().to_vec(), rest.as_bytes().to_vec()));
        assert_eq!(decode(input.as_bytes()), Ok(expected), "{input:?}");
    }

    fn check_refused(input: &[u8], status: StatusCode) {
        let refusal = decode(input).expect_err(&String::from_utf8_lossy(input));
        assert_eq!(refusal.status, status, "{:?}", String::from_utf8_lossy(input));
    }

    #[test]
    fn chunks_are_joined_and_extensions_and_trailers_are_dropped() {
        let table = [
            ("0\r\n\r\n", "", ""),
            ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET"),
            ("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", "hello world", ""),
            ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
            ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""),
            ("0000000000000001\r\nx\r\n0\r\n\r\n", "x", ""),
            ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", ""),
            ("1;a\r\nx\r\n0;b=c\r\n\r\n", "x", ""),
            ("1;a=b;c\r\nx\r\n0\r\n\r\n", "x", ""),
            ("1 ; a = b ; c = \"d \\\" ;\" ; e\r\nx\r\n0\r\n\r\n", "x", ""),
            ("1\t;a=\"\"\r\nx\r\n0\r\n\r\n", "x", ""),
            ("1\r\nx\r\n0\r\nChecksum: 1\r\nx-empty:\r\n\r\nrest", "x", "rest"),
        ];
        for (input, payload, rest) in table {
            check_payload(input, payload, rest);
        }
    }

    #[test]
    fn an_unfinished_body_waits() {
        let whole = b"5;a=\"b\"\r\nhello\r\n0\r\nA: b\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn malformed_framing_is_refused() {
        let table: [&[u8]; 47] = [
            b"\r\n",
            b"\n",
            b" 5\r\n",
            b"+5\r\n",
            b"-5\r\n",
            b"0x5\r\n",
            b"x\r\n",
            b"g\r\n",
            b"5 \r\n",
            b"5\t\r\n",
            b"5 5\r\n",
            b"5\n",
            b"5\r5",
            b"5\rhello",
            b"5,\r\n",
            b"5_0\r\n",
            b"00000000000000005\r\n",
            b"10000000000000000\r\n",
            b"5\0\r\n",
            b"5\x0b;a\r\n",
            b"5;\r\n",
            b"5;;a\r\n",
            b"5;a\n",
            b"5;a=\r\n",
            b"5;a=b=c\r\n",
            b"5;a b\r\n",
            b"5;a \r\n",
            b"5;a=b \r\n",
            b"5;=b\r\n",
            b"5;\"a\"\r\n",
            b"5;a=\"b\r\n",
            b"5;a=\"b\n",
            b"5;a=\"b\\\r\n",
            b"5;a=\"b\"c\r\n",
            b"5;a=b\"c\"\r\n",
            b"5;a\0\r\n",
            b"5;a=\"\0\"\r\n",
            b"5;a=\"\x7f\"\r\n",
            b"5;a\rb\r\n",
            b"5;\xff\r\n",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n0\r\n",
            b"5\r\nhello\r0\r\n",
            b"5\r\nhello0\r\n",
            b"0\r\n\n",
            b"0\r\n\rx",
            b"0\r\r\n",
        ];
        for input in table {
            check_refused(input, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn extensions_are_limited_per_chunk_and_per_body() {
        let longest = "a".repeat(usize::from(EXTENSION_BYTES_MAX) - 1);
        let chunk = format!("1;{longest}\r\nx\r\n");
        check_payload(&format!("{chunk}0\r\n\r\n"), "x", "");
        check_refused(format!("1;a{longest}\r\n").as_bytes(), StatusCode::BAD_REQUEST);

        let fitting = usize::from(EXTENSIONS_BYTES_MAX / EXTENSION_BYTES_MAX);
        let full = chunk.repeat(fitting);
        check_payload(&format!("{full}0\r\n\r\n"), &"x".repeat(fitting), "");
        check_refused(format!("{full}1;a\r\n").as_bytes(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_sum_of_the_chunks_is_limited() {
        let half = format!("{:x}\r\n{}\r\n", ROOM / 2, "x".repeat(1 << 19));
        assert!(decode(format!("{half}{half}0\r\n\r\n").as_bytes()).unwrap().is_some());
        let table = [
            format!("{half}{half}1\r\n"),
            format!("{:x}\r\n", ROOM + 1),
            "ffffffffffffffff\r\n".to_owned(),
            "1\r\nx\r\nffffffffffffffff\r\n".to_owned(),
        ];
        for input in table {
            check_refused(input.as_bytes(), StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
}
