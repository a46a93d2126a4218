//! Accepting connections, and refusing those beyond the limit.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::connection::{Open, converse};
use super::core::Core;
use super::linger::linger;
use crate::h1::{Refusal, encode_refusal};
use crate::net::{Listener, Output, Stream, Transport};
use crate::rt::{sleep, spawn_detached};

/// How long an accept that failed for want of something (descriptors, memory) is left alone.
const BACKOFF: Duration = Duration::from_millis(100);

/// Accepts until the listener is stopped.
pub(super) async fn accept(core: Rc<Core>, listener: Rc<Listener>) {
    loop {
        match listener.accept().await {
            Ok(Some(socket)) => match Stream::new(socket) {
                Ok(stream) => admit(&core, stream),
                Err(error) => tracing::warn!(%error, "cannot take a connection"),
            },
            Ok(None) => return,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                core.stats.accept_failures.increment();
                tracing::warn!(%error, "cannot accept; trying again in {BACKOFF:?}");
                sleep(BACKOFF).await;
            }
        }
    }
}

/// Whether it was only this connection that failed.
fn is_the_clients(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO | libc::EPERM))
}

fn admit(core: &Rc<Core>, stream: Stream) {
    core.stats.accepted.increment();
    if core.stats.connections.get() >= core.limits.connections as u64 {
        core.stats.overloaded.increment();
        return spawn_detached(turn_away(Rc::clone(core), stream));
    }
    let open = Open::new(Rc::clone(core));
    spawn_detached(converse(open, stream));
}

/// Answers 503, so that the client knows, and closes.
async fn turn_away(core: Rc<Core>, mut stream: Stream) {
    let mut output = Output::default();
    encode_refusal(&mut output.buffer, Refusal::OVERLOADED, &core.date());
    core.stats.statuses.count(Refusal::OVERLOADED.status.as_u16());
    core.stats.bytes_sent.add(output.buffer.len() as u64);
    let idle = core.waits.write_idle;
    if poll_fn(|cx| stream.poll_send(cx, &mut output, idle)).await.is_ok() {
        linger(core, stream).await;
    }
}
