//! Counting the bytes of a connection that no longer speaks HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};

use crate::net::Stream;
use crate::stats::WorkerStats;

/// The byte stream of an upgraded connection, counted.
pub(super) struct Tap {
    stream: Stream,
    stats: Arc<WorkerStats>,
}

impl Tap {
    /// Counts there what passes.
    pub(super) fn new(stream: Stream, stats: Arc<WorkerStats>) -> Self {
        Self { stream, stats }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.stats.bytes_received.add(read as u64);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.stats.bytes_sent.add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
