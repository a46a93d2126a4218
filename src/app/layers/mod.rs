//! The middleware that comes with the library, each a value for `App::wrap`.
//!
//! A layer is one file: a public builder whose `Middleware::handle` runs per request. None of them
//! costs anything unless an app is wrapped in it. What they share is `field`: lists in headers.

mod auth;
mod body_limit;
mod cors;
mod field;
mod rate_limit;
mod request_id;
mod security;
#[cfg(test)]
mod tests;
mod timeout;

pub use auth::{BasicAuth, BearerAuth, same_secret};
pub use body_limit::BodyLimit;
pub use cors::Cors;
pub use rate_limit::RateLimit;
pub use request_id::{RequestId, SetRequestId};
pub use security::SecurityHeaders;
pub use timeout::RequestTimeout;
