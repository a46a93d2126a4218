//! Conditional requests (RFC 9110, 13): what a client knows already need not be sent again, and
//! what has changed meanwhile must not be overwritten.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{ETAG, HeaderValue, LAST_MODIFIED};
use http::{Method, StatusCode};

use super::extract::FromRequestParts;
use super::respond::{ETag, IntoResponse};
use crate::message::{Headers, Request, Response};

/// The conditions under which a client wants an answer, as an extractor.
///
/// ```
/// use corelane::{App, Conditional, ETag, IntoResponse, Response, Unmet};
///
/// async fn page(conditional: Conditional) -> Result<Response, Unmet> {
///     let etag = ETag::weak("revision-7");
///     conditional.evaluate(&etag, None)?; // 304 if the client has it, before any work is done
///     Ok("a page that takes work to make".into_response().with_etag(&etag))
/// }
///
/// async fn replace(conditional: Conditional) -> Result<&'static str, Unmet> {
///     conditional.evaluate(&ETag::strong("7"), None)?; // 412 if `If-Match` names another revision
///     Ok("replaced")
/// }
///
/// let app = App::new().get("/", page).put("/", replace);
/// ```
#[derive(Clone, Debug)]
pub struct Conditional {
    /// GET or HEAD: what the client has need not be sent again.
    reads: bool,
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
}

/// The entity tags that a client names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    These(Vec<ETag>),
}

/// What is known of that which would be sent or changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    pub etag: Option<&'a ETag>,
    pub modified: Option<SystemTime>,
}

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    PreconditionFailed,
}

impl Conditional {
    pub(super) fn new(method: &Method, headers: Headers<'_>) -> Self {
        Self {
            reads: matches!(*method, Method::GET | Method::HEAD),
            if_match: tags(headers, "if-match"),
            if_none_match: tags(headers, "if-none-match"),
            if_modified_since: date(headers, "if-modified-since"),
            if_unmodified_since: date(headers, "if-unmodified-since"),
        }
    }

    /// Whether to go on, about something that exists. If neither its tag nor when it was changed is
    /// known, only `*` can be told.
    ///
    /// # Errors
    /// The client has it already (304), or it is not what the client thinks (412): return that as
    /// the answer. A 304 has the tag, or else the date. If the answer would have `Cache-Control`,
    /// `Expires`, `Content-Location` or `Vary`, a 304 should have them too (RFC 9110, 15.4.5):
    /// add them to the [`Response`] that it becomes, or have a middleware set them on both.
    pub fn evaluate<'a>(
        &self,
        etag: impl Into<Option<&'a ETag>>,
        modified: impl Into<Option<SystemTime>>,
    ) -> Result<(), Unmet> {
        let validators = Validators { etag: etag.into(), modified: modified.into() };
        self.verdict(Some(validators)).or_unmet(validators)
    }

    /// Whether to go on, about something that does not exist, such as what a PUT would make.
    ///
    /// # Errors
    /// The client wants to change what there is, and there is nothing (412).
    pub fn evaluate_missing(&self) -> Result<(), Unmet> {
        self.verdict(None).or_unmet(Validators { etag: None, modified: None })
    }

    /// What the conditions come to; `None` if there is nothing to be sent or changed. In the order
    /// of RFC 9110, 13.2.2.
    pub(super) fn verdict(&self, existing: Option<Validators<'_>>) -> Verdict {
        let etag = existing.and_then(|existing| existing.etag);
        let modified = existing.and_then(|existing| existing.modified);
        // 13.1.3: "MUST ignore [it] if the resource does not have a modification date available".
        let changed_after =
            |date: SystemTime| modified.map(|modified| seconds(modified) > seconds(date));
        let matches = |tags: &Tags, equal: fn(&ETag, &ETag) -> bool| match tags {
            Tags::Any => existing.is_some(),
            Tags::These(tags) => etag.is_some_and(|etag| tags.iter().any(|tag| equal(tag, etag))),
        };
        // 13.1.1: "An origin server MUST use the strong comparison function".
        let unchanged = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => matches(tags, ETag::strong_eq),
            (None, Some(date)) => changed_after(date) != Some(true),
            (None, None) => true,
        };
        if !unchanged {
            return Verdict::PreconditionFailed;
        }
        // 13.1.2: "A recipient MUST use the weak comparison function".
        match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) if !matches(tags, ETag::weak_eq) => Verdict::Proceed,
            (Some(_), _) if self.reads => Verdict::NotModified,
            (Some(_), _) => Verdict::PreconditionFailed,
            (None, Some(date)) if self.reads && changed_after(date) == Some(false) => {
                Verdict::NotModified
            }
            (None, _) => Verdict::Proceed,
        }
    }
}

impl FromRequestParts for Conditional {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(Self::new(request.method(), request.headers()))
    }
}

/// A condition of the client's that is not met; as an answer, 304 or 412. See [`Conditional`].
#[derive(Clone, Debug, thiserror::Error)]
#[error("{status}")]
pub struct Unmet {
    status: StatusCode,
    etag: Option<HeaderValue>,
    last_modified: Option<SystemTime>,
}

impl Unmet {
    /// 304 or 412.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Unmet {
    fn into_response(self) -> Response {
        if self.status == StatusCode::PRECONDITION_FAILED {
            return Response::text(self.status, "412 Precondition Failed");
        }
        let mut response = Response::empty(self.status);
        // 15.4.5: what the 200 would have had. A tag says more than a date.
        if let Some(etag) = self.etag {
            response = response.with_header(ETAG, etag);
        } else if let Some(modified) = self.last_modified {
            response = response.with_last_modified(modified);
        }
        response
    }
}

impl Verdict {
    fn or_unmet(self, validators: Validators<'_>) -> Result<(), Unmet> {
        let status = match self {
            Self::Proceed => return Ok(()),
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        };
        let etag = validators.etag.map(ETag::to_value);
        Err(Unmet { status, etag, last_modified: validators.modified })
    }
}

impl Response {
    /// Names this version of the answer, so that a client can ask whether there is another.
    ///
    /// ```
    /// use corelane::{ETag, Response};
    ///
    /// let response = Response::new("text").with_etag(&ETag::strong("7"));
    /// assert_eq!(response.headers()["etag"], "\"7\"");
    /// ```
    #[must_use]
    pub fn with_etag(self, etag: &ETag) -> Self {
        self.with_header(ETAG, etag.to_value())
    }

    /// Says when what is answered was changed, to the second.
    ///
    /// ```
    /// use corelane::Response;
    ///
    /// let response = Response::new("text").with_last_modified(std::time::UNIX_EPOCH);
    /// assert_eq!(response.headers()["last-modified"], "Thu, 01 Jan 1970 00:00:00 GMT");
    /// ```
    #[must_use]
    pub fn with_last_modified(self, modified: SystemTime) -> Self {
        self.with_header(LAST_MODIFIED, last_modified(modified))
    }
}

/// As the header says it. A clock that is beyond what it can say is cut to that.
pub(super) fn last_modified(modified: SystemTime) -> HeaderValue {
    // 31 December 9999, the last day of the format.
    let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let date = httpdate::fmt_http_date(modified.clamp(UNIX_EPOCH, latest));
    HeaderValue::try_from(date).expect("invariant: a date is ASCII")
}

/// Whether a range may be served to who has asked for it `If-Range` (13.1.5): only if all that it
/// has is of exactly this version.
pub(super) fn allows_range(if_range: Option<&[u8]>, current: Validators<'_>) -> bool {
    let Some(value) = if_range else { return true };
    if let Some(tag) = ETag::parse(value) {
        return current.etag.is_some_and(|etag| tag.strong_eq(etag));
    }
    // 13.1.5 and 8.8.2.2: a date says too little, what changes twice in a second keeps it. Whoever
    // got one from us got a tag as well.
    false
}

/// Dates in headers have no fractions. What is before 1970 is as old as that.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The tags of a header; `None` if it is not there. Those that are malformed match nothing.
fn tags(headers: Headers<'_>, name: &str) -> Option<Tags> {
    let mut these = None;
    for value in headers.all(name) {
        if value == b"*" {
            return Some(Tags::Any);
        }
        ETag::parse_list(value, these.get_or_insert_with(Vec::new));
    }
    these.map(Tags::These)
}

/// The date of a header; `None` if it is not there, malformed or there twice (13.1.3, 13.1.4).
fn date(headers: Headers<'_>, name: &str) -> Option<SystemTime> {
    let mut values = headers.all(name);
    let value = values.next().filter(|_| values.next().is_none())?;
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}
