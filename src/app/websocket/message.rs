//! What goes over a WebSocket.

use std::io;

use bytes::Bytes;
use tungstenite::Error as Fault;
use tungstenite::error::CapacityError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

/// A message, whole: fragments have been put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Message> for tungstenite::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

/// Why a WebSocket was closed, as one side says to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// [RFC 6455, 7.4.1](https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1): 1000 is the usual
    /// end, 1001 that a side goes away; 4000 to 4999 are the application's own.
    pub code: u16,
    /// For people; at most 123 bytes.
    pub reason: String,
}

impl From<CloseFrame> for Close {
    fn from(frame: CloseFrame) -> Self {
        Self { code: frame.code.into(), reason: frame.reason.to_string() }
    }
}

/// Why a WebSocket has failed. The client has been told, as far as it could be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// A message is larger than the limit (1009).
    #[error("the client sent a message that is larger than the limit")]
    TooLarge,
    /// Text is not UTF-8 (1007).
    #[error("the client sent text that is not UTF-8")]
    NotText,
    /// The client does not keep to the protocol (1002).
    #[error("the client broke the protocol: {0}")]
    Protocol(String),
    /// Nothing has come for longer than the limit, no answer to a ping either.
    #[error("the client has gone silent")]
    TimedOut,
    /// The connection has been closed: nothing can be sent.
    #[error("the connection has been closed")]
    Closed,
    /// The connection has failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<Fault> for WebSocketError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::ConnectionClosed | Fault::AlreadyClosed => Self::Closed,
            Fault::Io(error) => Self::Io(error),
            Fault::Capacity(CapacityError::MessageTooLong { .. }) => Self::TooLarge,
            Fault::Utf8(_) => Self::NotText,
            Fault::Protocol(broken) => match broken {
                tungstenite::error::ProtocolError::SendAfterClosing => Self::Closed,
                broken => Self::Protocol(broken.to_string()),
            },
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl WebSocketError {
    /// What the client is told.
    pub(super) fn code(&self) -> Option<CloseCode> {
        match self {
            Self::TooLarge => Some(CloseCode::Size),
            Self::NotText => Some(CloseCode::Invalid),
            Self::Protocol(_) => Some(CloseCode::Protocol),
            Self::TimedOut => Some(CloseCode::Away),
            Self::Closed | Self::Io(_) => None,
        }
    }
}
