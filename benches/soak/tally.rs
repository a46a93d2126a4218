//! What the clients have seen.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Kind;
use crate::question::Miss;

/// How long a panic explains that connections end.
const EXPLAINS: Duration = Duration::from_secs(1);
/// How many of the things that went wrong are described.
const NOTES_MAX: usize = 10;

/// Counts of one kind of client.
#[derive(Default)]
pub(crate) struct Counts {
    /// Answers as they must be; of those who want none, how often they came and went.
    pub(crate) right: AtomicU64,
    pub(crate) wrong: AtomicU64,
    /// Connections that a panic ended before an answer was whole.
    pub(crate) ended: AtomicU64,
    pub(crate) hung: AtomicU64,
}

/// Counts of all kinds.
pub(crate) struct Tally {
    counts: Vec<Counts>,
    panicked: Mutex<Option<Instant>>,
    notes: Mutex<Vec<String>>,
}

impl Tally {
    /// One that has seen nothing, for so many kinds and one more: those who have it panic.
    pub(crate) fn new(kinds: usize) -> Tally {
        let counts = (0..=kinds).map(|_| Counts::default()).collect();
        Tally { counts, panicked: Mutex::default(), notes: Mutex::default() }
    }

    /// The counts of a kind.
    pub(crate) fn of(&self, kind: Kind) -> &Counts {
        &self.counts[kind as usize]
    }

    /// An executor is about to panic, or may just have.
    pub(crate) fn panics(&self) {
        *self.panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// So many answers were right.
    pub(crate) fn right(&self, kind: Kind) {
        self.of(kind).right.fetch_add(1, Ordering::Relaxed);
    }

    /// An exchange failed.
    pub(crate) fn miss(&self, kind: Kind, miss: Miss) {
        let counts = self.of(kind);
        let (count, what) = match miss {
            Miss::Early if self.is_explained() => (&counts.ended, None),
            Miss::Early => (&counts.wrong, Some("closed early, and nobody panicked".to_owned())),
            Miss::Hung => (&counts.hung, Some("hung".to_owned())),
            Miss::Wrong(what) => (&counts.wrong, Some(what)),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(what) = what
            && notes.len() < NOTES_MAX
        {
            notes.push(format!("{}: {what}", kind.name()));
        }
    }

    fn is_explained(&self) -> bool {
        let panicked = *self.panicked.lock().unwrap_or_else(PoisonError::into_inner);
        panicked.is_some_and(|panicked| panicked.elapsed() < EXPLAINS)
    }

    /// What went wrong, the first few times.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A figure, over all kinds.
    pub(crate) fn total(&self, figure: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.counts.iter().map(|counts| figure(counts).load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = self.total(|counts| &counts.right);
        let wrong = self.total(|counts| &counts.wrong);
        let (ended, hung) = (self.total(|counts| &counts.ended), self.total(|counts| &counts.hung));
        write!(f, "{right} right, {wrong} wrong, {hung} hung, {ended} ended early")
    }
}
