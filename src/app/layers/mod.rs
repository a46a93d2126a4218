//! The middleware that comes with the library, each a value for `App::wrap`.
//!
//! A layer is one file: a public builder whose `Middleware::handle` runs per request. None of them
//! costs anything unless an app is wrapped in it. What they share is `field`: lists in headers, and
//! the codings of bodies. `encoder` is the stream within `compression`; `access_log` has its
//! lines made by `log_line` and written by the thread of `log_writer`.

mod access_log;
mod auth;
mod body_limit;
mod compression;
mod cors;
mod decompression;
mod encoder;
mod field;
mod log_line;
mod log_writer;
mod rate_limit;
mod request_id;
mod security;
#[cfg(test)]
mod tests;
mod timeout;

pub use access_log::AccessLog;
pub use auth::{BasicAuth, BearerAuth, same_secret};
pub use body_limit::BodyLimit;
pub use compression::Compression;
pub use cors::Cors;
pub use decompression::Decompression;
pub use log_writer::LogWriter;
pub use rate_limit::RateLimit;
pub use request_id::{RequestId, SetRequestId};
pub use security::SecurityHeaders;
pub use timeout::RequestTimeout;
