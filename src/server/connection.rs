//! One connection: the small task that waits for its client.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::core::Core;
use super::exchange::{Exchange, Job, Outcome};
use super::linger::linger;
use super::peer::CompactPeer;
use super::sibling::Handed;
use super::tap::Tap;
use crate::message::{Contained, Handover, Upgraded};
use crate::net::{Stream, Transport};
use crate::rt::sleep;

/// How often a sibling is looked for that takes an idle connection, and how long between.
const HAND_ON_TRIES: u32 = 40;
const HAND_ON_PAUSE: Duration = Duration::from_millis(5);

/// An open connection, counted as long as this lives.
pub(super) struct Open {
    core: Rc<Core>,
}

impl Open {
    /// One that has been counted already.
    pub(super) fn counted(core: Rc<Core>) -> Self {
        Self { core }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.core.stats.connections.decrement();
    }
}

/// Serves a connection from accept to close. Between requests it holds nothing but this future,
/// which is kept small: what only some connections come to is boxed when they do.
pub(super) async fn converse(open: Open, mut stream: Stream, mut fresh: bool) {
    let core = &open.core;
    let Ok(peer) = CompactPeer::of(&stream) else { return };
    stream.arm(if fresh { core.waits.header } else { core.waits.keep_alive });
    let mut stays = false;
    let last = loop {
        let timed_out = match wait(core, &mut stream, stays).await {
            Ok(Call::Client) => false,
            Ok(Call::Farewell) => match Box::pin(hand_on(core, stream, fresh)).await {
                Some(kept) => {
                    stream = kept;
                    stays = true;
                    continue;
                }
                None => return,
            },
            Err(error) if refuses_late(core, fresh, &error) => true,
            // Its last answer may still be on its way.
            Err(_) => return poll_fn(|cx| stream.poll_sent_off(cx)).await,
        };
        let mut exchange = core.take_exchange();
        exchange.start(job(core, stream, &peer, fresh, timed_out));
        poll_fn(|cx| exchange.poll(cx)).await;
        match finish(core, exchange) {
            Ok(idle) => stream = idle,
            Err(None) => return,
            Err(Some(last)) => break last,
        }
        fresh = false;
        stream.arm(core.waits.keep_alive);
    };
    last.await;
}

fn job(core: &Rc<Core>, stream: Stream, peer: &CompactPeer, fresh: bool, timed_out: bool) -> Job {
    Job { core: Rc::clone(core), stream, peer: peer.into(), fresh, timed_out }
}

/// What the last of a connection takes.
type Last = Pin<Box<dyn Future<Output = ()>>>;

/// The connection, if it waits for its next request; else what is left to do.
fn finish(core: &Rc<Core>, exchange: Exchange) -> Result<Stream, Option<Last>> {
    let outcome = exchange.outcome();
    core.keep_exchange(exchange);
    match outcome {
        Outcome::Idle(stream) => Ok(stream),
        Outcome::Closed => Err(None),
        Outcome::Linger(stream) => Err(Some(Box::pin(linger(Rc::clone(core), stream)))),
        Outcome::HandOver(stream, handover, leftover, route) => {
            let core = Rc::clone(core);
            Err(Some(Box::pin(hand_over(core, stream, handover, leftover, route))))
        }
    }
}

/// What ends the wait of an idle connection.
enum Call {
    /// The client: bytes, or the end.
    Client,
    /// The worker retires, and a sibling may take the connection.
    Farewell,
}

/// Waits for the client's next bytes. When the worker begins to leave, the wait is cut short, or
/// ends at once if the connection need not stay.
async fn wait(core: &Core, stream: &mut Stream, stays: bool) -> io::Result<Call> {
    let mut leaving = false;
    poll_fn(|cx| {
        if core.draining() && !leaving {
            leaving = true;
            stream.arm(core.waits.idle_grace);
        }
        match stream.poll_readable(cx) {
            Poll::Pending if !stays && core.hands_on() => Poll::Ready(Ok(Call::Farewell)),
            polled => polled.map_ok(|()| Call::Client),
        }
    })
    .await
}

/// Gives an idle connection to a sibling. It comes back if its client has called meanwhile, or if
/// no sibling takes it.
async fn hand_on(core: &Core, stream: Stream, fresh: bool) -> Option<Stream> {
    let socket = match stream.release().await {
        Ok(socket) => socket,
        Err(stream) => return Some(stream),
    };
    let mut handed = Handed { socket, fresh };
    // Nobody is given more than he may hold: there he would be turned away.
    let most = (core.limits.connections as u64).saturating_sub(1);
    // All who are idle go at once: a door may be full for a moment, or a sibling busy.
    for _ in 0..HAND_ON_TRIES {
        match core.pass_on(handed, most) {
            Ok(()) => return None,
            Err(kept) => handed = kept,
        }
        sleep(HAND_ON_PAUSE).await;
    }
    Stream::new(handed.socket).ok()
}

/// Whether the wait has failed because the first head did not come in time. While the worker
/// drains, the client has not been given that time, and is not to blame.
fn refuses_late(core: &Core, fresh: bool, error: &io::Error) -> bool {
    fresh && error.kind() == io::ErrorKind::TimedOut && !core.draining()
}

/// Gives the connection to the future that an upgrading answer came with.
async fn hand_over(
    core: Rc<Core>,
    stream: Stream,
    handover: Handover,
    leftover: Bytes,
    route: Option<usize>,
) {
    let io = Tap::new(stream.into_io(core.waits.write_idle), Arc::clone(&core.stats));
    let then = core.call_app(|| {
        core.pulse.enter(route);
        handover.start(Upgraded::new(io), leftover)
    });
    let mut then = match then {
        Ok(then) => Contained::new(then),
        Err(payload) => return core.note_panic(route, payload),
    };
    poll_fn(|cx| {
        let polled = core.call_app(|| {
            core.pulse.enter(route);
            then.get_mut().as_mut().poll(cx)
        });
        polled.unwrap_or_else(|payload| {
            core.note_panic(route, payload);
            Poll::Ready(())
        })
    })
    .await;
}
