//! What a test of an app needs: `corelane::test`.

mod call;
mod request;
mod response;
mod server;
#[cfg(test)]
mod tests;

pub use call::{block_on, call};
pub use request::TestRequest;
pub use response::TestResponse;
pub use server::TestServer;
