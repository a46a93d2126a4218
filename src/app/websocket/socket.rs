//! A connection that speaks WebSocket.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite, FutureExt as _};
use tungstenite::Error as Fault;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

use super::{Close, Message, WebSocketError};
use crate::message::Upgraded;
use crate::rt::{Draining, Sleep, draining, sleep};

/// Most messages are small, and most sockets idle.
const READ_BUFFER: usize = 4096;
/// How long the client is given to agree to the end.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// So many messages may be received in a row before other tasks have their turn.
const STREAK_MAX: u32 = 64;
/// Pings that are answered before the answers are waited to go out: a client that sends pings and
/// reads nothing is held up.
const PONGS_MAX: u32 = 16;

/// How a WebSocket is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub message_max: usize,
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { message_max: 1024 * 1024, idle: Duration::from_secs(60) }
    }
}

/// A connection that speaks WebSocket. Pings are answered by themselves, whenever it is asked for
/// messages.
///
/// When the worker drains, it is closed as by a server that goes away (1001); browsers that connect
/// again come to a worker that stays.
pub struct WebSocket(Rc<RefCell<Line>>);

/// The connection, shared by its [`WebSocket`] and by who sees it to its end.
struct Line {
    io: Upgraded,
    context: WebSocketContext,
    settings: Settings,
    /// Something is left to be written.
    unsent: bool,
    /// What the client has said at the end.
    closed: Option<Close>,
    state: State,
    heard: Instant,
    pinged: bool,
    timer: Option<Sleep>,
    leave: Draining,
    streak: u32,
    /// Pings that have been answered since something was last waited to go out.
    pongs: u32,
    /// The [`WebSocket`] is gone; before that, who waits for it to go.
    dropped: Result<(), Option<Waker>>,
}

/// Whether messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// No more of them.
    Over,
    /// The client broke off, or broke the rules: nothing that it says counts any more.
    Failed,
}

/// The connection, as tungstenite would have it.
struct Adapter<'l, 'c> {
    io: &'l mut Upgraded,
    cx: &'l mut Context<'c>,
    /// Whether something has been received.
    heard: bool,
}

impl Read for Adapter<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = at_once(Pin::new(&mut *self.io).poll_read(self.cx, into));
        self.heard |= matches!(read, Ok(1..));
        read
    }
}

impl Write for Adapter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        at_once(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    /// What has been written is on its way. Nobody waits for it to arrive: the next write does.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn at_once<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Line {
    fn new(io: Upgraded, leftover: &Bytes, settings: Settings) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(settings.message_max))
            .max_frame_size(Some(settings.message_max));
        let part = leftover.to_vec();
        Self {
            io,
            context: WebSocketContext::from_partially_read(part, Role::Server, Some(config)),
            settings,
            unsent: false,
            closed: None,
            state: State::Open,
            heard: Instant::now(),
            pinged: false,
            timer: None,
            leave: draining(),
            streak: 0,
            pongs: 0,
            dropped: Err(None),
        }
    }

    /// Has tungstenite do something with the connection. What would have to wait is `WouldBlock`.
    fn with<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut WebSocketContext, &mut Adapter<'_, '_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut adapter = Adapter { io: &mut self.io, cx, heard: false };
        let done = act(&mut self.context, &mut adapter);
        if adapter.heard {
            self.heard = Instant::now();
            self.pinged = false;
        }
        done
    }

    /// Writes what is left to be written.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let flushed = self.with(cx, |context, adapter| context.flush(adapter));
        self.unsent = would_block(&flushed);
        if self.unsent { Poll::Pending } else { Poll::Ready(flushed) }
    }

    /// Writes something; what cannot be written at once is left for later.
    fn write(&mut self, cx: &mut Context<'_>, message: tungstenite::Message) -> Result<(), Fault> {
        let written = self.with(cx, |context, adapter| context.write(adapter, message));
        if would_block(&written) {
            self.unsent = true;
            return Ok(());
        }
        written
    }

    fn close(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &str) {
        let frame = CloseFrame { code, reason: reason.into() };
        // The connection has failed: its next read says so.
        let closed = self.with(cx, |context, adapter| context.close(adapter, Some(frame)));
        self.unsent = would_block(&closed);
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, WebSocketError>>> {
        if self.state != State::Open {
            return Poll::Ready(None);
        }
        if self.leave.poll(cx).is_ready() {
            self.state = State::Over;
            self.close(cx, CloseCode::Away, "the server goes away");
            return Poll::Ready(None);
        }
        if self.streak >= STREAK_MAX {
            self.streak = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let failure = match self.poll_message(cx) {
            Poll::Ready(Ok(message)) => {
                if message.is_none() {
                    self.state = State::Over;
                }
                self.streak += 1;
                return Poll::Ready(message.map(Ok));
            }
            Poll::Ready(Err(failure)) => failure,
            Poll::Pending => match self.poll_idle(cx) {
                Poll::Ready(failure) => failure,
                Poll::Pending => {
                    self.streak = 0;
                    return Poll::Pending;
                }
            },
        };
        self.state = State::Failed;
        if let Some(code) = failure.code() {
            self.close(cx, code, &failure.to_string());
        }
        Poll::Ready(Some(Err(failure)))
    }

    /// The next message; `None` at the end.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, WebSocketError>> {
        loop {
            if self.pongs >= PONGS_MAX {
                std::task::ready!(self.poll_flush(cx))?;
                self.pongs = 0;
            }
            let read = self.with(cx, |context, adapter| context.read(adapter));
            if would_block(&read) {
                if self.unsent {
                    // Its end wakes whoever waits here.
                    let _on_its_way = self.poll_flush(cx)?;
                }
                return Poll::Pending;
            }
            self.streak += 1;
            match read {
                Ok(tungstenite::Message::Text(text)) => {
                    return Poll::Ready(Ok(Some(Message::Text(text.to_string()))));
                }
                Ok(tungstenite::Message::Binary(bytes)) => {
                    return Poll::Ready(Ok(Some(Message::Binary(bytes))));
                }
                Ok(tungstenite::Message::Close(frame)) => {
                    self.closed = frame.map(Close::from);
                    // The answer, at once: the handler may have much to do yet.
                    let _on_its_way = self.poll_flush(cx)?;
                    return Poll::Ready(Ok(None));
                }
                Ok(tungstenite::Message::Ping(_)) if self.streak < STREAK_MAX => self.pongs += 1,
                Ok(_) if self.streak >= STREAK_MAX => {
                    self.pongs += 1;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(_) => {}
                Err(Fault::ConnectionClosed | Fault::AlreadyClosed) => {
                    return Poll::Ready(Ok(None));
                }
                Err(fault) => return Poll::Ready(Err(fault.into())),
            }
        }
    }

    /// Waits until the client has been silent for too long; pings it before that.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<WebSocketError> {
        loop {
            let idle = self.settings.idle;
            let timer = self.timer.get_or_insert_with(|| sleep(idle / 2));
            if Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            let silent = self.heard.elapsed();
            if silent >= idle && self.pinged {
                return Poll::Ready(WebSocketError::TimedOut);
            }
            if silent >= idle / 2 && !std::mem::replace(&mut self.pinged, true) {
                let ping = tungstenite::Message::Ping(Bytes::new());
                if let Err(fault) = self.write(cx, ping) {
                    return Poll::Ready(fault.into());
                }
            }
            let next = if self.pinged { idle } else { idle / 2 };
            let next = next.saturating_sub(silent);
            self.timer = Some(sleep(if next.is_zero() { idle / 2 } else { next }));
        }
    }

    /// Waits until the client has agreed to the end, or never will; whether it has.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.state == State::Failed {
            return Poll::Ready(false);
        }
        if self.context.can_write() {
            self.close(cx, CloseCode::Normal, "");
        }
        loop {
            let read = self.with(cx, |context, adapter| context.read(adapter));
            if would_block(&read) {
                if self.unsent && matches!(self.poll_flush(cx), Poll::Ready(Err(_))) {
                    return Poll::Ready(false);
                }
                return Poll::Pending;
            }
            match read {
                Err(Fault::ConnectionClosed | Fault::AlreadyClosed) => return Poll::Ready(true),
                Err(_) => return Poll::Ready(false),
                Ok(_) => {}
            }
        }
    }

    /// Waits until what was written has left. A client that has not agreed to the end may still be
    /// sending: what it sends is thrown away, or the reset that answers it would overtake the last
    /// words to it.
    fn poll_last(&mut self, cx: &mut Context<'_>, agreed: bool) -> Poll<()> {
        if self.unsent && std::task::ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(());
        }
        let mut waste = [0; READ_BUFFER];
        // Its failure is the end, too.
        let closed = std::task::ready!(Pin::new(&mut self.io).poll_close(cx));
        loop {
            if agreed || closed.is_err() {
                return Poll::Ready(());
            }
            match std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut waste)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

fn would_block<T>(done: &Result<T, Fault>) -> bool {
    matches!(done, Err(Fault::Io(error)) if error.kind() == io::ErrorKind::WouldBlock)
}

impl WebSocket {
    /// The next message; `None` when the client has closed the WebSocket, or the worker drains. It
    /// may be dropped and called again: no message is lost.
    ///
    /// # Errors
    /// The client broke the protocol or a limit, went silent, or is gone. It is told which, and
    /// nothing more will come.
    pub async fn recv(&mut self) -> Option<Result<Message, WebSocketError>> {
        poll_fn(|cx| self.0.borrow_mut().poll_recv(cx)).await
    }

    /// Sends a message. When this returns the kernel has it, so that a client that does not read
    /// holds up who sends to it and nobody's memory fills.
    ///
    /// What the client says, a close and pings among it, is heard by [`recv`](Self::recv) alone, as
    /// is its silence.
    ///
    /// # Errors
    /// The WebSocket has been closed, the worker drains, or the client is gone: it has not read for
    /// `timeouts.write_idle`, for one.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), WebSocketError> {
        let mut message = Some(tungstenite::Message::from(message.into()));
        poll_fn(|cx| {
            let line = &mut *self.0.borrow_mut();
            if line.state == State::Open && line.leave.poll(cx).is_ready() {
                // Who only sends is told of the end here.
                line.state = State::Over;
                line.close(cx, CloseCode::Away, "the server goes away");
                return Poll::Ready(Err(Fault::AlreadyClosed.into()));
            }
            if line.unsent {
                std::task::ready!(line.poll_flush(cx))?;
            }
            if let Some(message) = message.take() {
                line.write(cx, message)?;
            }
            // What the kernel has no room for yet is waited for: nobody else would send it.
            if line.unsent {
                std::task::ready!(line.poll_flush(cx))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Closes the WebSocket: 1000 is the usual end; 4000 to 4999 are the application's own. What
    /// was sent before arrives before. The client is given two seconds to agree.
    ///
    /// # Panics
    /// The code must not be sent ([RFC 6455,
    /// 7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)), or the reason is longer than 123
    /// bytes.
    pub async fn close(self, code: u16, reason: &str) {
        let known = CloseCode::from(code);
        assert!(known.is_allowed(), "{code} must not be sent as the code of a close");
        assert!(reason.len() <= 123, "the reason of a close has at most 123 bytes");
        poll_fn(|cx| {
            let line = &mut *self.0.borrow_mut();
            if line.context.can_write() {
                line.close(cx, known, reason);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// What the client said when it closed the WebSocket, if it did and said something.
    #[must_use]
    pub fn closed(&self) -> Option<Close> {
        self.0.borrow().closed.clone()
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut self.0.borrow_mut().dropped, Ok(()));
        if let Err(Some(waiting)) = before {
            waiting.wake();
        }
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocket({:?})", self.0.borrow().settings)
    }
}

/// Serves a WebSocket until it is over, whoever holds it.
pub(super) async fn serve<F>(io: Upgraded, leftover: Bytes, settings: Settings, then: F)
where
    F: AsyncFnOnce(WebSocket),
{
    let line = Rc::new(RefCell::new(Line::new(io, &leftover, settings)));
    let handler = AssertUnwindSafe(then(WebSocket(Rc::clone(&line)))).catch_unwind();
    let panic = handler.await.err();
    if panic.is_some() {
        poll_fn(|cx| {
            line.borrow_mut().close(cx, CloseCode::Error, "the server has failed");
            Poll::Ready(())
        })
        .await;
    }
    poll_fn(|cx| match &mut line.borrow_mut().dropped {
        Ok(()) => Poll::Ready(()),
        Err(waiting) => {
            *waiting = Some(cx.waker().clone());
            Poll::Pending
        }
    })
    .await;
    // Nobody else holds it any more.
    let end = async {
        let agreed = poll_fn(|cx| line.borrow_mut().poll_end(cx)).await;
        poll_fn(|cx| line.borrow_mut().poll_last(cx, agreed)).await;
    };
    end.or(sleep(CLOSE_WAIT)).await;
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}
