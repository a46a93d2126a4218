//! Accepting connections, and refusing those beyond the limit.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use super::Balance;
use super::connection::{Open, converse};
use super::core::Core;
use super::linger::linger;
use super::sibling::Handed;
use crate::h1::{Refusal, encode_refusal};
use crate::net::{Listener, Output, Stream, Transport};
use crate::rt::{sleep, spawn_detached};

/// How long an accept that failed for want of something (descriptors, memory) is left alone.
const BACKOFF: Duration = Duration::from_millis(100);

/// How many connections that wait in a queue at the end are still served: as many as fit.
const QUEUED_MAX: u32 = 4096;

/// Accepts until the listener is stopped.
pub(super) async fn accept(core: Rc<Core>, listener: Rc<Listener>) {
    loop {
        match listener.accept().await {
            Ok(Some(socket)) => welcome(&core, socket),
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

/// Serves those that came before the end: nobody else will.
pub(super) fn welcome_queued(core: &Rc<Core>, listener: &Listener) {
    for _ in 0..QUEUED_MAX {
        match listener.accept_queued() {
            Ok(Some(socket)) => welcome(core, socket),
            Ok(None) => return,
            Err(error) if is_the_clients(&error) => {}
            Err(error) => return tracing::warn!(%error, "connections in the queue are lost"),
        }
    }
}

/// A connection has come: it is served here, unless a sibling has fewer.
fn welcome(core: &Rc<Core>, socket: OwnedFd) {
    core.stats.accepted.increment();
    let mut handed = Handed { socket, fresh: true };
    // With this one it would hold at least two more than a sibling that has at most so many.
    if core.balance == Balance::Least
        && let Some(most) = core.stats.connections.get().checked_sub(1)
    {
        match core.pass_on(handed, most) {
            Ok(()) => return core.stats.handed_off.increment(),
            Err(kept) => handed = kept,
        }
    }
    core.stats.connections.increment();
    admit(core, handed);
}

/// Serves a connection that is counted already.
pub(super) fn admit(core: &Rc<Core>, handed: Handed) {
    let Handed { socket, fresh } = handed;
    let open = Open::counted(Rc::clone(core));
    let Ok(stream) = Stream::new(socket) else { return };
    if core.stats.connections.get() > core.limits.connections as u64 {
        drop(open);
        core.stats.overloaded.increment();
        return spawn_detached(turn_away(Rc::clone(core), stream));
    }
    spawn_detached(converse(open, stream, fresh));
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
