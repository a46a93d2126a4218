//! Sleeping.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Driver;

/// What a sleep beyond the end of the clock lasts.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The sleepers of one core, by the time to wake them.
#[derive(Default)]
pub(super) struct Timers {
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
}

impl Timers {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.sleepers.first_key_value().map(|((due, _), _)| *due)
    }

    /// Moves the wakers of all that are due into `woken`; returns how many.
    pub(super) fn expire(&mut self, now: Instant, woken: &mut Vec<Waker>) -> usize {
        let before = woken.len();
        while self.next().is_some_and(|due| due <= now) {
            woken.extend(self.sleepers.pop_first().map(|(_, waker)| waker));
        }
        woken.len() - before
    }
}

/// Waits for `duration`, or up to some two milliseconds longer. Other tasks of the core go on.
///
/// ```no_run
/// # async fn example() {
/// use std::time::Duration;
///
/// corelane::sleep(Duration::from_millis(50)).await;
/// # }
/// ```
///
/// # Panics
/// When polled outside a corelane executor.
pub fn sleep(duration: Duration) -> Sleep {
    let now = Instant::now();
    Sleep { due: now.checked_add(duration).unwrap_or(now + FOR_EVER), armed: None }
}

/// The future of [`sleep`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    due: Instant,
    armed: Option<(Rc<Driver>, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.due {
            return Poll::Ready(());
        }
        let due = self.due;
        let (driver, id) = self.armed.get_or_insert_with(|| {
            let driver = Driver::current();
            let id = driver.with(|core| core.timers.id());
            (driver, id)
        });
        let waker = cx.waker().clone();
        let id = *id;
        driver.with(|core| core.timers.sleepers.insert((due, id), waker));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((driver, id)) = &self.armed {
            // The waker is dropped after the tables have been let go of.
            let _waker = driver.with(|core| core.timers.sleepers.remove(&(self.due, *id)));
        }
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep({:?})", self.due.saturating_duration_since(Instant::now()))
    }
}

/// Sleeps on glommio's own timer, which must work beside ours.
#[cfg(test)]
pub(crate) async fn glommio_sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}
