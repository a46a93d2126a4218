//! The body of a request or of an answer.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_lite::Stream;

use super::channel::Reader;
use super::contained::Contained;
use crate::sys::pages::Pages;

/// Why a request's body could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The connection ended before the body did.
    #[error("the client went away in the middle of the body")]
    Disconnected,
    /// The body is longer than `limits.body_bytes`.
    #[error("the body is longer than the limit")]
    TooLarge,
    /// The client sent nothing for `timeouts.body_idle`.
    #[error("the client stopped sending the body")]
    TimedOut,
    /// The chunked framing is broken.
    #[error("the body's chunked framing is malformed")]
    Malformed,
}

type BodyStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>>>>;

/// A body: nothing, whole, or a stream.
///
/// ```
/// use corelane::Body;
///
/// let body = Body::from("Hello, Cluster!");
/// assert_eq!(body.size(), Some(15));
/// ```
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Whole(Bytes),
    Pages(Pages),
    Incoming {
        reader: Reader,
        size: Option<u64>,
    },
    Stream {
        stream: Contained<BodyStream>,
        size: Option<u64>,
    },
}

/// Memory for a body that is collected from pieces is taken at once, on the client's word, up to
/// this size, in bytes: larger ones mostly come as one piece, and a claim must not end the process.
const COLLECTED_MAX: usize = 128 * 1024;
/// Pages that somebody wants to read, and not only send, are copied in pieces of so many bytes.
const PIECE: usize = 64 * 1024;

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body of unknown length, sent as the stream yields it. An error cuts the connection, so
    /// that the client can tell that the answer is not whole.
    pub fn stream(stream: impl Stream<Item = std::io::Result<Bytes>> + 'static) -> Self {
        Self::sized(stream, None)
    }

    /// As [`stream`](Self::stream), of a body whose length is known: what a layer makes of
    /// another's stream without changing it.
    pub(crate) fn sized(
        stream: impl Stream<Item = std::io::Result<Bytes>> + 'static,
        size: Option<u64>,
    ) -> Self {
        let stream: BodyStream = Box::pin(stream);
        Self(Inner::Stream { stream: Contained::new(stream), size })
    }

    /// A body that the connection will receive; `size` if the client said how long it is.
    pub(crate) fn incoming(reader: Reader, size: Option<u64>) -> Self {
        Self(Inner::Incoming { reader, size })
    }

    /// The length in bytes, if it is known beforehand.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.0 {
            Inner::Empty => Some(0),
            Inner::Whole(bytes) => Some(bytes.len() as u64),
            Inner::Pages(pages) => Some(pages.len()),
            Inner::Incoming { size, .. } | Inner::Stream { size, .. } => *size,
        }
    }

    /// The bytes, if the body is whole (an empty body is).
    #[must_use]
    pub fn as_whole(&self) -> Option<&Bytes> {
        static EMPTY: Bytes = Bytes::new();
        match &self.0 {
            Inner::Empty => Some(&EMPTY),
            Inner::Whole(bytes) => Some(bytes),
            Inner::Pages(_) | Inner::Incoming { .. } | Inner::Stream { .. } => None,
        }
    }

    /// The pages that it consists of, if it does.
    pub(crate) fn as_pages(&self) -> Option<&Pages> {
        match &self.0 {
            Inner::Pages(pages) => Some(pages),
            _ => None,
        }
    }

    /// The next bytes, never an empty piece; `None` at the end.
    ///
    /// # Errors
    /// The client went away, stopped sending, or sent more than the limit; or the stream failed.
    pub async fn chunk(&mut self) -> Option<std::io::Result<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Reads all of it into memory.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk). A request's body is bounded by `limits.body_bytes`.
    pub async fn collect(mut self) -> std::io::Result<Bytes> {
        if let Inner::Whole(bytes) = self.0 {
            return Ok(bytes);
        }
        if let Inner::Incoming { reader, .. } = &self.0 {
            reader.want_whole();
        }
        let size = self.size().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let Some(first) = self.chunk().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await.transpose()? else { return Ok(first) };
        let known = size.min(COLLECTED_MAX);
        let mut all = BytesMut::with_capacity(known.max(first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await.transpose()? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// As [`chunk`](Self::chunk), for those who write futures by hand.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Inner::Pages(pages) => {
                let mut piece = Vec::new();
                let taken = pages.take(PIECE, &mut piece).map(|()| Bytes::from(piece));
                Poll::Ready(
                    Some(taken).filter(|taken| !matches!(taken, Ok(none) if none.is_empty())),
                )
            }
            Inner::Incoming { reader, .. } => {
                reader.poll_chunk(cx).map(|chunk| chunk.map(|result| result.map_err(Into::into)))
            }
            Inner::Stream { stream, .. } => loop {
                match stream.get_mut().as_mut().poll_next(cx) {
                    Poll::Ready(Some(Ok(chunk))) if chunk.is_empty() => {}
                    other => return other,
                }
            },
        }
    }
}

impl From<BodyError> for std::io::Error {
    fn from(error: BodyError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            BodyError::Disconnected => ErrorKind::UnexpectedEof,
            BodyError::TooLarge => ErrorKind::FileTooLarge,
            BodyError::TimedOut => ErrorKind::TimedOut,
            BodyError::Malformed => ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

impl From<Pages> for Body {
    fn from(pages: Pages) -> Self {
        Self(Inner::Pages(pages))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Whole(bytes)) }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size() {
            Some(size) => write!(f, "Body({size} bytes)"),
            None => f.write_str("Body(stream)"),
        }
    }
}
