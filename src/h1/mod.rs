//! HTTP/1.0 and HTTP/1.1 as bytes, after RFC 9110 and RFC 9112: no I/O, no clock, no tasks.

mod answer;
mod body;
mod chunk;
mod encode;
mod refusal;
mod syntax;
#[cfg(test)]
mod tests;
mod trailer;

pub(crate) use answer::{After, AnswerLength, Asked, AskedMethod, Framing};
pub(crate) use body::{BodyDecoder, BodyLength, Piece};
pub(crate) use encode::{
    CHUNK_END, CONTINUE, LAST_CHUNK, encode_chunk, encode_chunk_head, encode_head, encode_refusal,
};
pub(crate) use refusal::Refusal;
