//! What is asked of a body before it is read.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::app::Rejection;
use crate::message::{BodyError, Media, Request};

/// Reads the whole body. The rest of the request is gone before the wait begins.
pub(in crate::app) fn collect(
    mut request: Request,
) -> impl Future<Output = Result<Bytes, Rejection>> {
    let body = request.take_body();
    async move { body.collect().await.map_err(|error| broken(&error)) }
}

/// Why a body could not be read, as an answer.
pub(super) fn broken(error: &std::io::Error) -> Rejection {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let status = match cause {
        Some(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
        Some(BodyError::TimedOut) => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    };
    Rejection::new(status, error.to_string())
}

/// The refusal, if this error is that of a request's body.
pub(in crate::app) fn refusal(error: &std::io::Error) -> Option<Rejection> {
    error.get_ref()?.is::<BodyError>().then(|| broken(error))
}

/// Marks a request whose body has been decoded, whatever its `Content-Encoding` says.
pub(in crate::app) struct Decoded;

/// The `Content-Type`, if there is one that can be read.
pub(in crate::app) fn media(request: &Request) -> Option<Media<'_>> {
    request.headers().get(CONTENT_TYPE.as_str()).map(Media::new)
}

/// Refuses a body of another type than `fits` says, with 415; as missing if there is no body.
pub(in crate::app) fn expect(
    request: &Request,
    fits: fn(Media<'_>) -> bool,
    advice: &'static str,
) -> Result<(), Rejection> {
    const STATUS: StatusCode = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    match media(request) {
        Some(media) if fits(media) => check_text(request),
        None if request.body().size() == Some(0) => Err(Rejection::missing(STATUS, advice)),
        _ => Err(Rejection::new(STATUS, advice)),
    }
}

/// Refuses text that is not in UTF-8, or that was compressed, with 415.
pub(in crate::app) fn check_text(request: &Request) -> Result<(), Rejection> {
    let charset = media(request).and_then(Media::charset);
    if let Some(charset) = charset.filter(|charset| !is_utf8(charset)) {
        return Err(unsupported("charset", charset));
    }
    if request.extensions().get::<Decoded>().is_some() {
        return Ok(());
    }
    let codings = request.headers().all(CONTENT_ENCODING.as_str());
    let codings = codings.flat_map(|value| value.split(|byte| *byte == b','));
    let foreign = |coding: &&[u8]| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
    match codings.map(<[u8]>::trim_ascii).find(foreign) {
        Some(coding) => Err(unsupported("content encoding", &String::from_utf8_lossy(coding))),
        None => Ok(()),
    }
}

/// ASCII is UTF-8, too.
fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
}

fn unsupported(what: &str, which: &str) -> Rejection {
    let message = format!("unsupported {what} {which:?}");
    Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
}
