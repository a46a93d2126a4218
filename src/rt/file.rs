//! Files, read through the core's ring.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, ready};

use super::Driver;
use super::op::ReadKey;

/// An open file that is read without blocking the core.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let file = corelane::File::from(std::fs::File::open("/etc/hosts")?);
/// let start = file.read_at(vec![0; 512], 0).await?;
/// # drop(start); Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct File(Rc<OwnedFd>);

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self(Rc::new(file.into()))
    }
}

impl File {
    /// Reads up to `buffer.len()` bytes at `offset`. What comes back holds exactly the bytes read:
    /// fewer than asked for near the end of the file, none at it.
    ///
    /// # Errors
    /// As `pread(2)`; or the executor has ended. The buffer is then gone.
    ///
    /// # Panics
    /// Outside a corelane executor.
    pub async fn read_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<Vec<u8>> {
        let driver = Driver::current();
        let key = driver.with(|core| core.read(Rc::clone(&self.0), buffer, offset))?;
        let mut pending = PendingRead { driver, key: Some(key) };
        poll_fn(|cx| {
            let Some(key) = pending.key else { unreachable!("invariant: polled until ready") };
            let outcome = ready!(pending.driver.with(|core| core.poll_read(key, cx)));
            pending.key = None;
            Poll::Ready(outcome)
        })
        .await
    }
}

/// Cancels a read whose future is dropped.
struct PendingRead {
    driver: Rc<Driver>,
    key: Option<ReadKey>,
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.driver.with(|core| core.forget_read(key));
        }
    }
}
