//! Why a request is not served.

use http::StatusCode;

/// Why a request is refused before any handler sees it. The connection closes behind the answer:
/// after a message that was not understood nobody knows where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// The rule that the request broke; it becomes the body of the answer.
    pub reason: &'static str,
}

impl Refusal {
    /// 408: the head did not arrive in time.
    pub(crate) const HEAD_TIMED_OUT: Self =
        Self::new(StatusCode::REQUEST_TIMEOUT, "the request's head took too long");
    /// 503: more connections than the limit.
    pub(crate) const OVERLOADED: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many connections");

    pub(super) const BARE_LF: Self = Self::bad_request("a line must end with CR LF, not LF alone");
    pub(super) const BARE_CR: Self = Self::bad_request("CR must be followed by LF");
    pub(super) const BODY_TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than the limit");
    pub(super) const LINE_TOO_LONG: Self =
        Self::new(StatusCode::URI_TOO_LONG, "the request line is longer than the limit");
    pub(super) const HEAD_TOO_LONG: Self =
        Self::too_many_fields("the head is longer than the limit");

    /// This status, for this reason.
    pub(crate) const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }

    pub(super) const fn bad_request(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) const fn too_many_fields(reason: &'static str) -> Self {
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason)
    }
}
