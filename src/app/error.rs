//! Errors of handlers, and who sees them.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::rc::Rc;

use http::{Method, StatusCode};

use super::conditional::Unmet;
use super::extract::body;
use super::middleware::{Middleware, Next};
use super::rejection::{Rejection, refuse};
use super::respond::IntoResponse;
use crate::message::{Head, Headers, Request, Response};

/// Any error as an answer, so that a handler may use `?` on all of them.
///
/// What is made from another error is answered with 500 and no word of what it was: that is for
/// whoever listens to `tracing`, and for [`App::on_error`](crate::App::on_error). What is made by
/// [`new`](Self::new) says its sentence to the client, as a [`Rejection`] does; and a `Rejection`
/// or a failed condition that becomes an `Error` stays the answer that it was.
///
/// ```
/// use corelane::{App, Error, Path, spawn_blocking};
/// use http::StatusCode;
///
/// async fn line(Path(number): Path<usize>) -> Result<String, Error> {
///     // Two errors that are nobody's business.
///     let text = spawn_blocking(|| std::fs::read_to_string("/etc/hosts")).await??;
///     // One that is the client's.
///     let line = text.lines().nth(number);
///     let line = line.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "there is no such line"))?;
///     Ok(line.to_owned())
/// }
///
/// let app = App::new().get("/hosts/:number", line);
/// ```
// It is no `std::error::Error` itself, or it could not be made from all of those.
pub struct Error {
    answer: Answer,
    cause: Option<Rc<dyn StdError>>,
}

enum Answer {
    Refused(Rejection),
    Unmet(Unmet),
    Failed(StatusCode),
}

impl Error {
    /// An answer of this status with this sentence, which the client sees.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { answer: Answer::Refused(Rejection::new(status, message)), cause: None }
    }

    /// The same error with another status, such as 503 instead of 500.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.answer = match self.answer {
            Answer::Refused(refused) => {
                Answer::Refused(Rejection::new(status, refused.message().to_owned()))
            }
            Answer::Unmet(_) | Answer::Failed(_) => Answer::Failed(status),
        };
        self
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.answer {
            Answer::Refused(rejection) => rejection.status(),
            Answer::Unmet(unmet) => unmet.status(),
            Answer::Failed(status) => *status,
        }
    }

    /// The error that it was made from, if the client is not told of it.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref()
    }

    fn report(&self) {
        if let Some(cause) = &self.cause {
            tracing::error!(error = %Chain(&**cause), "a handler failed");
        }
    }
}

impl<E: StdError + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        if let Some(rejection) = any.downcast_ref::<Rejection>() {
            return Self { answer: Answer::Refused(rejection.clone()), cause: None };
        }
        if let Some(unmet) = any.downcast_ref::<Unmet>() {
            return Self { answer: Answer::Unmet(unmet.clone()), cause: None };
        }
        if let Some(rejection) = any.downcast_ref().and_then(body::refusal) {
            return Self { answer: Answer::Refused(rejection), cause: None };
        }
        let answer = Answer::Failed(StatusCode::INTERNAL_SERVER_ERROR);
        Self { answer, cause: Some(Rc::new(error)) }
    }
}

impl IntoResponse for Error {
    const NEGOTIATES: bool = true;

    fn into_response(self) -> Response {
        self.report();
        let response = match self.answer {
            Answer::Refused(rejection) => rejection.into_response(),
            Answer::Unmet(unmet) => unmet.into_response(),
            Answer::Failed(status) => Response::text(status, status.to_string()),
        };
        response.with_cause(self.cause)
    }

    fn into_response_to(self, headers: Headers<'_>) -> Response {
        self.report();
        let response = match self.answer {
            Answer::Refused(rejection) => rejection.into_response_to(headers),
            Answer::Unmet(unmet) => unmet.into_response(),
            Answer::Failed(status) => refuse(status, headers),
        };
        response.with_cause(self.cause)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.answer, &self.cause) {
            (_, Some(cause)) => write!(f, "{}: {}", self.status(), Chain(&**cause)),
            (Answer::Refused(rejection), None) => {
                write!(f, "{}: {}", self.status(), rejection.message())
            }
            (_, None) => write!(f, "{}", self.status()),
        }
    }
}

/// An error with what caused it.
struct Chain<'a>(&'a dyn StdError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut error = self.0;
        while let Some(cause) = error.source() {
            write!(f, ": {cause}")?;
            error = cause;
        }
        Ok(())
    }
}

/// An answer of 4xx or 5xx, on its way to the client: what [`App::on_error`](crate::App::on_error)
/// is told.
pub struct Failed {
    head: Rc<Head>,
    response: Response,
}

impl Failed {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The error that it came of, if it came of an [`Error`] that was made from another.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        self.response.cause()
    }

    /// The sentence for the client, if it is text or JSON as corelane makes it.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let body = self.response.body().as_whole()?;
        std::str::from_utf8(body).ok()
    }

    /// The method of the request.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path of the request, as it was received.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.text(self.head.path)
    }

    /// The headers of the request.
    #[must_use]
    pub fn headers(&self) -> Headers<'_> {
        self.head.headers()
    }

    /// The answer as it is, to be changed or sent on.
    #[must_use]
    pub fn into_response(self) -> Response {
        self.response
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.response
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {:?}", self.method(), self.path(), self.response)
    }
}

/// The middleware that tells an observer of errors.
pub(super) struct OnError<F>(pub(super) F);

impl<F, R> Middleware for OnError<F>
where
    F: AsyncFn(Failed) -> R + 'static,
    R: IntoResponse,
{
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let head = request.head();
        let response = next.run(request).await;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return response;
        }
        let failed = Failed { head: Rc::clone(&head), response };
        let answer = (self.0)(failed).await;
        if R::NEGOTIATES { answer.into_response_to(head.headers()) } else { answer.into_response() }
    }
}
