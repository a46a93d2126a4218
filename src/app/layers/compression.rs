//! Smaller answers.

use std::rc::Rc;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, StatusCode};

use super::encoder::{Compressed, GZIP_LEVEL};
use super::field::{tokens, vary};
use crate::app::coding::Coding;
use crate::app::middleware::{Middleware, Next};
use crate::message::{Body, Headers, Request, Response};

/// Smaller bodies fit into one packet either way.
const SIZE_MIN: u64 = 1024;

/// Checksums of the bytes as they are sent.
const CHECKSUMS: [HeaderName; 2] =
    [HeaderName::from_static("content-digest"), HeaderName::from_static("content-md5")];

/// Compresses answers with zstd, brotli or gzip, as the client's `Accept-Encoding` prefers.
///
/// It compresses text of all kinds: `text/*`, JSON, XML, JavaScript, SVG, WebAssembly, fonts that
/// are not compressed already. It leaves alone what is shorter than 1 KiB, has a
/// `Content-Encoding`, is a range, or says `Cache-Control: no-transform`. A body is compressed
/// as it is sent, a millisecond at a time, so that other requests have their turns; a stream is
/// flushed whenever it has nothing more for the moment, so that server-sent events arrive as they
/// happen. A compressed answer has no `Content-Length`, and its `ETag` is weak, since
/// its bytes are others.
///
/// Do not compress what has a secret and a text of the client's choice beside each other: the
/// length gives the secret away (BREACH).
///
/// ```
/// use corelane::{App, Compression};
///
/// let app = App::new().get("/", async || "Hello, Cluster!".repeat(100)).wrap(Compression::new());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Compression {
    size_min: u64,
    gzip_level: u32,
}

impl Compression {
    /// Compresses bodies of 1 KiB and more.
    #[must_use]
    pub fn new() -> Self {
        Self { size_min: SIZE_MIN, gzip_level: GZIP_LEVEL }
    }

    /// Compresses bodies of this many bytes and more, and those whose length is unknown.
    #[must_use]
    pub fn size_min(mut self, bytes: u64) -> Self {
        self.size_min = bytes;
        self
    }

    /// How hard gzip tries, from 1, the least work, to 9, the fewest bytes; 6 if it is not set.
    ///
    /// # Panics
    /// It is none of these.
    #[must_use]
    pub fn gzip_level(mut self, level: u32) -> Self {
        assert!((1..=9).contains(&level), "gzip has the levels 1 to 9, not {level}");
        self.gzip_level = level;
        self
    }

    /// Whether there is something to be gained. What it depends on is not the client, so that each
    /// client is told the same `Vary`.
    fn suits(self, response: &Response) -> bool {
        let headers = response.headers();
        let status = response.status();
        let has_body = !status.is_informational()
            && !matches!(status.as_u16(), 204 | 205 | 304)
            && status != StatusCode::PARTIAL_CONTENT;
        has_body
            && !response.upgrades()
            && response.body().size().is_none_or(|size| size >= self.size_min.max(1))
            && !headers.contains_key(CONTENT_ENCODING)
            && !headers.contains_key(CONTENT_RANGE)
            && !CHECKSUMS.iter().any(|name| headers.contains_key(name))
            && !forbids(headers)
            && content_type(response).is_some_and(compresses)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for Compression {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let coding = Coding::acceptable(request.headers()).next();
        let connects = *request.method() == Method::CONNECT;
        let weakly = names_weakly(request.headers());
        let mut response = next.run(request).await;
        if response.status() == StatusCode::NOT_MODIFIED && !connects {
            // RFC 9110, 15.4.5: what the 200 would have had, as the client has it.
            vary(response.headers_mut(), "Accept-Encoding");
            if coding.is_some() && weakly {
                weaken(response.headers_mut());
            }
            return response;
        }
        if connects || !self.suits(&response) {
            return response;
        }
        vary(response.headers_mut(), "Accept-Encoding");
        let Some(coding) = coding else { return response };
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        headers.remove(CONTENT_LENGTH);
        headers.remove(ACCEPT_RANGES);
        weaken(headers);
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::stream(Compressed::new(body, coding, self.gzip_level));
        response
    }
}

/// Whether the client asks by a weak tag, as it has of what was compressed.
fn names_weakly(headers: Headers<'_>) -> bool {
    headers.all("if-none-match").any(|value| value.trim_ascii_start().starts_with(b"W/"))
}

fn forbids(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = values.flat_map(|value| tokens(value.as_bytes()));
    directives.any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

fn content_type(response: &Response) -> Option<&str> {
    let own = response.headers().get(CONTENT_TYPE).or_else(|| response.default_content_type());
    own?.to_str().ok()
}

/// Whether this media type is text, or bytes that are not compressed already.
fn compresses(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, name)) = essence.split_once('/') else { return false };
    let structured = ["+json", "+xml", "+text", "+yaml"].iter().any(|end| name.ends_with(end));
    structured
        || match kind {
            "text" => true,
            "application" => matches!(
                name,
                "json"
                    | "xml"
                    | "javascript"
                    | "x-javascript"
                    | "ecmascript"
                    | "wasm"
                    | "yaml"
                    | "toml"
                    | "graphql"
                    | "x-ndjson"
                    | "json-seq"
                    | "rtf"
                    | "sql"
                    | "x-sh"
                    | "x-www-form-urlencoded"
                    | "vnd.ms-fontobject"
                    | "x-font-ttf"
            ),
            "font" => matches!(name, "ttf" | "otf" | "collection" | "sfnt"),
            "image" => matches!(name, "bmp" | "x-icon" | "vnd.microsoft.icon"),
            _ => false,
        }
}

/// RFC 9110, 8.8.1: a strong validator changes with the bytes.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG) else { return };
    if tag.as_bytes().starts_with(b"\"") {
        let weak = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat());
        headers.insert(ETAG, weak.expect("invariant: a valid value behind two letters"));
    }
}
