//! Programs that run beside the clusters, as part of the same service. Who runs them is not known
//! here.

use std::sync::Arc;

use super::Exit;

/// What is said of them unasked.
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "a cluster alone has no companions"))]
pub(crate) enum Word {
    /// A line for the operator.
    Line(String),
    /// One has ended too often, and so.
    Errored(String),
    /// All have ended and are to stay so; the code that this comes to.
    AllEnded(u8),
    /// None is looked after any more.
    Over,
}

/// Takes it, on any thread.
pub(crate) type Listener = Arc<dyn Fn(Word) + Send + Sync>;

/// Does something with all of them, on any thread.
pub(crate) type Order = Box<dyn Fn() + Send>;

/// What a change of them has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// So many are others.
    pub changed: usize,
    /// So many are new.
    pub started: usize,
    /// So many are what they were.
    pub kept: usize,
}

/// Programs that run beside the clusters.
pub(crate) trait Companions {
    /// Starts them, and returns when all are ready.
    ///
    /// # Errors
    /// One of them is not; how the service is to end then. Others may run.
    fn start(&mut self, told: Listener) -> Result<(), Exit>;

    /// Tells them to end in order, be it before they have started.
    fn ender(&self) -> Order;

    /// Ends them at once.
    fn aborter(&self) -> Order;

    /// How many there are.
    fn count(&self) -> usize;

    /// Whether somebody looks after them, and will say when not any more.
    fn are_attended(&self) -> bool;

    /// Whether they can become what the configuration has said last, as far as that can be known
    /// before.
    fn may_change(&mut self) -> Result<(), String>;

    /// Makes them so, but for those that are to be no more. After an error they are as before.
    fn change(&mut self) -> Result<Change, String>;

    /// Tells those to end that are to be no more; how many.
    fn dismiss(&mut self) -> usize;

    /// Ends them in order, and returns when they have.
    fn end(self: Box<Self>);
}
