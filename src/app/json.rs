//! JSON, in and out.

use std::cell::Cell;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::extract::{FromRequest, body};
use super::rejection::Rejection;
use super::respond::IntoResponse;
use crate::message::{Media, Request, Response};

/// A JSON body: of the request as an extractor, of the answer as a handler's output.
///
/// As an extractor it refuses a `Content-Type` that is not JSON, a charset other than UTF-8 and a
/// `Content-Encoding` with 415, a body beyond `limits.body_bytes` with 413, what is not JSON with
/// 400, and JSON that does not fit the type with 422; the last two with line and column.
///
/// ```
/// use corelane::{App, Json};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// struct User {
///     name: String,
/// }
///
/// let app = App::new().post("/users", async |Json(user): Json<User>| Json(user));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Json<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request) -> Result<Self, Rejection> {
        const ADVICE: &str = "the body must be sent with `Content-Type: application/json`";
        body::expect(&request, is_json, ADVICE)?;
        let bytes = body::collect(request).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let status = match error.classify() {
                Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                Category::Syntax | Category::Eof | Category::Io => StatusCode::BAD_REQUEST,
            };
            Rejection::new(status, format!("the JSON body: {error}"))
        })
    }
}

fn is_json(media: Media<'_>) -> bool {
    media.is("application/json") || media.is("+json") && media.is("application/*")
}

/// The memory that JSON is written into is kept for the next answer up to this size, in bytes.
const SCRATCH_KEPT_MAX: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Writes JSON into memory that has grown for the answers before it, and copies that once: growing
/// anew each time would copy more, and ask for memory several times. A `Serialize` that comes back
/// here finds no scratch, and grows its own.
fn write<T: Serialize>(value: &T) -> serde_json::Result<Bytes> {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    serde_json::to_writer(&mut scratch, value)?;
    if scratch.len() > SCRATCH_KEPT_MAX {
        return Ok(scratch.into());
    }
    let bytes = Bytes::copy_from_slice(&scratch);
    scratch.shrink_to(SCRATCH_KEPT_MAX);
    SCRATCH.set(scratch);
    Ok(bytes)
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        match write(&self.0) {
            Ok(bytes) => Response::new(bytes).with_content_type(JSON),
            Err(error) => {
                let message = format!("the answer could not be written as JSON: {error}");
                Rejection::bug(message).into_response()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes JSON while it is written as JSON.
    struct Nested;

    impl Serialize for Nested {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let inner = write(&[1, 2]).map_err(serde::ser::Error::custom)?;
            serializer.serialize_bytes(&inner)
        }
    }

    #[test]
    fn answers_do_not_show_what_was_written_before_them() {
        let long = "x".repeat(SCRATCH_KEPT_MAX);
        for _ in 0..2 {
            assert_eq!(write(&"a longer one").unwrap(), "\"a longer one\"");
            assert_eq!(write(&7).unwrap(), "7");
            assert_eq!(write(&Nested).unwrap(), "[91,49,44,50,93]");
            assert_eq!(write(&(1, Nested)).unwrap(), "[1,[91,49,44,50,93]]");
            assert_eq!(write(&long).unwrap(), format!("\"{long}\""));
            assert!(SCRATCH.take().capacity() <= SCRATCH_KEPT_MAX);
        }
    }
}
