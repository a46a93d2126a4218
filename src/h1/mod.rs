//! HTTP/1.0 and HTTP/1.1 as bytes, after RFC 9110 and RFC 9112: no I/O, no clock, no tasks.

mod body;
mod chunk;
mod refusal;
mod syntax;
mod trailer;

pub(crate) use body::{BodyDecoder, BodyLength, Piece};
pub(crate) use refusal::Refusal;
