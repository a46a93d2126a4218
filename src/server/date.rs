//! The value of `Date`, made once per second.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

/// The length of an IMF-fixdate.
pub(super) const DATE_LEN: usize = 29;

/// The date as of this second.
pub(super) struct Date {
    text: Cell<[u8; DATE_LEN]>,
    stale_at: Cell<Option<Instant>>,
}

impl Date {
    /// Not yet made.
    pub(super) fn new() -> Self {
        Self { text: Cell::new([b' '; DATE_LEN]), stale_at: Cell::new(None) }
    }

    /// The date; `now` is the core's clock.
    pub(super) fn at(&self, now: Instant) -> [u8; DATE_LEN] {
        if self.stale_at.get().is_none_or(|stale_at| now >= stale_at) {
            self.remake(now, SystemTime::now());
        }
        self.text.get()
    }

    fn remake(&self, now: Instant, wall: SystemTime) {
        let since_epoch = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let into_second = Duration::from_nanos(since_epoch.subsec_nanos().into());
        self.stale_at.set(Some(now + Duration::from_secs(1).saturating_sub(into_second)));
        let text = httpdate::fmt_http_date(wall);
        if let Ok(text) = <[u8; DATE_LEN]>::try_from(text.as_bytes()) {
            self.text.set(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_remade_when_the_second_changes() {
        let date = Date::new();
        let now = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_400);
        date.remake(now, wall);
        assert_eq!(&date.text.get(), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.stale_at.get(), Some(now + Duration::from_millis(600)));
        assert_eq!(date.at(now + Duration::from_millis(599)), date.text.get());
        let later = date.at(now + Duration::from_millis(600));
        assert_ne!(&later, b"Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
