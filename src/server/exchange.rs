//! A connection at work: from a request's first byte until its answer is sent and nothing is left
//! to do.
//!
//! An exchange is a future that never ends: it is given a job (a connection that has something to
//! read), works it off, hands the outcome back and waits for the next job. The core keeps a pool of
//! them, so a busy connection allocates nothing, and an idle one holds none.

#[cfg(feature = "internals")]
mod rehearsal;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use super::core::Core;
use super::incoming::{Incoming, Input};
use super::outbox::Outbox;
use super::outgoing;
use crate::app::{Answer, Call, HandlerFuture, refuse};
use crate::h1::{
    After, Asked, Decoded, Framing, HeadDecoder, Refusal, encode_head, encode_refusal,
};
use crate::message::{Handover, Head, Peer, Request, Response};
use crate::net::{Stream, Transport};
#[cfg(feature = "internals")]
pub(crate) use rehearsal::Rehearsal;

/// Answers are sent when so many bytes of them have been queued, pipelined or not.
const OUTPUT_MAX: usize = 64 * 1024;
/// A body up to this size is copied behind its head, in bytes; a larger one is sent as it is.
pub(super) const COPIED_MAX: usize = 16 * 1024;
/// A head's memory is kept for the next request up to this size, in bytes.
const HEAD_KEPT_MAX: usize = 4096;

/// A connection that has something to read.
pub(super) struct Job {
    pub core: Rc<Core>,
    pub stream: Stream,
    pub peer: Peer,
    /// Nothing has been received yet; the deadline of its first head runs since accept.
    pub fresh: bool,
    /// That deadline has passed.
    pub timed_out: bool,
}

/// What became of it.
pub(super) enum Outcome {
    /// It waits for its next request.
    Idle(Stream),
    /// It is closed.
    Closed,
    /// It is to be closed once the client has had time to read.
    Linger(Stream),
    /// It no longer carries HTTP; the bytes are what was received behind the request, and the
    /// number that of the route that wants it.
    HandOver(Stream, Handover, Bytes, Option<usize>),
}

/// See the [module](self).
pub(super) struct Exchange {
    future: Pin<Box<dyn Future<Output = ()>>>,
    desk: Rc<Desk>,
}

/// Where jobs come in and outcomes go out.
#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    outcome: Cell<Option<Outcome>>,
    done: Cell<bool>,
}

impl Exchange {
    /// One without a job.
    pub(super) fn new() -> Self {
        let desk = Rc::new(Desk::default());
        let own = Rc::clone(&desk);
        let future = Box::pin(async move {
            let mut dialogue = Dialogue::default();
            loop {
                let job = poll_fn(|_| own.job.take().map_or(Poll::Pending, Poll::Ready)).await;
                let outcome = dialogue.work(job).await;
                own.outcome.set(Some(outcome));
                own.done.set(true);
            }
        });
        Self { future, desk }
    }

    /// Gives it a job.
    pub(super) fn start(&self, job: Job) {
        self.desk.job.set(Some(job));
    }

    /// Works on the job until it has an outcome.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // It never ends, so there is nothing to be ready.
        let _ = self.future.as_mut().poll(cx);
        if self.desk.done.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The outcome of the job that is done.
    pub(super) fn outcome(&self) -> Outcome {
        self.desk.done.set(false);
        self.desk.outcome.take().unwrap_or(Outcome::Closed)
    }
}

/// The connection that is being worked on.
pub(super) struct Line {
    pub core: Rc<Core>,
    pub stream: Stream,
    peer: Peer,
    /// When the worker first saw bytes of the present request.
    pub begun: Instant,
    /// When the latest bytes came.
    received: Instant,
}

impl Line {
    fn new(core: Rc<Core>, stream: Stream, peer: Peer) -> Self {
        let now = core.now();
        Self { core, stream, peer, begun: now, received: now }
    }

    /// Receives behind what `input` holds, and counts it.
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let received = std::task::ready!(self.stream.poll_receive(cx, input))?;
        Poll::Ready(Ok(self.count(received)))
    }

    /// Receives at most so many bytes straight into `into`, and counts it.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let received = std::task::ready!(self.stream.poll_fill(cx, into, most))?;
        Poll::Ready(Ok(self.count(received)))
    }

    fn count(&mut self, received: usize) -> usize {
        self.received = self.core.now();
        self.core.stats.bytes_received.add(received as u64);
        received
    }
}

/// How a dialogue ends, for now or for good.
pub(super) enum End {
    Idle,
    Close,
    Linger,
    HandOver(Handover),
}

/// Everything that the requests of a busy connection need, used again and again.
#[derive(Default)]
pub(super) struct Dialogue {
    pub input: Input,
    pub outbox: Outbox,
    head: Rc<Head>,
    decoder: HeadDecoder,
    /// The number of the route that the present request matched.
    route: Option<usize>,
}

impl Dialogue {
    async fn work(&mut self, job: Job) -> Outcome {
        let Job { core, stream, peer, fresh, timed_out } = job;
        let mut line = Line::new(core, stream, peer);
        poll_fn(|cx| line.stream.poll_sent_off(cx)).await;
        let end = if timed_out {
            self.refuse(&mut line, Refusal::HEAD_TIMED_OUT).await
        } else {
            self.converse(&mut line, fresh).await
        };
        let outcome = match end {
            End::Idle => Outcome::Idle(line.stream),
            End::Close => Outcome::Closed,
            End::Linger => Outcome::Linger(line.stream),
            End::HandOver(handover) => {
                let leftover = Bytes::copy_from_slice(self.input.rest());
                Outcome::HandOver(line.stream, handover, leftover, self.route)
            }
        };
        self.clear(&line.core);
        outcome
    }

    /// The loop: a head, its answer, the next head; until nothing more has been received.
    async fn converse(&mut self, line: &mut Line, mut armed: bool) -> End {
        let mut served = false;
        loop {
            let decoded = match self.decode_head(line) {
                Ok(Some(decoded)) => decoded,
                Ok(None) if served && self.input.is_empty() => return self.pause(line).await,
                Ok(None) => match self.receive_more(line, &mut armed).await {
                    None => continue,
                    Some(end) => return end,
                },
                Err(refusal) => return self.refuse(line, refusal).await,
            };
            line.core.stats.requests.increment();
            self.input.start += decoded.consumed;
            (armed, served) = (false, true);
            let end = match poll_fn(|cx| Poll::Ready(self.answer_now(cx, line, &decoded))).await {
                Now::Queued if !self.is_full(line) => None,
                Now::Queued => self.flush(line).await.err().map(|_| End::Close),
                now => self.answer(line, decoded, now).await,
            };
            if let Some(end) = end {
                return end;
            }
            // Whatever follows came with the latest bytes.
            line.begun = line.received;
        }
    }

    fn decode_head(&mut self, line: &Line) -> Result<Option<Decoded>, Refusal> {
        let head = fresh_head(&mut self.head);
        self.decoder.decode(self.input.rest(), &line.core.head_limits, head)
    }

    /// Sends what is queued, before the next request is waited for. Most answers are sent at once,
    /// so it does not wait for that: the next job does, or the end of the connection.
    async fn pause(&mut self, line: &mut Line) -> End {
        match self.outbox.send_off(line) {
            Ok(true) => End::Idle,
            Ok(false) => self.flush(line).await.map_or(End::Close, |()| End::Idle),
            Err(_) => End::Close,
        }
    }

    /// Sends what is queued, then receives more of a head. `armed` says that its deadline is
    /// running.
    async fn receive_more(&mut self, line: &mut Line, armed: &mut bool) -> Option<End> {
        if !self.outbox.output.is_empty() && self.flush(line).await.is_err() {
            return Some(End::Close);
        }
        let begun = !self.input.is_empty();
        if begun && !std::mem::replace(armed, true) {
            line.stream.arm(line.core.waits.header);
        }
        self.input.compact();
        match poll_fn(|cx| line.poll_receive(cx, &mut self.input.bytes)).await {
            Ok(1..) => {
                if !begun {
                    line.begun = line.received;
                }
                None
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Some(self.refuse(line, Refusal::HEAD_TIMED_OUT).await)
            }
            Ok(0) | Err(_) => Some(End::Close),
        }
    }

    /// Answers, if neither the request nor the answer takes any waiting. Nearly all do not, and
    /// this is the path that is worth its speed: nothing on it is moved into a future.
    fn answer_now(&mut self, cx: &mut Context<'_>, line: &mut Line, decoded: &Decoded) -> Now {
        let max = line.core.limits.body_bytes;
        let (body, incoming) = match Incoming::open(decoded, max, &mut self.input) {
            Ok(opened) => opened,
            Err(refusal) => return Now::Refused(refusal),
        };
        let request = Request::new(Rc::clone(&self.head), line.peer, body);
        let core = &line.core;
        let called = core.call_app(|| {
            let Call { route, answer } = core.app.dispatch(request, &core.pulse);
            self.route = route;
            let mut future = match answer {
                Answer::Ready(response) => return Called::Answered(response),
                Answer::Pending(future) => future,
            };
            match Pin::new(&mut future).poll(cx) {
                Poll::Ready(response) => Called::Answered(response),
                Poll::Pending => Called::Waiting(future),
            }
        });
        match called {
            Ok(Called::Answered(response)) if incoming.is_none() => {
                self.queue_now(line, response, decoded.asked)
            }
            Ok(Called::Answered(response)) => {
                Now::Handled(Handled::Answered(response), incoming.map(Box::new))
            }
            Ok(Called::Waiting(future)) => Now::Waiting(future, incoming.map(Box::new)),
            Err(payload) => {
                core.note_panic(self.route, payload);
                Now::Handled(Handled::Panicked, incoming.map(Box::new))
            }
        }
    }

    /// Queues an answer that is small and whole and leaves the connection open.
    fn queue_now(&mut self, line: &Line, response: Response, asked: Asked) -> Now {
        let small = response.body().as_whole().is_some_and(|body| body.len() <= COPIED_MAX);
        let plain = small && !response.upgrades() && !response.status().is_informational();
        if !plain || line.core.draining() {
            return Now::Handled(Handled::Answered(response), None);
        }
        let framing = Framing::of(asked, &response);
        if framing.after != After::Persist {
            return Now::Handled(Handled::Answered(response), None);
        }
        let buffer = &mut self.outbox.output.buffer;
        encode_head(buffer, &response, &framing, &line.core.date());
        if let Some(body) = response.body().as_whole()
            && framing.sends_body
        {
            buffer.extend_from_slice(body);
        }
        line.core.stats.statuses.count(framing.status.as_u16());
        self.outbox.note(line.begun);
        Now::Queued
    }

    /// Answers a request that takes waiting, or ends the dialogue.
    async fn answer(&mut self, line: &mut Line, decoded: Decoded, now: Now) -> Option<End> {
        let (handled, mut incoming) = match now {
            Now::Queued => return None,
            Now::Refused(refusal) => {
                self.outbox.note(line.begun);
                return Some(self.refuse(line, refusal).await);
            }
            Now::Handled(handled, incoming) => (handled, incoming),
            Now::Waiting(mut future, mut incoming) => {
                let poll = |cx: &mut Context<'_>| Pin::new(&mut future).poll(cx);
                (self.drive(line, &mut incoming, poll).await, incoming)
            }
        };
        let mut asked = decoded.asked;
        let mut response = match handled {
            Handled::Answered(response) => admissible(response, asked),
            Handled::Panicked => {
                asked.keep_alive = false;
                refuse(StatusCode::INTERNAL_SERVER_ERROR, self.head.headers())
            }
            Handled::Gone => return Some(End::Close),
        };
        asked.keep_alive &= !line.core.draining();
        if let Some(incoming) = &mut incoming {
            let streamed = response.body().as_whole().is_none() && !response.upgrades();
            let settled = incoming.settle(&mut self.input, &mut self.outbox.output, streamed);
            asked.keep_alive &= settled;
            if response.upgrades() && !settled {
                response = outgoing::unread_upgrade();
            }
        }
        let mut end = self.send(line, response, asked, &mut incoming).await;
        let read = incoming.is_none_or(|incoming| incoming.finish(&mut self.input));
        if end.is_none() && !read {
            end = self.flush(line).await.map_or(Some(End::Close), |()| Some(End::Linger));
        }
        match end {
            // The client has asked for the close and has said all: nothing can be lost.
            Some(End::Linger) if !decoded.asked.keep_alive && read && self.input.is_empty() => {
                Some(End::Close)
            }
            end => end,
        }
    }

    /// Polls application code. While it waits, its request's body is fed to it, queued answers are
    /// sent, and the connection is watched.
    pub(super) async fn drive<T>(
        &mut self,
        line: &mut Line,
        incoming: &mut Option<Box<Incoming>>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Handled<T> {
        poll_fn(|cx| {
            loop {
                let polled = line.core.call_app(|| {
                    line.core.pulse.enter(self.route);
                    poll(cx)
                });
                match polled {
                    Ok(Poll::Ready(answer)) => return Poll::Ready(Handled::Answered(answer)),
                    Ok(Poll::Pending) => {}
                    Err(payload) => {
                        line.core.note_panic(self.route, payload);
                        return Poll::Ready(Handled::Panicked);
                    }
                }
                if let Poll::Ready(Err(_)) = self.outbox.poll_send(cx, line) {
                    return Poll::Ready(Handled::Gone);
                }
                let Some(incoming) = incoming.as_mut() else { break };
                if !incoming.wanted() {
                    incoming.watch(cx);
                    break;
                }
                let fed = incoming.poll_feed(cx, line, &mut self.input, &mut self.outbox);
                std::task::ready!(fed);
            }
            line.stream.poll_failure(cx).map(|_| Handled::Gone)
        })
        .await
    }

    /// Notes that an answer has been queued, and sends what is queued if that is enough.
    pub(super) async fn queue(&mut self, line: &mut Line) -> io::Result<()> {
        self.outbox.note(line.begun);
        if self.is_full(line) { self.flush(line).await } else { Ok(()) }
    }

    /// Nothing can be queued behind a tail, and nothing will be if the client has sent no more.
    fn is_full(&self, line: &Line) -> bool {
        self.outbox.queued() >= line.core.limits.pipeline
            || self.outbox.output.tail.is_some() && !self.input.is_empty()
            || self.outbox.output.buffer.len() >= OUTPUT_MAX
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self, line: &mut Line) -> io::Result<()> {
        poll_fn(|cx| self.outbox.poll_send(cx, line)).await
    }

    /// Answers a request that no handler will see; the connection ends behind it.
    async fn refuse(&mut self, line: &mut Line, refusal: Refusal) -> End {
        line.core.stats.refused.increment();
        line.core.stats.statuses.count(refusal.status.as_u16());
        encode_refusal(&mut self.outbox.output.buffer, refusal, &line.core.date());
        self.flush(line).await.map_or(End::Close, |()| End::Linger)
    }

    /// Gets ready for the next connection.
    fn clear(&mut self, core: &Core) {
        let input = std::mem::take(&mut self.input);
        core.driver.with(|driver| driver.recycle(input.bytes));
        self.decoder = HeadDecoder::default();
        self.route = None;
        self.outbox.clear(OUTPUT_MAX);
        if self.head.bytes.capacity() > HEAD_KEPT_MAX {
            self.head = Rc::default();
        }
    }
}

/// What came of a request at once.
enum Now {
    /// Its answer is queued.
    Queued,
    /// No handler will see it.
    Refused(Refusal),
    /// There is an answer, which takes waiting to send; or there will be none.
    Handled(Handled, Option<Box<Incoming>>),
    /// Its handler waits.
    Waiting(HandlerFuture, Option<Box<Incoming>>),
}

enum Called {
    Answered(Response),
    Waiting(HandlerFuture),
}

/// What application code came to.
pub(super) enum Handled<T = Response> {
    Answered(T),
    Panicked,
    /// The connection failed while it worked.
    Gone,
}

/// The head's memory, unless a handler still holds it.
fn fresh_head(head: &mut Rc<Head>) -> &mut Head {
    if Rc::get_mut(head).is_none() {
        *head = Rc::default();
    }
    Rc::get_mut(head).expect("invariant: made anew if it was shared")
}

/// An answer that can be sent to who asked so; others are mistakes of the application.
fn admissible(response: Response, asked: Asked) -> Response {
    if response.upgrades() {
        return if asked.allows_handover() { response } else { outgoing::upgrade_required() };
    }
    if response.status().is_informational() {
        tracing::error!(status = %response.status(), "a handler answered with an interim status");
        return outgoing::internal_error();
    }
    response
}
