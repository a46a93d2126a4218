//! An app, without a socket.

use super::{TestRequest, TestResponse};
use crate::app::App;
use crate::rt::{self, Options};
use crate::sys::limits::Limits;

/// Runs a future as a worker would, on this thread, until it is done: it may sleep, spawn tasks,
/// read files and do blocking work.
///
/// ```
/// use corelane::test::block_on;
///
/// let sum = block_on(async { corelane::spawn_blocking(|| 20 + 22).await });
/// assert_eq!(sum.unwrap(), 42);
/// ```
///
/// # Panics
/// The future does, or a task that it has spawned; or `io_uring` is not to be had.
pub fn block_on<F: Future + 'static>(future: F) -> F::Output
where
    F::Output: 'static,
{
    // Each executor leaves a descriptor behind, and a test may call often.
    Limits::raise();
    match rt::run(&Options::new("test"), move || future) {
        Ok(output) => output,
        Err(end) => panic!("{end}"),
    }
}

/// Has an app answer one request, without a socket. The app is made for this; hooks such as
/// [`App::on_start`] are not run.
///
/// ```
/// use corelane::test::{TestRequest, call};
/// use corelane::{App, Path};
///
/// let app = || App::new().get("/users/:id", async |Path(id): Path<u64>| format!("user {id}"));
/// assert_eq!(call(app, TestRequest::get("/users/7")).text(), "user 7");
/// assert_eq!(call(app, TestRequest::get("/users/ann")).status(), 400);
/// ```
///
/// # Panics
/// A handler does; or the body of the answer fails.
pub fn call(app: impl FnOnce() -> App + 'static, request: TestRequest) -> TestResponse {
    block_on(async move {
        let mut response = app().call(request.into()).await;
        let body = std::mem::take(response.body_mut()).collect().await;
        let body = body.unwrap_or_else(|error| panic!("the body of the answer failed: {error}"));
        TestResponse::of(&response, body)
    })
}
