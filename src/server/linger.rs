//! Closing so that the client reads the answer.
//!
//! A socket that is closed with unread bytes answers with a reset, which may destroy, in the
//! client's own buffers, the answer that it has not read yet. So after an answer behind which more
//! may come, the sending side is shut down and what arrives is discarded for a while.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use super::core::Core;
use crate::net::{Stream, Transport};

/// How long.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(2);
/// How much, in bytes.
const DISCARD_MAX: usize = 64 * 1024;
/// How many connections of a core at once; beyond, they are just closed.
pub(super) const LINGERING_MAX: usize = if cfg!(test) { 8 } else { 1024 };

/// Closes the stream, lingering.
pub(super) async fn linger(core: Rc<Core>, mut stream: Stream) {
    if core.lingering.get() >= LINGERING_MAX || stream.shutdown().is_err() {
        return;
    }
    let _count = Count::new(Rc::clone(&core));
    stream.arm(core.waits.linger);
    let mut discarded = 0;
    while discarded < DISCARD_MAX {
        let mut input = Vec::new();
        match poll_fn(|cx| stream.poll_receive(cx, &mut input)).await {
            Ok(0) | Err(_) => return,
            Ok(received) => {
                core.stats.bytes_received.add(received as u64);
                discarded += received;
            }
        }
        core.driver.with(|driver| driver.recycle(input));
    }
}

struct Count(Rc<Core>);

impl Count {
    fn new(core: Rc<Core>) -> Self {
        core.lingering.set(core.lingering.get() + 1);
        Self(core)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.lingering.set(self.0.lingering.get() - 1);
    }
}
