//! The files that a core keeps.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;

use quick_cache::unsync::Cache;
use quick_cache::{Equivalent, Weighter};
use rustix::time::{ClockId, clock_gettime};

use super::Codings;
use super::entry::Entry;

/// A file that is kept is looked at again when it was last looked at so long ago, in milliseconds:
/// with the coarse clock, a change shows within a second.
pub(super) const CHECKED_EVERY: u64 = 950;
/// How much a core keeps of the files of one directory, in bytes.
const KEPT_MAX: u64 = 32 * 1024 * 1024;
/// How many files that may be, roughly.
const FILES: usize = 1024;

/// The time since some moment, in milliseconds, to a few of them.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1000 + nanoseconds / 1_000_000
}

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    path: Box<[u8]>,
    pub codings: Codings,
}

impl Key {
    pub(super) fn new(path: &[u8], codings: Codings) -> Self {
        Self { path: path.into(), codings }
    }
}

/// A [`Key`], borrowed.
#[derive(Hash)]
struct Lookup<'a> {
    path: &'a [u8],
    codings: Codings,
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.path == *key.path && self.codings == key.codings
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Key, Rc<Entry>> for Weight {
    fn weight(&self, key: &Key, entry: &Rc<Entry>) -> u64 {
        key.path.len() as u64 + entry.weight().unwrap_or_default()
    }
}

/// See the [module](self). What is asked for least goes when there is too much.
pub(super) struct Shelf(RefCell<Cache<Key, Rc<Entry>, Weight>>);

impl Default for Shelf {
    fn default() -> Self {
        Self(RefCell::new(Cache::with_weighter(FILES, KEPT_MAX, Weight)))
    }
}

impl Shelf {
    /// What was looked at within the last second.
    pub(super) fn fresh(&self, path: &[u8], codings: Codings, now: u64) -> Option<Rc<Entry>> {
        let cache = self.0.borrow();
        let entry = cache.get(&Lookup { path, codings })?;
        let age = now.saturating_sub(entry.checked.get());
        (age < CHECKED_EVERY).then(|| Rc::clone(entry))
    }

    /// What was looked at some time ago.
    pub(super) fn stale(&self, key: &Key) -> Option<Rc<Entry>> {
        self.0.borrow().peek(key).map(Rc::clone)
    }

    pub(super) fn put(&self, key: Key, entry: Rc<Entry>) {
        self.0.borrow_mut().insert(key, entry);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.0.borrow_mut().remove(key);
    }

    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}
