//! What is asked for: whether, how soon and how often to restart.

use std::time::Duration;

/// Whether, how soon and how often what has ended is restarted.
///
/// The first three restarts are immediate. The next waits for `backoff`, each one after it twice
/// as long, up to `backoff_max`; up to a fifth is added to each wait by chance, so that what fell
/// together does not rise together. 30 s of health begin the series anew. With the defaults, what
/// ends as soon as it starts is given up after 16 restarts and some 21 s.
///
/// ```
/// use std::time::Duration;
/// use corelane::Restart;
///
/// let mut restart = Restart::default();
/// restart.max_restarts = 3;
/// restart.within = Duration::from_secs(10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restart {
    /// After which ends.
    pub policy: When,
    /// How long the fourth restart in a row waits; each one after it waits twice as long.
    pub backoff: Duration,
    /// The longest wait, but for the fifth that chance may add.
    pub backoff_max: Duration,
    /// How many restarts there may be within `within`: where another would be needed, it is given
    /// up. With [`u32::MAX`] it never is.
    pub max_restarts: u32,
    /// The time, up to now, in which restarts are counted.
    pub within: Duration,
    /// How many of a cluster's threads may be stuck at once, in handlers that do not yield. One
    /// more ends the cluster.
    pub stalled_max: u32,
}

/// After which ends there is a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// After each.
    #[default]
    Always,
    /// After failures: a panic, a signal, an exit code other than 0.
    OnFailure,
    /// After none.
    Never,
}

impl Restart {
    /// Restarts at once, after whatever end and however often.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            backoff: Duration::ZERO,
            backoff_max: Duration::ZERO,
            max_restarts: u32::MAX,
            ..Self::default()
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: When::Always,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            max_restarts: 16,
            within: Duration::from_secs(60),
            stalled_max: 2,
        }
    }
}
