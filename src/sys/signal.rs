//! The signals that a program obeys.

use std::io;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::{self, Handle};

/// What somebody asks of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM: finish what was begun, then end.
    Terminate,
    /// SIGINT, mostly from a terminal: the same.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open the log files again.
    Reopen,
}

impl Signal {
    const ALL: [Self; 4] = [Self::Terminate, Self::Interrupt, Self::Reload, Self::Reopen];

    /// The kernel's number for it; 128 + number is the exit code of an end that it forced.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Terminate => SIGTERM,
            Self::Interrupt => SIGINT,
            Self::Reload => SIGHUP,
            Self::Reopen => SIGUSR1,
        }
    }
}

/// From now on a file that may not grow any more (`RLIMIT_FSIZE`) is an error to whoever writes to
/// it, and not the end of the process.
pub(crate) fn outlive_full_files() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// The signals as they arrive, from when this exists.
///
/// Dropping it does not bring back the default actions: from the first on the process ignores
/// these signals unless a `Signals` listens.
#[derive(Debug)]
pub(crate) struct Signals(iterator::Signals);

impl Signals {
    /// Takes TERM, INT, HUP and USR1 over for the whole process.
    pub(crate) fn listen() -> io::Result<Self> {
        iterator::Signals::new(Signal::ALL.map(Signal::number)).map(Self)
    }

    /// What makes [`wait`](Self::wait) return `None`, from any thread.
    pub(crate) fn closer(&self) -> Closer {
        Closer(self.0.handle())
    }

    /// Blocks until the next signal; `None` once closed.
    ///
    /// Signals of one kind that arrive before this looks are one.
    pub(crate) fn wait(&mut self) -> Option<Signal> {
        let number = self.0.forever().next()?;
        Signal::ALL.into_iter().find(|signal| signal.number() == number)
    }
}

/// Ends the wait of a [`Signals`].
#[derive(Clone, Debug)]
pub(crate) struct Closer(Handle);

impl Closer {
    /// Makes the current wait and every later one return `None`.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;

    #[test]
    fn waits_for_each_signal_until_closed() {
        let mut signals = Signals::listen().unwrap();
        let closer = signals.closer();
        for signal in Signal::ALL {
            raise(signal.number()).unwrap();
            assert_eq!(signals.wait(), Some(signal));
        }
        for signal in Signal::ALL {
            raise(signal.number()).unwrap();
        }
        let mut together = Signal::ALL.map(|_| signals.wait().unwrap().number());
        together.sort_unstable();
        assert_eq!(together, [SIGHUP, SIGINT, SIGUSR1, SIGTERM]);
        let waiting = std::thread::spawn(move || (signals.wait(), signals.wait()));
        closer.close();
        assert_eq!(waiting.join().unwrap(), (None, None));
    }
}
