//! What a task panicked with, and where.
//!
//! A caught panic says what, and not where: only the panic hook is told. So the first executor of
//! the process installs one, once, and it is the only thing here that is the whole process's. It
//! does what the hook before it did, and on threads of executors notes the place.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static LAST: Cell<Option<Fault>> = const { Cell::new(None) };
}

static INSTALLED: Once = Once::new();

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it said.
    pub message: String,
    /// Where it was, as `src/main.rs:10`; not known of other threads than executors'.
    pub location: Option<String>,
}

impl Fault {
    /// From what a panic was caught with, on the thread that panicked.
    pub(crate) fn from_payload(payload: &(dyn Any + Send)) -> Self {
        // Caught before, and thrown on.
        if let Some(fault) = payload.downcast_ref::<Self>() {
            return fault.clone();
        }
        let message = message(payload).to_owned();
        // What was noted may be of an earlier panic, if this one did not begin here.
        match LAST.try_with(Cell::take) {
            Ok(Some(noted)) if noted.message == message => noted,
            _ => Self { message, location: None },
        }
    }

    /// Notes, from now on, where this thread panics.
    pub(super) fn watch_thread() {
        // A thread that is panicking may not change the hook.
        if !std::thread::panicking() {
            INSTALLED.call_once(install);
        }
        WATCHED.set(true);
    }

    fn note(info: &PanicHookInfo<'_>) {
        // Both fail on a thread that is about to end.
        if !WATCHED.try_with(Cell::get).unwrap_or(false) {
            return;
        }
        let location = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        let fault = Self { message: message(info.payload()).to_owned(), location };
        let _late = LAST.try_with(|last| last.set(Some(fault)));
    }
}

fn install() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        Fault::note(info);
        before(info);
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "panic at {location}: {}", self.message),
            None => write!(f, "panic: {}", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    fn caught(panics: impl FnOnce()) -> Fault {
        let payload = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        Fault::from_payload(&*payload)
    }

    #[test]
    fn says_where_a_panic_was() {
        Fault::watch_thread();
        let (fault, line) = (caught(|| panic!("on {}", "purpose")), line!());
        assert_eq!(fault.message, "on purpose");
        assert_eq!(fault.location, Some(format!("{}:{line}", file!())));
        assert_eq!(fault.to_string(), format!("panic at {}:{line}: on purpose", file!()));
    }

    #[test]
    fn does_not_name_the_place_of_another_panic() {
        Fault::watch_thread();
        drop(catch_unwind(|| panic!("an earlier one")));
        let fault = caught(|| resume_unwind(Box::new("from elsewhere")));
        assert_eq!(fault.to_string(), "panic: from elsewhere");
    }

    #[test]
    fn remembers_the_place_of_one_that_is_thrown_on() {
        Fault::watch_thread();
        let fault = caught(|| panic!("on purpose"));
        assert_eq!(caught(|| resume_unwind(Box::new(fault.clone()))), fault);
    }

    #[test]
    fn leaves_other_threads_alone() {
        Fault::watch_thread();
        let fault = std::thread::spawn(|| caught(|| panic!("on purpose"))).join().unwrap();
        assert_eq!(fault, Fault { message: "on purpose".to_owned(), location: None });
    }
}
