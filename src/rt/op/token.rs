//! What an operation is submitted with, and comes back with.

const KEY_BITS: u32 = 32;

/// Which entry of which table a completion or a deadline is for. An entry lives until the last
/// completion of its operations, so a token is never stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rt) enum Token {
    /// Nobody waits for it: a cancellation, a close.
    Unobserved,
    /// The receive of a socket.
    Socket(u32),
    /// A send.
    Send(u32),
    /// A send that is over when it is submitted, and completes only if it is not.
    Off(u32),
    /// The accept of a listener.
    Accept(u32),
    /// A file read.
    Read(u32),
    /// A connection that is being made.
    Connect(u32),
    /// The receive from the bell by which other threads wake this core.
    Notice,
    /// The timeout that ends a park.
    Alarm,
    /// The timeout that ends a slice of waiting.
    Tick,
}

impl Token {
    /// As `user_data`.
    pub(in crate::rt) fn pack(self) -> u64 {
        let (kind, key) = match self {
            Self::Unobserved => (0, 0),
            Self::Socket(key) => (1, key),
            Self::Send(key) => (2, key),
            Self::Accept(key) => (3, key),
            Self::Read(key) => (4, key),
            Self::Notice => (5, 0),
            Self::Alarm => (6, 0),
            Self::Tick => (7, 0),
            Self::Connect(key) => (8, key),
            Self::Off(key) => (9, key),
        };
        (kind << KEY_BITS) | u64::from(key)
    }

    /// From `user_data`.
    #[expect(clippy::cast_possible_truncation, reason = "the key is the lower half")]
    pub(in crate::rt) fn unpack(packed: u64) -> Self {
        let key = packed as u32;
        match packed >> KEY_BITS {
            1 => Self::Socket(key),
            2 => Self::Send(key),
            3 => Self::Accept(key),
            4 => Self::Read(key),
            5 => Self::Notice,
            6 => Self::Alarm,
            7 => Self::Tick,
            8 => Self::Connect(key),
            9 => Self::Off(key),
            _ => Self::Unobserved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks() {
        for token in [
            Token::Unobserved,
            Token::Socket(0),
            Token::Socket(u32::MAX),
            Token::Send(1),
            Token::Accept(2),
            Token::Read(3),
            Token::Notice,
            Token::Alarm,
            Token::Tick,
            Token::Connect(4),
            Token::Off(5),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
