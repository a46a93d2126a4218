//! What an engine says unasked, to whoever it runs for.

use std::sync::Arc;

use crate::sys::child::Exit;

/// What an exit code begins at that stands for a signal.
const SIGNAL_BASE: i32 = 128;
/// The exit code for an end of which nothing is known.
const UNKNOWN: u8 = 1;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A line for the operator.
    Said(String),
    /// An app has ended too often.
    Errored {
        /// Its name.
        app: String,
        /// How it ended, and how often.
        problem: String,
    },
    /// All apps have ended and stay so, as their policies want it.
    AllEnded {
        /// The code to end with: that of the first one that failed.
        code: u8,
    },
    /// Nobody looks after the apps any more.
    Over,
}

/// Who hears of it.
pub(crate) type Witness = Arc<dyn Fn(News) + Send + Sync>;

/// What a process exits with that ends as another has.
pub(super) fn code_of(exit: Exit) -> u8 {
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => SIGNAL_BASE + signal,
        Exit::Unknown => return UNKNOWN,
    };
    u8::try_from(code).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_from_128() {
        for (exit, code) in [
            (Exit::Code(0), 0),
            (Exit::Code(255), 255),
            (Exit::Signal(9), 137),
            (Exit::Signal(15), 143),
            (Exit::Unknown, 1),
        ] {
            assert_eq!(code_of(exit), code, "{exit}");
        }
    }
}
