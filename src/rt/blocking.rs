//! Work that blocks, on the core's helper thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fault::Fault;

/// Why blocking work has no result: it panicked.
#[derive(Debug, thiserror::Error)]
#[error("blocking work panicked: {0}")]
pub struct BlockingError(String);

/// Runs `work` on the helper thread of this core, while the core goes on serving.
///
/// The helper shares the worker's CPU: it is for waiting (a database, a slow device), not for
/// computing. Work that panics yields an error; nothing hangs.
///
/// ```no_run
/// # async fn example() -> Result<(), corelane::BlockingError> {
/// let hosts = corelane::spawn_blocking(|| std::fs::read_to_string("/etc/hosts")).await?;
/// # drop(hosts); Ok(())
/// # }
/// ```
///
/// # Errors
/// `work` panicked.
///
/// # Panics
/// Outside a corelane executor.
pub async fn spawn_blocking<T, F>(work: F) -> Result<T, BlockingError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    // glommio's pool thread would die of a panic and leave its caller waiting for ever.
    let caught = move || catch_unwind(AssertUnwindSafe(work));
    let outcome = glommio::executor().spawn_blocking(caught).await;
    outcome.map_err(|payload| BlockingError(Fault::from_payload(&*payload).message))
}
