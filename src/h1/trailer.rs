//! The trailer section behind the last chunk: RFC 9112, 7.1.2.

use super::refusal::Refusal;
use super::syntax::{is_token_byte, is_value_byte};

/// How long the trailer section may be, in bytes.
const BYTES_MAX: u16 = 8 * 1024;

/// How many trailers there may be.
const TRAILERS_MAX: u8 = 64;

/// RFC 9110, 6.5.1: fields that are "necessary for message framing, routing" or describe the
/// content or the connection have no place in a trailer section. Here they would come too late, so
/// a recipient that merged them would see another message than one that did not.
const FORBIDDEN: [&[u8]; 8] = [
    b"connection",
    b"content-encoding",
    b"content-length",
    b"expect",
    b"host",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

const MALFORMED: Refusal = Refusal::bad_request("a trailer is malformed");

/// Checks trailers and drops them.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    state: State,
    bytes: u16,
    lines: u8,
    /// How long the name is so far; only its first bytes can match a forbidden one.
    name: u8,
    /// One bit per forbidden name that the name may still become.
    candidates: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    LineStart,
    Name,
    Value,
    ValueLf,
    EndLf,
}

impl Trailers {
    /// Goes through one byte; true if the section is complete with it.
    pub(super) fn step(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.bytes += 1;
        if self.bytes > BYTES_MAX {
            return Err(Refusal::too_many_fields("the trailers are too long"));
        }
        self.state = match (self.state, byte) {
            (State::LineStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => return Ok(true),
            (State::LineStart, _) if is_token_byte(byte) => self.begin(byte)?,
            (State::Name, b':') => self.end_name()?,
            (State::Name, _) if is_token_byte(byte) => self.name(byte),
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, _) if is_value_byte(byte) => State::Value,
            (State::ValueLf, b'\n') => State::LineStart,
            (_, b'\n') => return Err(Refusal::BARE_LF),
            (State::EndLf | State::ValueLf, _) => return Err(Refusal::BARE_CR),
            _ => return Err(MALFORMED),
        };
        Ok(false)
    }

    fn begin(&mut self, byte: u8) -> Result<State, Refusal> {
        self.lines += 1;
        if self.lines > TRAILERS_MAX {
            return Err(Refusal::too_many_fields("there are too many trailers"));
        }
        self.name = 0;
        self.candidates = u8::MAX;
        Ok(self.name(byte))
    }

    fn name(&mut self, byte: u8) -> State {
        let byte = byte.to_ascii_lowercase();
        for (bit, forbidden) in FORBIDDEN.iter().enumerate() {
            if forbidden.get(usize::from(self.name)) != Some(&byte) {
                self.candidates &= !(1 << bit);
            }
        }
        self.name = self.name.saturating_add(1);
        State::Name
    }

    fn end_name(&self) -> Result<State, Refusal> {
        let complete = |(bit, name): (usize, &&[u8])| {
            self.candidates & 1 << bit != 0 && name.len() == usize::from(self.name)
        };
        if FORBIDDEN.iter().enumerate().any(complete) {
            return Err(Refusal::bad_request("this header is not allowed as a trailer"));
        }
        Ok(State::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    /// How many bytes the section has, if it is complete.
    fn check(section: &[u8]) -> Result<Option<usize>, Refusal> {
        let mut trailers = Trailers::default();
        for (at, byte) in section.iter().enumerate() {
            if trailers.step(*byte)? {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    #[test]
    fn well_formed_trailers_pass() {
        let table = [
            "\r\n",
            "a:\r\n\r\n",
            "Server-Timing: db;dur=53\r\nETag: \"x\"\r\n\r\n",
            "hostess: x\r\nhos: x\r\ncontent-length2: 1\r\n\r\n",
            "obs: \u{f6}\t\r\n\r\n",
        ];
        for section in table {
            assert_eq!(check(section.as_bytes()), Ok(Some(section.len())), "{section:?}");
        }
    }

    #[test]
    fn malformed_trailers_are_refused() {
        let table: [&[u8]; 13] = [
            b"\n",
            b"\rx",
            b"a\r\n",
            b"a \r\n",
            b"a : b\r\n",
            b" a: b\r\n",
            b": b\r\n",
            b"a: b\r\n folded\r\n",
            b"a: b\n",
            b"a: b\rc",
            b"a: \0\r\n",
            b"a: \x7f\r\n",
            b"\xe4: b\r\n",
        ];
        for section in table {
            let refusal = check(section).expect_err(&String::from_utf8_lossy(section));
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn trailers_that_would_change_the_message_are_refused() {
        for name in FORBIDDEN {
            for name in [name.to_vec(), name.to_ascii_uppercase()] {
                let section = [&name[..], b": 1\r\n"].concat();
                let refusal = check(&section).expect_err(&String::from_utf8_lossy(&section));
                assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            }
        }
    }

    #[test]
    fn trailers_are_limited_in_number_and_in_bytes() {
        let fitting = "a: b\r\n".repeat(TRAILERS_MAX.into());
        assert!(check(format!("{fitting}\r\n").as_bytes()).unwrap().is_some());
        let long = "x".repeat(BYTES_MAX.into());
        for section in [format!("{fitting}a"), format!("a: {long}"), format!("{long}x")] {
            let refusal = check(section.as_bytes()).unwrap_err();
            assert_eq!(refusal.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
    }
}
