//! What is done once per life of a worker.

use std::cell::RefCell;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_lite::FutureExt;

use crate::rt::Fault;

/// Done once, before the first request or behind the last.
type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), String>>>>>;

/// What a hook comes to: `()`, or a `Result` of it with an error that can be shown.
#[diagnostic::on_unimplemented(
    message = "a hook cannot end with `{Self}`",
    note = "it ends with `()`, or with a `Result<(), E>` where `E` implements `Display`"
)]
pub trait HookResult {
    /// What it came to.
    ///
    /// # Errors
    /// What went wrong, if something did.
    fn into_result(self) -> Result<(), String>;
}

impl HookResult for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> HookResult for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// The hooks of one kind, in the order in which they were added.
#[derive(Default)]
pub(super) struct Hooks(RefCell<Vec<Hook>>);

impl Hooks {
    pub(super) fn add<F, R>(&self, hook: F)
    where
        F: AsyncFnOnce() -> R + 'static,
        R: HookResult,
    {
        self.0.borrow_mut().push(Box::new(move || Box::pin(async { hook().await.into_result() })));
    }

    /// Adds those of a mounted app.
    pub(super) fn merge(&self, other: &Self) {
        self.0.borrow_mut().append(&mut other.0.borrow_mut());
    }

    /// Does each of them, whatever becomes of the others. What went wrong is told together.
    pub(super) async fn run_all(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        for hook in self.0.take() {
            match AssertUnwindSafe(async { hook().await }).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => problems.push(problem),
                Err(payload) => {
                    let problem = Fault::from_payload(&*payload).message;
                    problems.push(format!("a panic: {problem}"));
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    /// Does each of them, until one fails.
    pub(super) async fn run(&self) -> Result<(), String> {
        for hook in self.0.take() {
            hook().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_hook_that_fails_keeps_none_from_the_end() {
        let (hooks, done) = (Hooks::default(), Rc::new(Cell::new(0)));
        hooks.add(async || Err::<(), _>("no room"));
        hooks.add(async || -> () { panic!("as asked") });
        let last = Rc::clone(&done);
        hooks.add(async move || last.set(1));
        let problem = futures_lite::future::block_on(hooks.run_all()).unwrap_err();
        assert_eq!(problem, "no room; a panic: as asked");
        assert_eq!(done.get(), 1);
    }
}
