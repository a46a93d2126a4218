//! A body that is compressed as it is sent.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::enc::BrotliEncoderParams;
use bytes::{Buf as _, Bytes};
use flate2::write::GzEncoder;
use futures_lite::Stream;

use super::field::Coding;
use crate::message::Body;

/// How much is compressed before other tasks have their turn: about a third of a millisecond.
const PIECE: usize = 16 * 1024;

/// Effort and memory for answers made while the client waits. Each coding's default is for files
/// compressed once: brotli's takes seconds for a MiB. A window of 256 KiB loses little of an
/// answer's usual size and keeps an encoder below 2 MiB.
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: i32 = 4;
const ZSTD_LEVEL: i32 = 3;
const WINDOW_LOG: u8 = 18;

/// One of the encoders, each writing into memory.
enum Encoder {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Encoder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW_LOG.into())?;
                Self::Zstd(encoder)
            }
            Coding::Brotli => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: WINDOW_LOG.into(),
                    ..BrotliEncoderParams::default()
                };
                let writer = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
                Self::Brotli(Box::new(writer))
            }
            Coding::Gzip => {
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    /// Has all that was written come out.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Zstd(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }

    /// What came out since the last time.
    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Gzip(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Zstd(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Gzip(encoder) => encoder.finish()?,
        }
        .into())
    }
}

/// The stream of a compressed body. Its encoder is made when the first bytes are asked for, so that
/// an answer to HEAD has none.
pub(super) struct Compressed {
    body: Body,
    coding: Coding,
    stage: Stage,
    /// What the body gave and has not been compressed.
    ahead: Bytes,
    /// Whether the encoder holds back what the client could have.
    unflushed: bool,
    /// Whether it is the turn of other tasks.
    rests: bool,
}

enum Stage {
    Fresh,
    Running(Box<Encoder>),
    Done,
}

impl Compressed {
    pub(super) fn new(body: Body, coding: Coding) -> Self {
        let (ahead, stage) = (Bytes::new(), Stage::Fresh);
        Self { body, coding, stage, ahead, unflushed: false, rests: false }
    }

    fn encoder(&mut self) -> io::Result<Option<&mut Encoder>> {
        if let Stage::Fresh = self.stage {
            self.stage = Stage::Running(Box::new(Encoder::new(self.coding)?));
        }
        Ok(match &mut self.stage {
            Stage::Running(encoder) => Some(encoder),
            Stage::Fresh | Stage::Done => None,
        })
    }

    /// Compresses one piece of what the body gave.
    fn compress(&mut self) -> io::Result<Bytes> {
        let piece = self.ahead.split_to(self.ahead.len().min(PIECE));
        self.unflushed = true;
        let Some(encoder) = self.encoder()? else { return Ok(Bytes::new()) };
        encoder.write(&piece)?;
        Ok(encoder.take())
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        self.unflushed = false;
        let Some(encoder) = self.encoder()? else { return Ok(Bytes::new()) };
        encoder.flush()?;
        Ok(encoder.take())
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        self.encoder()?;
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Running(encoder) => encoder.finish(),
            Stage::Fresh | Stage::Done => Ok(Bytes::new()),
        }
    }
}

impl Stream for Compressed {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Stage::Done = self.stage {
            return Poll::Ready(None);
        }
        if self.ahead.has_remaining() {
            self.rests = true;
            return Poll::Ready(Some(self.compress()));
        }
        match self.body.poll_chunk(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                self.ahead = chunk;
                Poll::Ready(Some(self.compress()))
            }
            Poll::Ready(Some(Err(error))) => {
                self.stage = Stage::Done;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(Some(self.finish())),
            // The body has nothing more for now: its client gets all there is, each event when it
            // happens.
            Poll::Pending if self.unflushed => Poll::Ready(Some(self.flush())),
            Poll::Pending => Poll::Pending,
        }
    }
}
