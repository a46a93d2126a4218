//! What belongs to the application and may panic when it is dropped.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Owns a value and survives its destructor: where the server drops it, nobody else's connection
/// must suffer from it.
pub(crate) struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    /// Takes care of `value`.
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value.
    pub(crate) fn get(&self) -> &T {
        self.0.as_ref().expect("invariant: taken out by who consumes it only")
    }

    /// The value.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("invariant: taken out by who consumes it only")
    }

    /// The value, no longer taken care of.
    pub(crate) fn into_inner(mut self) -> T {
        self.0.take().expect("invariant: taken out here only")
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            tracing::error!(panic = message(&*payload), "a panic in a destructor of the app's");
            discard(payload);
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&'static str>().copied()).unwrap_or("(no message)")
}

/// Drops what a panic was caught with, which may panic again (`std::panic::panic_any`).
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }

    struct Thrower;

    impl Drop for Thrower {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }

    #[test]
    fn survives_a_panicking_destructor() {
        drop(Contained::new(Bomb));
    }

    #[test]
    fn survives_a_panicking_destructor_while_unwinding() {
        let outcome = catch_unwind(|| {
            let _bomb = Contained::new(Bomb);
            panic!("first");
        });
        assert_eq!(message(&*outcome.unwrap_err()), "first");
    }

    #[test]
    fn survives_a_payload_that_panics() {
        drop(Contained::new(Thrower));
        let thrown = catch_unwind(|| std::panic::panic_any(Bomb)).unwrap_err();
        discard(thrown);
    }
}
