//! A connected socket of this core.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use socket2::{SockAddr, Socket, Type};

use super::{Output, Transport};
use crate::rt::{ConnectKey, DeadlineKind, Driver, SendKey, SocketKey};
use crate::stats::Answers;
use crate::sys::pages::Pages;

/// The most that one write takes over, in bytes.
const WRITE_MAX: usize = 64 * 1024;

/// A TCP or Unix connection. Dropping it cancels what is under way and closes it.
///
/// It is small, since an idle connection is little else: what it needs for reading ahead and for
/// writing is there only while it is used.
pub(crate) struct Stream {
    driver: Rc<Driver>,
    key: SocketKey,
    sending: Option<SendKey>,
    /// For `AsyncRead` and friends: what has been received and not been asked for yet.
    ahead: Option<Box<Ahead>>,
}

/// A connection that is being made, and is given up when this goes.
struct Attempt {
    driver: Rc<Driver>,
    key: Option<ConnectKey>,
}

impl Attempt {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<OwnedFd>> {
        let Some(key) = self.key else { return Poll::Ready(Err(io::ErrorKind::Other.into())) };
        let connected = ready!(self.driver.with(|core| core.poll_connected(key, cx)));
        self.key = None;
        Poll::Ready(connected)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.driver.with(|core| core.forget_connect(key));
        }
    }
}

struct Ahead {
    input: Vec<u8>,
    start: usize,
    output: Output,
    idle: DeadlineKind,
}

impl Stream {
    /// Receives and sends on this connected socket.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let driver = Driver::current();
        let key = driver.with(|core| core.adopt(socket))?;
        Ok(Self { driver, key, sending: None, ahead: None })
    }

    /// Connects to `address`, TCP or Unix, without delay for small sends. Dropping the future gives
    /// the attempt up.
    ///
    /// # Errors
    /// What connecting failed with; `TimedOut` if it took longer than `within`.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only loadgen connects"))]
    pub(crate) async fn connect(address: &SockAddr, within: DeadlineKind) -> io::Result<Self> {
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        if !address.is_unix() {
            socket.set_tcp_nodelay(true)?;
        }
        let driver = Driver::current();
        let key = driver.with(|core| core.connect(socket.into(), address.clone(), within))?;
        let mut attempt = Attempt { driver, key: Some(key) };
        Self::new(poll_fn(|cx| attempt.poll(cx)).await?)
    }

    /// Closes by a reset: what has not been received yet is lost, and no port is kept busy in
    /// `TIME_WAIT`. For whoever has all that it asked for.
    #[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only loadgen connects"))]
    pub(crate) fn reset(self) {
        // Where it cannot be asked for, the connection closes in the ordinary way.
        let _closes_in_order = self.driver.with(|core| core.reset_at_close(self.key));
    }

    /// The address of the other end; `None` for a Unix socket.
    pub(crate) fn peer_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.driver.with(|core| core.peer_addr(self.key))
    }

    /// The user that the other end of a Unix socket ran as when it connected.
    pub(crate) fn peer_uid(&self) -> io::Result<u32> {
        self.driver.with(|core| core.peer_uid(self.key))
    }

    /// Makes it a plain byte stream: `AsyncRead`, `AsyncBufRead`, `AsyncWrite`. A write may make no
    /// progress for `idle`.
    pub(crate) fn into_io(mut self, idle: DeadlineKind) -> Self {
        self.disarm();
        self.ahead =
            Some(Box::new(Ahead { input: Vec::new(), start: 0, output: Output::default(), idle }));
        self
    }

    /// Lets go of the connection, so that another core can serve it. Only an idle one goes, with
    /// nothing to read and nothing being sent; otherwise, also if something arrives meanwhile, the
    /// stream comes back as it was. Dropping the future closes the connection.
    pub(crate) async fn release(mut self) -> Result<OwnedFd, Self> {
        if self.sending.is_some() || self.ahead.is_some() {
            return Err(self);
        }
        let key = self.key;
        match poll_fn(|cx| self.driver.with(|core| core.poll_release(key, cx))).await {
            Some(socket) => {
                self.key = SocketKey::NONE;
                Ok(socket)
            }
            None => Err(self),
        }
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<io::Result<()>> {
        let Some(key) = self.sending else { return Poll::Ready(Ok(())) };
        let (sent, payload) = ready!(self.driver.with(|core| core.poll_sent(key, cx)));
        self.sending = None;
        output.give_back(payload);
        Poll::Ready(sent)
    }
}

impl Transport for Stream {
    fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.driver.with(|core| core.poll_readable(self.key, cx))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.driver.with(|core| core.poll_receive(self.key, cx, input))
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.driver.with(|core| core.poll_fill(self.key, cx, into, most))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Output,
        idle: DeadlineKind,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_sending(cx, output))?;
            let Some(payload) = output.take() else { return Poll::Ready(Ok(())) };
            let key = self.driver.with(|core| core.send(self.key, payload, idle))?;
            self.sending = Some(key);
        }
    }

    fn send_off(
        &mut self,
        output: Output,
        idle: DeadlineKind,
        answers: Answers,
    ) -> io::Result<Vec<u8>> {
        self.driver.with(|core| core.send_off(self.key, output, idle, answers))
    }

    fn send_pages(&mut self, output: &mut Output, pages: &mut Pages) -> io::Result<u64> {
        debug_assert!(self.sending.is_none() && output.tail.is_none(), "sent in order");
        let taken = self.driver.with(|core| core.send_pages(self.key, &output.buffer, pages))?;
        output.buffer.drain(..taken.head);
        Ok((taken.head + taken.pages) as u64)
    }

    fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    fn poll_sent_off(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driver.with(|core| core.poll_sent_off(self.key, cx))
    }

    fn arm(&mut self, kind: DeadlineKind) {
        self.driver.with(|core| core.arm(self.key, kind));
    }

    fn disarm(&mut self) {
        self.driver.with(|core| core.disarm(self.key));
    }

    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.driver.with(|core| core.poll_failure(self.key, cx))
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.driver.with(|core| core.shutdown(self.key))
    }
}

impl AsyncBufRead for Stream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { driver, key, ahead, .. } = self.get_mut();
        let ahead = ahead.as_mut().ok_or_else(not_io)?;
        if ahead.start == ahead.input.len() {
            let used = std::mem::take(&mut ahead.input);
            ahead.start = 0;
            driver.with(|core| core.recycle(used));
            ready!(driver.with(|core| core.poll_receive(*key, cx, &mut ahead.input)))?;
        }
        Poll::Ready(Ok(&ahead.input[ahead.start..]))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        if let Some(ahead) = &mut self.ahead {
            ahead.start = (ahead.start + amount).min(ahead.input.len());
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let amount = available.len().min(buf.len());
        buf[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Poll::Ready(Ok(amount))
    }
}

impl AsyncWrite for Stream {
    /// Takes the bytes over and sends them; an error shows at the next write, flush or close.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let amount = buf.len().min(WRITE_MAX);
        let this = self.get_mut();
        let ahead = this.ahead.as_mut().ok_or_else(not_io)?;
        ahead.output.buffer.extend_from_slice(&buf[..amount]);
        if let Some(payload) = ahead.output.take() {
            let key = this.driver.with(|core| core.send(this.key, payload, ahead.idle))?;
            this.sending = Some(key);
        }
        Poll::Ready(Ok(amount))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut ahead = this.ahead.take().ok_or_else(not_io)?;
        let flushed = this.poll_sending(cx, &mut ahead.output);
        this.ahead = Some(ahead);
        flushed
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Poll::Ready(self.shutdown())
    }
}

fn not_io() -> io::Error {
    io::Error::other("the stream is not used as a byte stream")
}

impl Drop for Stream {
    fn drop(&mut self) {
        let (key, sending) = (self.key, self.sending.take());
        self.driver.with(|core| {
            if let Some(send) = sending {
                core.forget_send(send);
            }
            core.abandon(key);
        });
    }
}
