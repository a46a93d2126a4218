//! JSON, in and out.

use http::StatusCode;
use http::header::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::extract::{FromRequest, Rejection, collect};
use super::respond::IntoResponse;
use crate::message::{Request, Response};

/// A JSON body: of the request as an extractor, of the answer as a handler's output.
///
/// As an extractor it refuses a `Content-Type` that is not JSON with 415, what is not JSON with
/// 400, and JSON that does not fit the type with 422.
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
        if !is_json(request.headers().get("content-type").unwrap_or_default()) {
            let message = "the body must be sent with `Content-Type: application/json`";
            return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let bytes = collect(request).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let status = match error.classify() {
                Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                Category::Syntax | Category::Eof | Category::Io => StatusCode::BAD_REQUEST,
            };
            Rejection::new(status, format!("the JSON body: {error}"))
        })
    }
}

/// Whether a `Content-Type` is `application/json` or `application/...+json`.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else { return false };
    subtype == "json" || subtype.ends_with("+json")
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => Response::new(bytes).with_content_type(JSON),
            Err(error) => {
                let message = format!("the answer could not be written as JSON: {error}");
                Rejection::bug(message).into_response()
            }
        }
    }
}
