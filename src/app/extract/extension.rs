//! What middleware has attached to a request.

use std::any::type_name;
use std::ops::Deref;

use crate::app::{FromRequestParts, Rejection};
use crate::message::Request;

/// A copy of what middleware has attached to the request by
/// [`extensions_mut`](crate::Request::extensions_mut): what Express keeps in `res.locals`.
///
/// A request without it is answered with 500, since the middleware that should attach it does not
/// stand around this handler; `Option<Extension<T>>` does without.
///
/// ```
/// use std::rc::Rc;
/// use corelane::{App, Extension, Next, Request, Response};
///
/// struct User { name: String }
///
/// async fn log_in(mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(Rc::new(User { name: "Ann".to_owned() }));
///     next.run(request).await
/// }
///
/// let app = App::new()
///     .get("/me", async |user: Extension<Rc<User>>| user.name.clone())
///     .wrap(log_in);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension<T>(pub T);

impl<T> Deref for Extension<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone + 'static> FromRequestParts for Extension<T> {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        request.extensions().get::<T>().cloned().map(Self).ok_or_else(|| {
            let name = type_name::<T>();
            Rejection::missing_bug(format!("no middleware has attached a `{name}` to the request"))
        })
    }
}
