//! The life of a connection: a link is made, used until it ends, and made anew.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::connection::{Connection, End, Request};
use super::schedule::nanos;
use super::tally::Failure;
use super::thread::Thread;
use crate::net::{Stream, Transport as _};
use crate::rt::sleep;

/// How long a connection rests that could not be made, or came to nothing.
const BACKOFF: Duration = Duration::from_millis(10);
/// How long a server may take to close what it said it would, before it is closed for it.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_millis(100);

/// Lives until the task is cancelled.
pub(super) async fn live(thread: Rc<Thread>, id: usize) {
    let connection = &thread.connections[id];
    let mut opened = false;
    loop {
        if !thread.plan.keep_alive {
            tried(&thread, &mut opened);
            wait_for_request(&thread, id).await;
        }
        let made = Stream::connect(&thread.address, thread.connect_within).await;
        tried(&thread, &mut opened);
        let answers = match made {
            Ok(link) => {
                begin(&thread, &mut connection.borrow_mut(), link);
                let end = poll_fn(|cx| thread.poll_connection(id, cx)).await;
                let answers = connection.borrow().answers;
                part(&thread, id, end).await;
                answers
            }
            Err(error) => {
                not_made(&thread, id, &error);
                0
            }
        };
        if answers == 0 {
            sleep(BACKOFF).await;
        }
    }
}

/// The run starts when every connection has been tried once, or needs no trying.
fn tried(thread: &Thread, before: &mut bool) {
    if !std::mem::replace(before, true) {
        thread.opening.set(thread.opening.get() - 1);
    }
}

/// Without keep-alive a connection is made for a request that there is.
async fn wait_for_request(thread: &Thread, id: usize) {
    let mut free = Some(thread.connections[id].borrow().free_since(thread.now()));
    poll_fn(|cx| {
        thread.connections[id].borrow_mut().wake_with(cx.waker());
        if let Some(free) = free.take() {
            thread.release(free);
            thread.dispatch();
        }
        let waits = thread.connections[id].borrow().requests.is_empty();
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Sends what waits for the link, and says how many more requests may be sent on it.
fn begin(thread: &Thread, connection: &mut Connection, link: Stream) {
    let now = thread.now();
    connection.open(link);
    connection.requests.iter_mut().for_each(|request| request.sent = now);
    if thread.plan.keep_alive {
        for _ in connection.requests.len()..thread.plan.pipeline.max(1) {
            thread.release(connection.free_since(now));
        }
    }
}

/// No link came about. A request that waits for it fails; where none does, the next one.
fn not_made(thread: &Thread, id: usize, error: &io::Error) {
    if !thread.has_started() {
        return;
    }
    let now = thread.now();
    let failure = match error.kind() {
        io::ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Connect,
    };
    let mut connection = thread.connections[id].borrow_mut();
    if connection.requests.is_empty()
        && let Some(from) = thread.schedule.borrow_mut().take(now)
    {
        connection.requests.push_back(Request { from, sent: now });
    }
    for request in connection.requests.drain(..) {
        thread.failed(request.from, failure, now);
    }
}

/// The link has ended: each of its requests has failed, or is sent again on the next one.
async fn part(thread: &Thread, id: usize, end: End) {
    let by_server = matches!(end, End::Finished { by_server: true });
    let whole = matches!(end, End::Finished { .. });
    let link = {
        let mut connection = thread.connections[id].borrow_mut();
        account(thread, &mut connection, &end);
        connection.close()
    };
    let Some(mut link) = link else { return };
    let closed = by_server && {
        link.arm(thread.close_within);
        closes(&mut link).await
    };
    // Who closes first keeps the port busy for a minute, and there are only so many: a reset
    // keeps none. It can harm nobody, because the answer is there.
    if whole && !closed {
        link.reset();
    }
}

/// Waits for the server to close; false if it does not.
async fn closes(link: &mut Stream) -> bool {
    let mut rest = Vec::new();
    loop {
        match poll_fn(|cx| link.poll_receive(cx, &mut rest)).await {
            Ok(0) => return true,
            Ok(_) => rest.clear(),
            Err(error) => return error.kind() != io::ErrorKind::TimedOut,
        }
    }
}

fn account(thread: &Thread, connection: &mut Connection, end: &End) {
    let now = thread.now();
    let begun = !connection.decoder.is_idle();
    let mut touched = usize::from(begun);
    let failure = match end {
        End::Finished { .. } => Failure::Short,
        End::Closed => {
            if let Some(head) = connection.decoder.end() {
                connection.answer(thread, head.status, now);
                touched = 0;
            }
            Failure::Short
        }
        End::Broken => Failure::Reset,
        End::Malformed => {
            touched = 1;
            Failure::Malformed
        }
        End::Overdue => {
            let long_ago = now.saturating_sub(nanos(thread.plan.timeout));
            let overdue = connection.requests.iter().take(connection.in_flight);
            touched = overdue.take_while(|request| request.sent <= long_ago).count();
            Failure::Timeout
        }
    };
    // Of what was in flight, only what has had no byte of its answer is sent again, and only if
    // the link had been good for something: otherwise a server that closes each would be asked for
    // ever.
    let failed = if connection.answers > 0 { touched } else { connection.in_flight };
    let failed = failed.min(connection.in_flight);
    for request in connection.requests.drain(..failed) {
        thread.failed(request.from, failure, now);
    }
    let again = connection.in_flight - failed;
    for request in connection.requests.iter().take(again) {
        thread.retried(request.from);
    }
}
