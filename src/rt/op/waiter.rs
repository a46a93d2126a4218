//! Who waits for an operation.

use std::task::{Context, Waker};

/// Has the task of `cx` woken next. Whoever was to be woken goes to `stale`: its destructor may
/// come back to the driver.
pub(super) fn wait(waiter: &mut Option<Waker>, cx: &Context<'_>, stale: &mut Vec<Waker>) {
    if !waiter.as_ref().is_some_and(|waiter| waiter.will_wake(cx.waker())) {
        stale.extend(waiter.replace(cx.waker().clone()));
    }
}
