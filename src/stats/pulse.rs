//! Whether a worker's thread is alive, and at what, as other threads see it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// No route.
const NOWHERE: usize = usize::MAX;

/// The pulse of one life of a worker: its thread alone writes it.
///
/// It is no periodic beat: a worker that sleeps has none. It says since when the worker has been
/// busy without a look at its rings, which of a worker that works well is a moment ago.
///
/// It is written several times per request, and has its cache lines for itself, as by
/// [`Apart`](super::Apart).
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Pulse {
    epoch: Instant,
    /// Microseconds since `epoch`, from 1; 0 while it sleeps.
    busy_since: AtomicU64,
    /// An index of `routes`.
    route: AtomicUsize,
    routes: OnceLock<Vec<String>>,
}

impl Pulse {
    /// Of a life that has not begun: it counts as busy from now on.
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            busy_since: AtomicU64::new(1),
            route: AtomicUsize::new(NOWHERE),
            routes: OnceLock::new(),
        }
    }

    /// It works, as of `now`.
    pub(crate) fn busy(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.epoch).as_micros();
        let since = u64::try_from(micros).unwrap_or(u64::MAX - 1) + 1;
        self.busy_since.store(since, Ordering::Relaxed);
    }

    /// It sleeps.
    pub(crate) fn rest(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// What changes whenever the worker has moved; 0 while it sleeps.
    pub(crate) fn reading(&self) -> u64 {
        self.busy_since.load(Ordering::Relaxed)
    }

    /// How long it has been busy without a look at its rings; zero while it sleeps.
    pub(crate) fn busy_for(&self, now: Instant) -> Duration {
        match self.reading() {
            0 => Duration::ZERO,
            since => now.saturating_duration_since(self.epoch + Duration::from_micros(since - 1)),
        }
    }

    /// Names the routes, once, in the order of their numbers.
    pub(crate) fn name_routes(&self, patterns: Vec<String>) {
        // Said once in a life; a second time would be the same.
        let _same = self.routes.set(patterns);
    }

    /// Application code of this route runs from now on; `None`: no longer.
    pub(crate) fn enter(&self, route: Option<usize>) {
        self.route.store(route.unwrap_or(NOWHERE), Ordering::Relaxed);
    }

    /// The pattern of the route whose code runs.
    pub(crate) fn route(&self) -> Option<&str> {
        let routes = self.routes.get()?;
        routes.get(self.route.load(Ordering::Relaxed)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_last_look_at_the_rings_and_not_while_it_sleeps() {
        let pulse = Pulse::new();
        let now = Instant::now();
        pulse.busy(now);
        let reading = pulse.reading();
        assert_eq!(pulse.busy_for(now + Duration::from_secs(3)).as_secs(), 3);
        pulse.busy(now + Duration::from_secs(2));
        assert_ne!(pulse.reading(), reading);
        assert_eq!(pulse.busy_for(now + Duration::from_secs(3)).as_secs(), 1);
        pulse.rest();
        assert_eq!(pulse.busy_for(now + Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn names_the_route_whose_code_runs() {
        let pulse = Pulse::new();
        pulse.enter(Some(1));
        assert_eq!(pulse.route(), None);
        pulse.name_routes(vec!["/".to_owned(), "/users/:id".to_owned()]);
        assert_eq!(pulse.route(), Some("/users/:id"));
        pulse.enter(None);
        assert_eq!(pulse.route(), None);
    }
}
