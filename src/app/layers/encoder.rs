//! A body that is compressed as it is sent.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use brotli::enc::BrotliEncoderParams;
use bytes::{Buf as _, Bytes};
use flate2::write::GzEncoder;
use futures_lite::Stream;

use crate::app::coding::Coding;
use crate::message::Body;

/// How much is compressed before the clock is looked at: about a millisecond at the usual levels.
const PIECE: usize = 64 * 1024;
/// How long may be compressed before other tasks have their turn.
const SLICE: Duration = Duration::from_millis(1);
/// So much of what came out is sent at a time, in bytes.
const SENT: usize = 64 * 1024;

/// Effort and memory for answers made while the client waits. Each coding's default is for files
/// compressed once: brotli's takes seconds for a MiB. A window of 256 KiB loses little of an
/// answer's usual size and keeps an encoder below 2 MiB.
pub(super) const GZIP_LEVEL: u32 = 6;
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
    fn new(coding: Coding, gzip_level: u32) -> io::Result<Self> {
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
                Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(gzip_level)))
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

    /// How much came out since the last time.
    fn len(&self) -> usize {
        match self {
            Self::Zstd(encoder) => encoder.get_ref().len(),
            Self::Brotli(encoder) => encoder.get_ref().len(),
            Self::Gzip(encoder) => encoder.get_ref().len(),
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
    gzip_level: u32,
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
    pub(super) fn new(body: Body, coding: Coding, gzip_level: u32) -> Self {
        let (ahead, stage) = (Bytes::new(), Stage::Fresh);
        Self { body, coding, gzip_level, stage, ahead, unflushed: false, rests: false }
    }

    fn encoder(&mut self) -> io::Result<Option<&mut Encoder>> {
        if let Stage::Fresh = self.stage {
            self.stage = Stage::Running(Box::new(Encoder::new(self.coding, self.gzip_level)?));
        }
        Ok(match &mut self.stage {
            Stage::Running(encoder) => Some(encoder),
            Stage::Fresh | Stage::Done => None,
        })
    }

    /// Compresses what the body gave, piece by piece, until there is enough to be sent or it is
    /// the turn of other tasks: an encoder's tables are in the cache as long as no other runs.
    fn compress(&mut self, begun: Instant) -> io::Result<Option<Bytes>> {
        while self.ahead.has_remaining() {
            let piece = self.ahead.split_to(self.ahead.len().min(PIECE));
            self.unflushed = true;
            let Some(encoder) = self.encoder()? else { return Ok(None) };
            encoder.write(&piece)?;
            let (enough, late) = (encoder.len() >= SENT, begun.elapsed() >= SLICE);
            if enough || late {
                let compressed = encoder.take();
                self.rests = late;
                return Ok(Some(compressed));
            }
        }
        Ok(None)
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
        let begun = Instant::now();
        loop {
            if let Some(compressed) = self.compress(begun).transpose() {
                return Poll::Ready(Some(compressed));
            }
            match self.body.poll_chunk(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.ahead = chunk,
                Poll::Ready(Some(Err(error))) => {
                    self.stage = Stage::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return Poll::Ready(Some(self.finish())),
                // The body has nothing more for now: its client gets all there is, each event when
                // it happens.
                Poll::Pending if self.unflushed => return Poll::Ready(Some(self.flush())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
