//! A connection at work: from a request's first byte until its answer is sent and nothing is left
//! to do.
//!
//! An exchange is a future that never ends: it is given a job (a connection that has something to
//! read), works it off, hands the outcome back and waits for the next job. The core keeps a pool of
//! them, so a busy connection allocates nothing, and an idle one holds none.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::core::Core;
use super::incoming::{Incoming, Input};
use super::outgoing;
use crate::app::{Answer, Call};
use crate::h1::{Asked, Decoded, HeadDecoder, Refusal, encode_refusal};
use crate::message::{Handover, Head, Peer, Request, Response};
use crate::net::{Output, Stream, Transport};

/// Answers are sent when so many bytes of them have been queued, pipelined or not.
const OUTPUT_MAX: usize = 64 * 1024;
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
    /// It no longer carries HTTP; the bytes are what was received behind the request.
    HandOver(Stream, Handover, Bytes),
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
            }
        });
        Self { future, desk }
    }

    /// Gives it a job.
    pub(super) fn start(&self, job: Job) {
        self.desk.job.set(Some(job));
    }

    /// Works on the job.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        // It never ends, so there is nothing to be ready.
        let _ = self.future.as_mut().poll(cx);
        self.desk.outcome.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The connection that is being worked on.
pub(super) struct Line {
    pub core: Rc<Core>,
    pub stream: Stream,
    peer: Peer,
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
    pub output: Output,
    head: Rc<Head>,
    decoder: HeadDecoder,
    /// Answers in `output`.
    queued: usize,
}

impl Dialogue {
    async fn work(&mut self, job: Job) -> Outcome {
        let Job { core, stream, peer, fresh, timed_out } = job;
        let mut line = Line { core, stream, peer };
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
                Outcome::HandOver(line.stream, handover, leftover)
            }
        };
        self.clear(&line.core);
        outcome
    }

    /// The loop: a head, its answer, the next head; until nothing more has been received.
    async fn converse(&mut self, line: &mut Line, mut armed: bool) -> End {
        loop {
            let decoded = match self.next_head(line, armed).await {
                Ok(decoded) => decoded,
                Err(end) => return end,
            };
            if let Some(end) = self.answer(line, decoded).await {
                return end;
            }
            armed = false;
        }
    }

    /// Reads one head. `armed` says that its deadline is running.
    async fn next_head(&mut self, line: &mut Line, mut armed: bool) -> Result<Decoded, End> {
        loop {
            let limits = &line.core.head_limits;
            let head = fresh_head(&mut self.head);
            match self.decoder.decode(self.input.rest(), limits, head) {
                Ok(Some(decoded)) => return Ok(decoded),
                Ok(None) => {}
                Err(refusal) => return Err(self.refuse(line, refusal).await),
            }
            if !self.output.is_empty() {
                self.flush(line).await.map_err(|_| End::Close)?;
            }
            let begun = !self.input.is_empty();
            if !begun && self.input.start > 0 {
                return Err(End::Idle);
            }
            if begun && !std::mem::replace(&mut armed, true) {
                line.stream.arm(line.core.waits.header);
            }
            self.input.compact();
            match poll_fn(|cx| line.stream.poll_receive(cx, &mut self.input.bytes)).await {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(self.refuse(line, Refusal::HEAD_TIMED_OUT).await);
                }
                Ok(0) | Err(_) => return Err(End::Close),
            }
        }
    }

    /// Answers one request, or ends the dialogue.
    async fn answer(&mut self, line: &mut Line, decoded: Decoded) -> Option<End> {
        line.core.stats.requests.increment();
        self.input.start += decoded.consumed;
        let max = line.core.limits.body_bytes;
        let (body, mut incoming) = match Incoming::open(&decoded, max, &mut self.input) {
            Ok(opened) => opened,
            Err(refusal) => return Some(self.refuse(line, refusal).await),
        };
        let request = Request::new(Rc::clone(&self.head), line.peer, body);
        let mut asked = decoded.asked;
        let response = match self.handle(line, request, &mut incoming).await {
            Handled::Answered(response) => admissible(response, asked),
            Handled::Panicked => {
                asked.keep_alive = false;
                outgoing::internal_error()
            }
            Handled::Gone => return Some(End::Close),
        };
        asked.keep_alive &= !line.core.draining();
        if let Some(incoming) = &mut incoming {
            asked.keep_alive &= incoming.settle(&mut self.input);
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

    /// Lets the application answer.
    async fn handle(
        &mut self,
        line: &mut Line,
        request: Request,
        incoming: &mut Option<Incoming>,
    ) -> Handled {
        let core = Rc::clone(&line.core);
        let Ok(Call { answer, .. }) = catch_unwind(AssertUnwindSafe(|| core.app.call(request)))
        else {
            core.stats.panics.increment();
            return Handled::Panicked;
        };
        match answer {
            Answer::Ready(response) => Handled::Answered(response),
            Answer::Pending(mut future) => {
                self.drive(line, incoming, |cx| Pin::new(&mut future).poll(cx)).await
            }
        }
    }

    /// Polls application code. While it waits, its request's body is fed to it, queued answers are
    /// sent, and the connection is watched.
    pub(super) async fn drive<T>(
        &mut self,
        line: &mut Line,
        incoming: &mut Option<Incoming>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Handled<T> {
        poll_fn(|cx| {
            loop {
                match catch_unwind(AssertUnwindSafe(|| poll(cx))) {
                    Ok(Poll::Ready(answer)) => return Poll::Ready(Handled::Answered(answer)),
                    Ok(Poll::Pending) => {}
                    Err(_) => {
                        line.core.stats.panics.increment();
                        return Poll::Ready(Handled::Panicked);
                    }
                }
                let fed = incoming.as_mut().filter(|incoming| incoming.wanted());
                let Some(incoming) = fed else { break };
                let fed = incoming.poll_feed(cx, line, &mut self.input, &mut self.output);
                std::task::ready!(fed);
            }
            let idle = line.core.waits.write_idle;
            if let Poll::Ready(Err(_)) = line.stream.poll_send(cx, &mut self.output, idle) {
                return Poll::Ready(Handled::Gone);
            }
            line.stream.poll_failure(cx).map(|_| Handled::Gone)
        })
        .await
    }

    /// Notes that an answer has been queued, and sends what is queued if that is enough.
    pub(super) async fn queue(&mut self, line: &mut Line) -> io::Result<()> {
        self.queued += 1;
        let full = self.queued >= line.core.limits.pipeline || self.output.tail.is_some();
        if full || self.output.buffer.len() >= OUTPUT_MAX {
            return self.flush(line).await;
        }
        Ok(())
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self, line: &mut Line) -> io::Result<()> {
        self.queued = 0;
        let idle = line.core.waits.write_idle;
        poll_fn(|cx| line.stream.poll_send(cx, &mut self.output, idle)).await
    }

    /// Answers a request that no handler will see; the connection ends behind it.
    async fn refuse(&mut self, line: &mut Line, refusal: Refusal) -> End {
        line.core.stats.refused.increment();
        encode_refusal(&mut self.output.buffer, refusal, &line.core.date());
        self.flush(line).await.map_or(End::Close, |()| End::Linger)
    }

    /// Gets ready for the next connection.
    fn clear(&mut self, core: &Core) {
        let input = std::mem::take(&mut self.input);
        core.driver.with(|driver| driver.recycle(input.bytes));
        self.decoder = HeadDecoder::default();
        self.queued = 0;
        self.output.tail = None;
        self.output.buffer.clear();
        self.output.buffer.shrink_to(OUTPUT_MAX);
        if self.head.bytes.capacity() > HEAD_KEPT_MAX {
            self.head = Rc::default();
        }
    }
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
