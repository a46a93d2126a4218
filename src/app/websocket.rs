//! WebSocket (RFC 6455), the server's side.
//!
//! The `handshake` is an extractor; its answer hands the connection over to a `socket`, which
//! drives tungstenite's protocol over it.

mod handshake;
mod message;
mod socket;

pub use handshake::{HandshakeError, WebSocketUpgrade};
pub use message::{Close, Message, WebSocketError};
pub use socket::WebSocket;
