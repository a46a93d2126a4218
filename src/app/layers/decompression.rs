//! Bodies that clients have compressed.

use std::io::{self, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use futures_lite::Stream;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, HeaderValue};

use super::field::tokens;
use crate::app::extract::body::Decoded;
use crate::app::middleware::{Middleware, Next};
use crate::app::rejection::Rejection;
use crate::app::respond::IntoResponse as _;
use crate::message::{Body, BodyError, Request, Response};

/// What a body may become, in bytes, unless said otherwise.
const SIZE_MAX: usize = 1 << 20;

/// How much is decompressed at a time, so that other tasks have their turns.
const PIECE: usize = 4 * 1024;

/// Memory for what comes out of `deflate` at a time.
const ROOM: usize = 16 * 1024;

/// Decompresses the bodies of requests whose `Content-Encoding` is `gzip`, `deflate` or `br`, so
/// that the handlers see what the client meant.
///
/// A few bytes can become gigabytes. So a body may become 1 MiB, or [as said](Self::size_max), and
/// more of it is answered with 413, as a body that was sent in full. An unknown coding, or several,
/// get 415 with `Accept-Encoding`; a damaged body gets 400. The request's headers stay as
/// they were received.
///
/// ```
/// use corelane::{App, Decompression};
///
/// let app = App::new().post("/", async |text: String| text).wrap(Decompression::new());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decompression {
    size_max: usize,
}

impl Decompression {
    /// Bodies may become 1 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self { size_max: SIZE_MAX }
    }

    /// Bodies may become this many bytes.
    #[must_use]
    pub fn size_max(mut self, bytes: usize) -> Self {
        self.size_max = bytes;
        self
    }
}

impl Default for Decompression {
    fn default() -> Self {
        Self::new()
    }
}

/// Marks a request whose body has been seen to, so that a mounted app with a layer of its own does
/// not decompress it again.
struct Seen;

impl Middleware for Decompression {
    async fn handle(self: Rc<Self>, mut request: Request, next: Next) -> Response {
        if request.extensions_mut().insert(Seen).is_some() {
            return next.run(request).await;
        }
        let decoder = {
            let headers = request.headers();
            let mut codings = headers
                .all("content-encoding")
                .flat_map(tokens)
                .filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
            match (codings.next(), codings.next()) {
                (None, _) => None,
                (Some(coding), None) => Some(Decoder::new(coding, self.size_max)),
                (Some(_), Some(_)) => Some(None),
            }
        };
        match decoder {
            None => {}
            Some(None) => return unsupported(&request),
            Some(Some(decoder)) => {
                let body = request.take_body();
                if body.size() != Some(0) {
                    *request.body_mut() = Body::stream(Decompressed::new(body, decoder));
                    request.extensions_mut().insert(Decoded);
                }
            }
        }
        next.run(request).await
    }
}

fn unsupported(request: &Request) -> Response {
    let message = "the body's Content-Encoding is not one of gzip, deflate and br";
    Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
        .into_response_to(request.headers())
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br"))
}

/// Memory that refuses to grow beyond what a body may become.
struct Sink {
    out: Vec<u8>,
    left: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len()).ok_or(BodyError::TooLarge)?;
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Gzip(flate2::write::MultiGzDecoder<Sink>),
    Deflate { state: Decompress, sink: Sink, ended: bool },
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
}

impl Decoder {
    fn new(coding: &[u8], left: usize) -> Option<Self> {
        let sink = Sink { out: Vec::new(), left };
        Some(match coding.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Self::Gzip(flate2::write::MultiGzDecoder::new(sink)),
            b"deflate" => Self::Deflate { state: Decompress::new(true), sink, ended: false },
            b"br" => Self::Brotli(Box::new(brotli::DecompressorWriter::new(sink, 4096))),
            _ => return None,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Deflate { state, sink, ended } => inflate(state, sink, ended, bytes),
            Self::Brotli(decoder) => decoder.write_all(bytes),
        }
    }

    /// Makes sure that the body is whole.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate { ended: true, .. } => Ok(()),
            Self::Deflate { .. } => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Brotli(decoder) => decoder.close(),
        }
    }

    /// What came out since the last time.
    fn take(&mut self) -> Bytes {
        let sink = match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate { sink, .. } => sink,
            Self::Brotli(decoder) => decoder.get_mut(),
        };
        std::mem::take(&mut sink.out).into()
    }
}

/// By hand, because the crate's writer does not notice that the end is missing.
fn inflate(
    state: &mut Decompress,
    sink: &mut Sink,
    ended: &mut bool,
    mut bytes: &[u8],
) -> io::Result<()> {
    let mut room = [0; ROOM];
    loop {
        if *ended {
            let whole = bytes.is_empty();
            return if whole { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) };
        }
        let (read, written) = (state.total_in(), state.total_out());
        let status = state.decompress(bytes, &mut room, FlushDecompress::None)?;
        let read = usize::try_from(state.total_in() - read).map_err(io::Error::other)?;
        let written = usize::try_from(state.total_out() - written).map_err(io::Error::other)?;
        bytes = &bytes[read..];
        sink.write_all(&room[..written])?;
        *ended = status == Status::StreamEnd;
        if !*ended && bytes.is_empty() && written < ROOM {
            return Ok(());
        }
        if !*ended && read == 0 && written == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// The stream of a decompressed body.
struct Decompressed {
    body: Body,
    /// `None` once the body is over, or has failed.
    decoder: Option<Decoder>,
    ahead: Bytes,
    /// Whether it is the turn of other tasks.
    rests: bool,
}

impl Decompressed {
    fn new(body: Body, decoder: Decoder) -> Self {
        Self { body, decoder: Some(decoder), ahead: Bytes::new(), rests: false }
    }

    fn decompress(&mut self) -> io::Result<Bytes> {
        let piece = self.ahead.split_to(self.ahead.len().min(PIECE));
        let Some(decoder) = &mut self.decoder else { return Ok(Bytes::new()) };
        let written = decoder.write(&piece);
        let out = decoder.take();
        if let Err(error) = written {
            self.decoder = None;
            return Err(damaged(error));
        }
        self.rests = self.ahead.has_remaining();
        Ok(out)
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        let Some(mut decoder) = self.decoder.take() else { return Ok(Bytes::new()) };
        decoder.finish().map_err(damaged)?;
        Ok(decoder.take())
    }
}

impl Stream for Decompressed {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.decoder.is_none() {
            return Poll::Ready(None);
        }
        if self.ahead.has_remaining() {
            return Poll::Ready(Some(self.decompress()));
        }
        match self.body.poll_chunk(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.ahead = chunk;
                Poll::Ready(Some(self.decompress()))
            }
            Poll::Ready(Some(Err(error))) => {
                self.decoder = None;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(Some(self.finish())),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// An error of a decoder, in words for whoever sent the body.
fn damaged(error: io::Error) -> io::Error {
    if matches!(error.get_ref(), Some(cause) if cause.is::<BodyError>()) {
        return error;
    }
    let message = format!("the body does not match its Content-Encoding: {error}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
