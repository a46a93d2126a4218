//! HTTP/1.0 and HTTP/1.1 as bytes, after RFC 9110 and RFC 9112: no I/O, no clock, no tasks.
//!
//! A connection feeds received bytes to a [`HeadDecoder`], then the body's bytes to a
//! [`BodyDecoder`], asks [`Framing::of`] how the answer is to be delimited and whether the
//! connection survives it, and writes the answer's head with [`encode_head`]. Once its buffers are
//! warm, none of this allocates.
//!
//! The other way round, a client feeds what it receives to a [`ReplyDecoder`].
//!
//! One rule stands above the others: whatever two parties could read in two ways is refused, with
//! a [`Refusal`] that names the rule. Nothing is repaired or guessed at.

mod answer;
mod authority;
mod body;
mod chunk;
mod encode;
mod facts;
mod head;
mod refusal;
mod reply;
mod request_line;
mod syntax;
mod target;
#[cfg(test)]
mod tests;
mod trailer;

pub(crate) use answer::AskedMethod;
pub(crate) use answer::{After, AnswerLength, Asked, Framing};
pub(crate) use body::{BodyDecoder, BodyLength};
pub(crate) use encode::{CONTINUE, LAST_CHUNK, encode_chunk, encode_head, encode_refusal};
pub(crate) use head::{Decoded, HeadDecoder, HeadLimits};
pub(crate) use refusal::Refusal;
pub(crate) use reply::ReplyDecoder;
