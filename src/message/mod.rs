//! What a request and an answer are, whatever the wire format.
//!
//! These types name no HTTP version and do no I/O: a request's headers are ranges into the head as
//! it was received, an answer's body is whole or streamed, and an upgraded connection is a plain
//! byte stream.

mod body;
mod channel;
mod contained;
mod extensions;
mod head;
mod media;
mod request;
mod response;
mod upgrade;

pub use body::{Body, BodyError};
pub(crate) use channel::{Feeder, channel};
pub(crate) use contained::{Contained, discard};
pub use extensions::Extensions;
pub use head::Headers;
pub(crate) use head::{Field, Head, Span};
pub(crate) use media::Media;
pub(crate) use request::{Captures, PARAMS_MAX, Route};
pub use request::{Params, Peer, Request, Scheme};
pub(crate) use response::Parts;
pub use response::Response;
pub(crate) use upgrade::Handover;
pub use upgrade::Upgraded;
