//! Extractors that may fail without refusing the request.

use std::convert::Infallible;

use crate::app::{FromRequest, FromRequestParts, Rejection};
use crate::message::Request;

/// `None` if the request does not have it ([`Rejection::missing`]); what it has wrong is refused
/// all the same.
impl<T: FromRequestParts<Rejection = Rejection>> FromRequestParts for Option<T> {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        unless_missing(T::from_request_parts(request).await)
    }
}

/// As for what leaves the body alone.
impl<T: FromRequest<Rejection = Rejection>> FromRequest for Option<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request) -> Result<Self, Rejection> {
        unless_missing(T::from_request(request).await)
    }
}

fn unless_missing<T>(extracted: Result<T, Rejection>) -> Result<Option<T>, Rejection> {
    match extracted {
        Err(rejection) if rejection.is_missing() => Ok(None),
        other => other.map(Some),
    }
}

/// Leaves it to the handler what to do with a rejection.
impl<T: FromRequestParts> FromRequestParts for Result<T, T::Rejection> {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Infallible> {
        Ok(T::from_request_parts(request).await)
    }
}

/// As for what leaves the body alone.
impl<T: FromRequest> FromRequest for Result<T, T::Rejection> {
    type Rejection = Infallible;

    async fn from_request(request: Request) -> Result<Self, Infallible> {
        Ok(T::from_request(request).await)
    }
}
