//! HTML forms.

use http::StatusCode;
use serde::de::DeserializeOwned;

use super::body;
use crate::app::{FromRequest, Rejection};
use crate::message::Request;

/// How many parameters a form may have: each costs far more than its bytes.
const PARAMETERS_MAX: usize = 1000;

/// The body of an HTML form, `application/x-www-form-urlencoded`, read into a type of yours.
///
/// Refuses another `Content-Type`, a charset other than UTF-8 and a `Content-Encoding` with 415,
/// more than 1000 parameters or a body beyond `limits.body_bytes` with 413, and what does not fit
/// the type with 422. Files come by [`Multipart`](crate::Multipart).
///
/// ```
/// use corelane::{App, Form};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Login {
///     name: String,
///     #[serde(default)]
///     stay: bool,
/// }
///
/// let app = App::new().post("/login", async |Form(login): Form<Login>| {
///     format!("{} {}", login.name, if login.stay { "stays" } else { "visits" })
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Form<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request) -> Result<Self, Rejection> {
        const ADVICE: &str =
            "the body must be sent with `Content-Type: application/x-www-form-urlencoded`";
        body::expect(&request, |media| media.is("application/x-www-form-urlencoded"), ADVICE)?;
        let bytes = body::collect(request).await?;
        if bytes.split(|byte| *byte == b'&').nth(PARAMETERS_MAX).is_some() {
            let message = format!("the form has more than {PARAMETERS_MAX} parameters");
            return Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        serde_urlencoded::from_bytes(&bytes).map(Self).map_err(|error| {
            Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the form: {error}"))
        })
    }
}
