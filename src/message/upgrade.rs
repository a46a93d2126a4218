//! A connection that stops speaking HTTP.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};

use super::contained::Contained;

/// What an upgraded connection can do.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// The byte stream of an upgraded connection. Dropping it closes the connection.
pub struct Upgraded(Box<dyn Io>);

impl Upgraded {
    /// Wraps the connection.
    pub(crate) fn new(io: impl Io + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.0).poll_close(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}

type Then = dyn FnOnce(Upgraded, Bytes) -> Pin<Box<dyn Future<Output = ()>>>;

/// What an answer's author wants done with the connection once the answer is on its way.
pub(crate) struct Handover(Contained<Box<Then>>);

impl Handover {
    /// Keeps `then` until the answer has been sent.
    pub(crate) fn new<F, Fut>(then: F) -> Self
    where
        F: FnOnce(Upgraded, Bytes) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Self(Contained::new(Box::new(move |io, leftover| Box::pin(then(io, leftover)))))
    }

    /// The future that now owns the connection; `leftover` is what the client sent behind its
    /// request.
    pub(crate) fn start(self, io: Upgraded, leftover: Bytes) -> Pin<Box<dyn Future<Output = ()>>> {
        (self.0.into_inner())(io, leftover)
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}
