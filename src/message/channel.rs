//! A body on its way: the connection feeds it on one side, its owner reads it on the other.
//!
//! Both sides live on one core. The connection reads from the socket only while the reader waits
//! (`Feeder::wanted`), so a body that nobody reads stays in the kernel and slows its sender down.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::body::BodyError;

#[derive(Debug, Default)]
struct Pipe {
    chunks: VecDeque<Bytes>,
    end: Option<Result<(), BodyError>>,
    reader: Option<Waker>,
    feeder: Option<Waker>,
    /// The reader can do nothing with a part of it.
    whole: bool,
}

/// A body whose bytes the connection is still to receive.
pub(crate) fn channel() -> (Feeder, Reader) {
    let pipe = Rc::new(RefCell::new(Pipe::default()));
    (Feeder { pipe: Rc::downgrade(&pipe) }, Reader { pipe })
}

/// The connection's side.
#[derive(Debug)]
pub(crate) struct Feeder {
    pipe: Weak<RefCell<Pipe>>,
}

impl Feeder {
    /// Whether the reader waits for bytes that are not there yet.
    pub(crate) fn wanted(&self) -> bool {
        self.with(|pipe| pipe.chunks.is_empty() && pipe.end.is_none() && pipe.reader.is_some())
            .unwrap_or(false)
    }

    /// Whether the reader waits for all of it.
    pub(crate) fn wanted_whole(&self) -> bool {
        self.with(|pipe| pipe.whole).unwrap_or(false)
    }

    /// Has the connection's task woken when another task comes to wait for bytes. A reader within
    /// the connection's own task need not be told: who polls it sees what it wants.
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        self.with(|pipe| pipe.feeder = Some(cx.waker().clone()));
    }

    /// Whether the reader is gone, so that nobody will read what is left.
    pub(crate) fn abandoned(&self) -> bool {
        self.pipe.strong_count() == 0
    }

    /// Hands bytes on.
    pub(crate) fn push(&self, chunk: Bytes) {
        self.with(|pipe| {
            pipe.chunks.push_back(chunk);
            pipe.wake();
        });
    }

    /// Ends the body: complete, or broken.
    pub(crate) fn end(&self, end: Result<(), BodyError>) {
        self.with(|pipe| {
            pipe.end.get_or_insert(end);
            pipe.wake();
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Pipe) -> T) -> Option<T> {
        self.pipe.upgrade().map(|pipe| f(&mut pipe.borrow_mut()))
    }
}

impl Drop for Feeder {
    /// A connection that ends takes its bodies with it: the reader must not wait for ever.
    fn drop(&mut self) {
        self.end(Err(BodyError::Disconnected));
    }
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The owner's side, within a `Body`.
#[derive(Debug)]
pub(crate) struct Reader {
    pipe: Rc<RefCell<Pipe>>,
}

impl Reader {
    /// Says that a part is of no use, so that all may come as one piece.
    pub(crate) fn want_whole(&self) {
        self.pipe.borrow_mut().whole = true;
    }

    /// The next bytes; `None` at the end.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut pipe = self.pipe.borrow_mut();
        if let Some(chunk) = pipe.chunks.pop_front() {
            return Poll::Ready(Some(Ok(chunk)));
        }
        match pipe.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                pipe.reader = Some(cx.waker().clone());
                if let Some(feeder) = pipe.feeder.take().filter(|own| !own.will_wake(cx.waker())) {
                    feeder.wake();
                }
                Poll::Pending
            }
        }
    }
}
