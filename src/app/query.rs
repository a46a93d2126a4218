//! The query of the request target.

use serde::de::DeserializeOwned;

use super::extract::FromRequestParts;
use super::rejection::Rejection;
use crate::message::Request;

/// The query, read into a type of yours; 400 if it does not fit. A missing query is an empty one.
///
/// ```
/// use corelane::{App, Query};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Page {
///     #[serde(default)]
///     number: u32,
///     search: Option<String>,
/// }
///
/// let app = App::new().get("/users", async |Query(page): Query<Page>| {
///     format!("page {} of {}", page.number, page.search.as_deref().unwrap_or("all"))
/// });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts for Query<T> {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        serde_urlencoded::from_str(request.query().unwrap_or_default())
            .map(Self)
            .map_err(|error| Rejection::bad_request(format!("the query: {error}")))
    }
}
