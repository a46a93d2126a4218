//! A part of what a handler has.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderValue};
use http::{Method, StatusCode};

use super::{ETag, IntoResponse};
use crate::app::conditional::{Validators, allows_range};
use crate::app::extract::FromRequestParts;
use crate::app::range::{Selection, select};
use crate::message::{Request, Response};

/// Which bytes the client wants of an answer, as an extractor: all of them, unless it is GET and
/// has a `Range`.
///
/// ```
/// use bytes::Bytes;
/// use corelane::{App, ByteRange, ETag};
///
/// async fn film(range: ByteRange) -> corelane::Response {
///     let film = Bytes::from_static(b"some megabytes");
///     let etag = ETag::of(&film);
///     range.of(film, &etag)
/// }
///
/// let app = App::new().get("/film", film);
/// ```
#[derive(Clone, Debug)]
pub struct ByteRange {
    range: Option<Box<[u8]>>,
    if_range: Option<Box<[u8]>>,
}

impl ByteRange {
    /// Those bytes: 206 and `Content-Range` with a part, 200 with all, 416 if what is wanted begins
    /// behind the end.
    ///
    /// Who asks for several ranges gets all of it, and so does who asks by `If-Range` for a part of
    /// another version than `etag`. RFC 9110, 14.2 leaves both to us. A date in `If-Range` is of no
    /// version.
    pub fn of<'a>(&self, bytes: impl Into<Bytes>, etag: impl Into<Option<&'a ETag>>) -> Response {
        const UNIT: HeaderValue = HeaderValue::from_static("bytes");
        let (bytes, etag) = (bytes.into(), etag.into());
        let current = Validators { etag, modified: None };
        let selection = match &self.range {
            Some(range) if allows_range(self.if_range.as_deref(), current) => {
                select(range, bytes.len() as u64)
            }
            _ => Selection::Whole,
        };
        let response = part(bytes, selection).with_header(ACCEPT_RANGES, UNIT);
        match etag {
            Some(etag) => response.with_etag(etag),
            None => response,
        }
    }
}

fn part(bytes: Bytes, selection: Selection) -> Response {
    let length = bytes.len();
    match selection {
        Selection::Whole | Selection::Several(_) => bytes.into_response(),
        Selection::One(range) => {
            let content = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            let index = |at| usize::try_from(at).expect("invariant: within the bytes' length");
            let part = bytes.slice(index(range.start)..index(range.end));
            with_content_range((StatusCode::PARTIAL_CONTENT, part).into_response(), content)
        }
        Selection::Unsatisfiable => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let text = "416 Range Not Satisfiable";
            with_content_range(Response::text(status, text), format!("bytes */{length}"))
        }
    }
}

fn with_content_range(response: Response, content: String) -> Response {
    let value = HeaderValue::try_from(content).expect("invariant: digits and visible ASCII");
    response.with_header(CONTENT_RANGE, value)
}

impl FromRequestParts for ByteRange {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        let headers = request.headers();
        // 14.2: "A server MUST ignore a Range header field received with a request method that is
        // unrecognized or for which range handling is not defined". GET alone has it.
        let asked = *request.method() == Method::GET;
        let range = headers.bytes("range").filter(|_| asked && headers.all("range").count() == 1);
        let if_range = headers.bytes("if-range");
        Ok(Self { range: range.map(Into::into), if_range: if_range.map(Into::into) })
    }
}
