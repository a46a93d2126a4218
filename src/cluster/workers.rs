//! Messages between the workers of a cluster.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::server::{Sibling, siblings};

/// Sends to whoever watches the cluster.
type Reporter = Rc<dyn Fn(Arc<dyn Any + Send + Sync>)>;

thread_local! {
    static CURRENT: RefCell<Option<(usize, Reporter)>> = const { RefCell::new(None) };
}

/// Makes the calling thread that of a worker.
pub(super) fn enter(worker: usize, report: impl Fn(Arc<dyn Any + Send + Sync>) + 'static) {
    CURRENT.set(Some((worker, Rc::new(report))));
}

/// The workers of the cluster, seen from one of them: to tell the others something.
///
/// A message is of any type. Whoever receives messages of that type has said so with
/// [`App::on_message`](crate::App::on_message).
///
/// ```
/// use corelane::{App, Workers};
///
/// #[derive(Clone)]
/// struct Invalidate(String);
///
/// fn app() -> App {
///     App::new()
///         .on_message(|Invalidate(key)| println!("forget {key}"))
///         .post("/invalidate/:key", async |corelane::Path(key): corelane::Path<String>| {
///             let told = Workers::current().broadcast(&Invalidate(key));
///             format!("told {told} workers")
///         })
/// }
/// # let _ = app();
/// ```
#[derive(Clone)]
pub struct Workers {
    worker: usize,
    report: Reporter,
    siblings: Arc<[Sibling]>,
}

/// Why a message was not sent. It comes back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// There is no such worker, or it is just being restarted.
    #[error("no such worker serves")]
    Absent(M),
    /// The worker has not read the messages that it has.
    #[error("the worker's mailbox is full")]
    Full(M),
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent(_) => "Absent",
            Self::Full(_) => "Full",
        })
    }
}

impl Workers {
    /// The workers that serve now, this one among them.
    ///
    /// # Panics
    /// Outside a worker.
    #[must_use]
    pub fn current() -> Self {
        Self::try_current().expect("this needs a worker: call it in a handler or a task of one")
    }

    /// As [`current`](Self::current), but `None` outside a worker.
    #[must_use]
    pub fn try_current() -> Option<Self> {
        let (worker, report) = CURRENT.with_borrow(Clone::clone)?;
        Some(Self { worker, report, siblings: siblings() })
    }

    /// The number of this worker.
    #[must_use]
    pub fn own(&self) -> usize {
        self.worker
    }

    /// How many serve.
    #[must_use]
    pub fn count(&self) -> usize {
        self.siblings.len()
    }

    /// Leaves a message for one worker. It may be this one.
    ///
    /// # Errors
    /// The worker does not serve, or has too much to read.
    pub fn send<M: Any + Send>(&self, worker: usize, message: M) -> Result<(), SendError<M>> {
        match self.siblings.iter().find(|sibling| sibling.worker == worker) {
            Some(sibling) => post(sibling, message),
            None => Err(SendError::Absent(message)),
        }
    }

    /// Leaves a copy for every other worker. Returns how many could take it.
    pub fn broadcast<M: Any + Send + Clone>(&self, message: &M) -> usize {
        let others = self.siblings.iter().filter(|sibling| sibling.worker != self.worker);
        others.filter(|sibling| post(sibling, message.clone()).is_ok()).count()
    }

    /// Tells whoever watches the cluster: [`Event::Message`](crate::Event::Message).
    pub fn report<M: Any + Send + Sync>(&self, message: M) {
        (self.report)(Arc::new(message));
    }
}

/// Leaves a message for a worker.
pub(super) fn post<M: Any + Send>(sibling: &Sibling, message: M) -> Result<(), SendError<M>> {
    let Err(message) = sibling.post.send(Box::new(message)) else { return Ok(()) };
    let message = *message.downcast().expect("invariant: it is what was sent");
    let full = !sibling.post.is_closed();
    Err(if full { SendError::Full(message) } else { SendError::Absent(message) })
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("own", &self.worker).finish_non_exhaustive()
    }
}
