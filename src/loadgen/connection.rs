//! One connection: its requests, in the order in which they are answered.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::schedule::Nanos;
use super::thread::Thread;
use crate::h1::ReplyDecoder;
use crate::net::{Output, Stream, Transport as _};

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// From when its latency counts.
    pub from: Nanos,
    /// When it was last handed over to be sent.
    pub sent: Nanos,
}

/// How a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// The server closed it.
    Closed,
    /// It was reset or broke.
    Broken,
    /// The answer took too long.
    Overdue,
    /// What came was no answer.
    Malformed,
    /// The answer is whole, and the link is not to be used again: the server said so, or we do.
    Finished { by_server: bool },
}

/// Says that a connection may send one more request, if it still has the same link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub connection: usize,
    pub life: u32,
    /// Since when.
    pub since: Nanos,
}

/// See the [module](self). It outlives its links: a link is one connection of the transport.
pub(super) struct Connection {
    id: usize,
    pub link: Option<Stream>,
    /// How often a link has ended.
    pub life: u32,
    /// The oldest first. As many as `in_flight` have been handed over to be sent.
    pub requests: VecDeque<Request>,
    pub in_flight: usize,
    /// Whole answers that the link has given.
    pub answers: u64,
    /// The oldest request has waited too long.
    pub overdue: bool,
    pub decoder: ReplyDecoder,
    /// Of its task.
    pub waker: Waker,
    /// A send has failed.
    broken: bool,
    input: Vec<u8>,
    output: Output,
}

impl Connection {
    /// Without a link.
    pub(super) fn new(id: usize) -> Self {
        Self {
            id,
            link: None,
            life: 0,
            requests: VecDeque::new(),
            in_flight: 0,
            answers: 0,
            overdue: false,
            decoder: ReplyDecoder::default(),
            waker: Waker::noop().clone(),
            broken: false,
            input: Vec::new(),
            output: Output::default(),
        }
    }

    /// Has a new link.
    pub(super) fn open(&mut self, link: Stream) {
        self.link = Some(link);
        self.answers = 0;
        self.in_flight = 0;
    }

    /// Forgets its link, whose requests are no longer in flight.
    pub(super) fn close(&mut self) -> Option<Stream> {
        self.life = self.life.wrapping_add(1);
        self.in_flight = 0;
        self.overdue = false;
        self.broken = false;
        self.decoder.restart();
        self.input.clear();
        self.output = Output::default();
        self.link.take()
    }

    /// Who is to be woken when something happens.
    pub(super) fn wake_with(&mut self, waker: &Waker) {
        if !self.waker.will_wake(waker) {
            self.waker.clone_from(waker);
        }
    }

    /// Hands over to be sent what has not been yet, in one piece if it can. Nobody is woken when
    /// it has left, for then there is nothing to do, unless there is more to be sent behind it.
    pub(super) fn flush(&mut self, thread: &Thread) {
        let Some(link) = &mut self.link else {
            self.waker.wake_by_ref();
            return;
        };
        loop {
            let waiting = self.requests.len() - self.in_flight;
            let waker = if waiting > 0 { &self.waker } else { Waker::noop() };
            let mut cx = Context::from_waker(waker);
            match link.poll_send(&mut cx, &mut self.output, thread.send_idle) {
                Poll::Pending => return,
                Poll::Ready(Err(_)) => {
                    self.broken = true;
                    self.waker.wake_by_ref();
                    return;
                }
                Poll::Ready(Ok(())) if waiting == 0 => return,
                Poll::Ready(Ok(())) => {
                    let (bytes, requests) = thread.requests(waiting);
                    thread.tally.borrow_mut().sent += bytes.len() as u64;
                    self.output.tail = Some(bytes);
                    self.in_flight += requests;
                }
            }
        }
    }

    /// Works off what has arrived, or says how the link has ended.
    pub(super) fn poll(&mut self, thread: &Thread, cx: &mut Context<'_>) -> Poll<Option<End>> {
        self.wake_with(cx.waker());
        if self.requests.len() > self.in_flight {
            self.flush(thread);
        }
        let Some(link) = &mut self.link else { return Poll::Ready(Some(End::Closed)) };
        match link.poll_receive(cx, &mut self.input) {
            Poll::Ready(Ok(0)) => Poll::Ready(Some(End::Closed)),
            Poll::Ready(Ok(received)) => {
                thread.tally.borrow_mut().received += received as u64;
                Poll::Ready(self.read_answers(thread))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Some(End::Broken)),
            // What had been answered before is answered.
            Poll::Pending if self.broken => Poll::Ready(Some(End::Broken)),
            Poll::Pending if self.overdue => Poll::Ready(Some(End::Overdue)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Reads the answers in the input. What nobody asked for stays there, and is taken for the
    /// answer to the next request: unless that is a whole answer, it is noticed.
    fn read_answers(&mut self, thread: &Thread) -> Option<End> {
        let now = thread.now();
        let mut at = 0;
        let end = loop {
            if self.in_flight == 0 || at == self.input.len() {
                break None;
            }
            let Ok(piece) = self.decoder.decode(&self.input[at..], thread.asked) else {
                break Some(End::Malformed);
            };
            at += piece.consumed;
            let Some(head) = piece.done else {
                if piece.consumed == 0 {
                    break None;
                }
                continue;
            };
            self.answer(thread, head.status, now);
            if !head.keep_alive || !thread.plan.keep_alive {
                break Some(End::Finished { by_server: !head.keep_alive });
            }
            thread.release(self.free_since(now));
        };
        if at == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..at);
        }
        end
    }

    /// The oldest request has been answered.
    pub(super) fn answer(&mut self, thread: &Thread, status: u16, now: Nanos) {
        let Some(request) = self.requests.pop_front() else { return };
        self.in_flight -= 1;
        self.answers += 1;
        self.overdue = false;
        thread.answered(request.from, status, now);
    }

    /// Says that one more request may be sent.
    pub(super) fn free_since(&self, since: Nanos) -> Free {
        Free { connection: self.id, life: self.life, since }
    }
}
