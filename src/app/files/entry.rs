//! A file, ready to be answered.

use std::cell::Cell;
use std::fs::File as StdFile;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_lite::{Stream, stream};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};

use super::Options;
use super::open::{Content, Loaded, Stamp};
use crate::app::coding::Coding;
use crate::app::conditional::{Conditional, Validators, Verdict, allows_range, last_modified};
use crate::app::range::{Selection, select};
use crate::app::rejection::refuse;
use crate::app::respond::ETag;
use crate::message::{Body, Request, Response};
use crate::rt::File;
use crate::sys::pages::Pages;

/// A large file is read and sent in pieces of so many bytes.
const PIECE: u64 = 256 * 1024;

/// See the [module](self).
pub(super) struct Entry {
    pub stamp: Stamp,
    pub coding: Option<Coding>,
    /// Whether another version would have another stamp.
    pub settled: bool,
    /// When it was last seen to be what is below the root, in milliseconds.
    pub checked: Cell<u64>,
    source: Source,
    etag: ETag,
    modified: SystemTime,
    /// The headers of 200.
    headers: Rc<HeaderMap>,
    /// Those of 304.
    unmodified: Rc<HeaderMap>,
}

enum Source {
    Small(Bytes),
    Pages(Pages),
    Open(File, u64),
}

impl Source {
    fn len(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Pages(pages) => pages.len(),
            Self::Open(_, length) => *length,
        }
    }

    fn part(&self, range: Range<u64>) -> Body {
        match self {
            Self::Small(bytes) => {
                let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
                bytes.slice(at(range.start)..at(range.end)).into()
            }
            Self::Pages(pages) => pages.slice(range).into(),
            Self::Open(file, _) => {
                let size = range.end - range.start;
                Body::sized(read(file.clone(), range), Some(size))
            }
        }
    }
}

/// A part of a file, as it is sent. A file that has become shorter meanwhile is an error.
fn read(file: File, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, range), async |(file, range)| {
        let wanted = (range.end - range.start).min(PIECE);
        if wanted == 0 {
            return Ok(None);
        }
        let buffer = vec![0; usize::try_from(wanted).unwrap_or_default()];
        let piece = file.read_at(buffer, range.start).await?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = range.start + piece.len() as u64..range.end;
        Ok(Some((Bytes::from(piece), (file, rest))))
    })
}

impl Entry {
    /// The answer to requests for `path`.
    pub(super) fn new(loaded: Loaded, path: &Path, options: &Options, now: u64) -> Self {
        let Loaded { content, stamp, coding, settled } = loaded;
        let source = match content {
            Content::Small(bytes) => Source::Small(bytes.into()),
            Content::Pages(copied) => Source::Pages(copied.into()),
            Content::Open(file) => Source::Open(File::from(StdFile::from(file)), stamp.size),
        };
        let suffix = coding.map_or("", Coding::name);
        let etag = if settled {
            ETag::strong(format!("{}{suffix}", stamp.tag()))
        } else {
            // Weak or not, two tags of one text are taken for the same version: what is settled has
            // another.
            ETag::weak(format!("{}{suffix}-u", stamp.tag()))
        };
        // RFC 9110, 8.8.2.1: no later than the answer.
        let modified = stamp.modified().min(SystemTime::now());
        let unmodified = unmodified(&etag, modified, options);
        let mut headers = unmodified.clone();
        headers.insert(CONTENT_TYPE, media_type(path));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        let (headers, unmodified) = (Rc::new(headers), Rc::new(unmodified));
        let checked = Cell::new(now);
        Self { stamp, coding, settled, checked, source, etag, modified, headers, unmodified }
    }

    /// How many bytes it keeps in memory; `None` if it is read as it is sent, and not kept.
    pub(super) fn weight(&self) -> Option<u64> {
        /// What is around the bytes of a file, roughly.
        const OVERHEAD: u64 = 2560;
        match &self.source {
            Source::Small(bytes) => Some(OVERHEAD + bytes.len() as u64),
            // Whole pages, and a descriptor with its inode.
            Source::Pages(pages) => Some(2 * OVERHEAD + pages.len().next_multiple_of(4096)),
            Source::Open(..) => None,
        }
    }

    /// The answer to this request, by its conditions and its range.
    pub(super) fn answer(&self, request: &Request) -> Response {
        let length = self.source.len();
        if !request.headers().iter().any(|(name, _)| asks_for_more(name.as_bytes())) {
            return self.part(0..length);
        }
        let validators = Validators { etag: Some(&self.etag), modified: Some(self.modified) };
        let conditional = Conditional::new(request.method(), request.headers());
        match conditional.verdict(Some(validators)) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                return Response::empty(StatusCode::NOT_MODIFIED)
                    .with_shared_headers(Rc::clone(&self.unmodified));
            }
            Verdict::PreconditionFailed => {
                return refuse(StatusCode::PRECONDITION_FAILED, request.headers());
            }
        }
        match selection(request, validators, length) {
            Selection::One(range) => {
                let content = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                self.part(range)
                    .with_status(StatusCode::PARTIAL_CONTENT)
                    .with_header(CONTENT_RANGE, ascii(content))
            }
            Selection::Unsatisfiable => {
                refuse(StatusCode::RANGE_NOT_SATISFIABLE, request.headers())
                    .with_header(CONTENT_RANGE, ascii(format!("bytes */{length}")))
            }
            // RFC 9110, 14.2 leaves that to us, and no browser asks for several.
            Selection::Whole | Selection::Several(_) => self.part(0..length),
        }
    }

    /// 200, with these bytes.
    fn part(&self, range: Range<u64>) -> Response {
        Response::new(self.source.part(range)).with_shared_headers(Rc::clone(&self.headers))
    }
}

/// Which bytes the client wants.
fn selection(request: &Request, current: Validators<'_>, length: u64) -> Selection {
    let headers = request.headers();
    match headers.bytes("range") {
        Some(range)
            if *request.method() == Method::GET
                && allows_range(headers.bytes("if-range"), current) =>
        {
            select(range, length)
        }
        _ => Selection::Whole,
    }
}

/// Whether this header makes a request more than plain.
fn asks_for_more(name: &[u8]) -> bool {
    let conditional = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"if-"));
    conditional || name.eq_ignore_ascii_case(b"range")
}

fn unmodified(etag: &ETag, modified: SystemTime, options: &Options) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, etag.to_value());
    headers.insert(LAST_MODIFIED, last_modified(modified));
    headers.insert(CACHE_CONTROL, options.cache_control());
    if options.precompressed {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    headers
}

/// What kind of file it is, by its name; text is UTF-8.
fn media_type(path: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream");
    let is_text = guess.starts_with("text/") || guess == "application/javascript";
    if is_text && !guess.contains(';') {
        return ascii(format!("{guess}; charset=utf-8"));
    }
    HeaderValue::from_static(guess)
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("invariant: visible ASCII and spaces")
}
