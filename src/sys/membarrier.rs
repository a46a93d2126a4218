//! The expedited membarrier that glommio uses whenever an executor parks.

use std::io;

use rustix::thread::{MembarrierCommand, membarrier};

/// Registers this process for expedited barriers.
///
/// Registering waits for every CPU that runs a thread of the process, some 20 ms once there are
/// several. Left alone, the first park of an executor pays for it; called before the first thread
/// exists it is free. An error only means that the first park is slow.
pub(crate) fn register() -> io::Result<()> {
    Ok(membarrier(MembarrierCommand::RegisterPrivateExpedited)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expedited_barrier_works_once_registered() {
        register().unwrap();
        membarrier(MembarrierCommand::PrivateExpedited).unwrap();
    }
}
