//! Who asks the manager, and waits for its answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Answer, Home, Verb};
use crate::h1::{AskedMethod, ReplyDecoder};

/// The longest answer: thousands of apps.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a manager answers whom it does not serve.
const FORBIDDEN: u16 = 403;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// How often, and after what pauses, it is looked whether one that has not answered is dead.
const DEATH_LOOKS: u32 = 20;
const DEATH_LOOK_EVERY: Duration = Duration::from_millis(5);

/// Asks the manager of one home.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    home: Home,
}

/// Why there is no answer. `Display` is one line, with a hint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No manager runs.
    #[error(
        "no manager runs in {home}; \
         hint: `corelane start FILE` or `corelane resurrect` starts one"
    )]
    NoManager {
        /// Its home.
        home: String,
    },
    /// It ended before it had answered.
    #[error(
        "the manager in {home} ended before it answered, what was asked may be done or not; \
         hint: `corelane resurrect` starts another, and `corelane list` shows the apps"
    )]
    Died {
        /// Its home.
        home: String,
    },
    /// One runs, for somebody else.
    #[error(
        "the manager in {home} does not answer this user: permission denied; hint: ask as its owner"
    )]
    Denied {
        /// Its home.
        home: String,
    },
    /// It went away, or spoke nonsense.
    #[error("the manager in {home} gave no answer: {problem}; hint: see {log}")]
    Broken {
        /// Its home.
        home: String,
        /// What happened.
        problem: String,
        /// Where it writes.
        log: String,
    },
}

impl Client {
    pub(crate) fn new(home: &Home) -> Self {
        Self { socket: home.socket(), home: home.clone() }
    }

    /// Has the manager do something, and waits until it is done, however long that takes.
    pub(crate) fn ask(&self, verb: &Verb) -> Result<Answer, ClientError> {
        let body = serde_json::to_vec(verb).map_err(|error| self.broken(&error))?;
        self.send("POST", "/v1/verb", &body)
    }

    /// What the manager has at a path.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send("GET", path, &[])
    }

    fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<T, ClientError> {
        let (status, body) = self.exchange(method, path, body)?;
        if status == FORBIDDEN {
            return Err(ClientError::Denied { home: self.home.path().display().to_string() });
        }
        serde_json::from_slice(&body).map_err(|error| {
            let text = String::from_utf8_lossy(&body);
            let text: String = text.chars().take(200).collect();
            self.broken(&format!("status {status}, {error}: {text}"))
        })
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let mut stream = UnixStream::connect(&self.socket).map_err(|error| self.refused(&error))?;
        let length = body.len();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: corelane\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        let answer = stream.write_all(&request).and_then(|()| receive(&mut stream));
        answer.map_err(|error| self.interrupted(&error))
    }

    /// The connection has ended before the answer had: is there still a manager?
    fn interrupted(&self, error: &io::Error) -> ClientError {
        for _ in 0..DEATH_LOOKS {
            match UnixStream::connect(&self.socket).map_err(|error| self.refused(&error)) {
                Err(ClientError::NoManager { home }) => return ClientError::Died { home },
                // The sockets of one that dies are closed one after another.
                _ => thread::sleep(DEATH_LOOK_EVERY),
            }
        }
        self.broken(error)
    }

    fn refused(&self, error: &io::Error) -> ClientError {
        let home = self.home.path().display().to_string();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoManager { home }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { home },
            _ => self.broken(error),
        }
    }

    fn broken(&self, problem: &impl ToString) -> ClientError {
        ClientError::Broken {
            home: self.home.path().display().to_string(),
            problem: problem.to_string(),
            log: self.home.manager_log().display().to_string(),
        }
    }
}

/// The status of the answer that comes in.
///
/// # Errors
/// There comes none, or nonsense.
pub(crate) fn status_of(stream: &mut impl Read) -> io::Result<u16> {
    receive(stream).map(|(status, _)| status)
}

/// The status and the body of one answer.
fn receive(stream: &mut impl Read) -> io::Result<(u16, Vec<u8>)> {
    let mut decoder = ReplyDecoder::default();
    let (mut input, mut body) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::Error::other("it ended the connection"));
        }
        input.extend_from_slice(&buffer[..length]);
        loop {
            let piece = decoder.decode(&input, AskedMethod::Other).map_err(io::Error::other)?;
            body.extend_from_slice(&input[piece.payload.clone()]);
            input.drain(..piece.consumed);
            if let Some(head) = piece.done {
                return Ok((head.status, body));
            }
            if body.len() > ANSWER_BYTES_MAX {
                return Err(io::Error::other("the answer is endless"));
            }
            if piece.consumed == 0 {
                break;
            }
        }
    }
}
