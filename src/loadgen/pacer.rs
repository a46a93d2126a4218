//! Sends the requests of an open loop when they are due.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::yield_now;

use super::schedule::{Nanos, nanos};
use super::thread::Thread;
use crate::rt::sleep;

/// A timer of the ring is not exact to a fraction of a millisecond; from so long before a request
/// is due the thread does not sleep.
const SPIN: Duration = Duration::from_millis(2);
/// A longer while between two looks, in which nothing happened, was not spent by this thread.
const LOOK_MAX: Duration = Duration::from_micros(100);

/// Hands requests out until there will be no more.
pub(super) async fn pace(thread: Rc<Thread>) {
    let mut look = (thread.now(), thread.activity.get());
    loop {
        thread.dispatch();
        let Some(due) = thread.schedule.borrow().next_due() else { return };
        let now = thread.now();
        note_idle(&thread, &mut look, now);
        if due > now + nanos(SPIN) {
            sleep(Duration::from_nanos(due - now - nanos(SPIN))).await;
            look = (thread.now(), thread.activity.get());
        } else {
            // The other tasks run, and the ring turns.
            yield_now().await;
        }
    }
}

/// What passes between two looks without anything to do is no work of the generator's.
fn note_idle(thread: &Thread, look: &mut (Nanos, u64), now: Nanos) {
    let activity = thread.activity.get();
    let passed = Duration::from_nanos(now - look.0);
    if activity == look.1 && passed < LOOK_MAX {
        thread.tally.borrow_mut().idle += passed;
    }
    *look = (now, activity);
}
