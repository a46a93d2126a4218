//! The manager's side of a program's control socket: questions out, lines in, nothing ever waits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use crate::control::wire::{Ask, LINE_BYTES_MAX, Line, Question, Tell};
use crate::sys::rights;

/// Questions that a program may leave unanswered; it is not asked more then.
const UNANSWERED_MAX: usize = 32;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// A connection to a program.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    input: Vec<u8>,
    passed: Vec<OwnedFd>,
    asked: BTreeMap<u64, Purpose>,
    questions: u64,
}

/// What a program has said: to what question, and with what descriptors.
pub(super) type Told = (Option<Purpose>, Tell, Vec<OwnedFd>);

/// Why something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To know.
    Status,
    Metrics,
    Scale,
    Sockets,
    /// So that it be done.
    Tell,
}

impl Link {
    /// To the program that accepts there, or will.
    pub(super) fn connect(address: &SocketAddr) -> io::Result<Self> {
        let stream = UnixStream::connect_addr(address)?;
        stream.set_nonblocking(true)?;
        let (input, passed) = (Vec::new(), Vec::new());
        Ok(Self { stream, input, passed, asked: BTreeMap::new(), questions: 0 })
    }

    /// Asks; whether the question has got through.
    pub(super) fn ask(&mut self, ask: Ask, purpose: Purpose) -> bool {
        self.ask_with(ask, purpose, &[])
    }

    /// Asks, with descriptors.
    pub(super) fn ask_with(
        &mut self,
        ask: Ask,
        purpose: Purpose,
        descriptors: &[BorrowedFd<'_>],
    ) -> bool {
        if self.asked.len() >= UNANSWERED_MAX {
            return false;
        }
        self.questions += 1;
        let question = Question { number: self.questions, ask };
        let Ok(mut text) = serde_json::to_vec(&question) else { return false };
        text.push(b'\n');
        // A question is far shorter than what the kernel holds: it goes whole or not at all.
        match rights::send(&self.stream, &text, descriptors) {
            Ok(sent) if sent == text.len() => {
                self.asked.insert(self.questions, purpose);
                true
            }
            _ => false,
        }
    }

    /// Whether an answer to such a question is still to come.
    pub(super) fn waits_for(&self, purpose: Purpose) -> bool {
        self.asked.values().any(|other| *other == purpose)
    }

    /// What has come in; an error if the program has gone, or speaks nonsense.
    pub(super) fn hear(&mut self) -> io::Result<Vec<Told>> {
        let mut buffer = vec![0; READ_BYTES];
        let mut gone = false;
        loop {
            match rights::receive(&self.stream, &mut buffer, &mut self.passed) {
                // Its last words are heard all the same.
                Ok(0) => gone = true,
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if gone {
                break;
            }
            if self.input.len() > LINE_BYTES_MAX {
                return Err(io::Error::other("a line without an end"));
            }
        }
        let mut told = Vec::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let Line { number, tell } = serde_json::from_slice(&line)?;
            let more = matches!(&tell, Tell::Sockets { more: true, .. });
            let purpose = number.and_then(|number| {
                if more { self.asked.get(&number).copied() } else { self.asked.remove(&number) }
            });
            let passed = match &tell {
                Tell::Sockets { addresses, .. } => {
                    let count = addresses.len().min(self.passed.len());
                    self.passed.drain(..count).collect()
                }
                _ => Vec::new(),
            };
            told.push((purpose, tell, passed));
        }
        if gone && told.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(told)
    }

    /// Waits for the answer to one question, at most until then. For when nothing else can be done.
    pub(super) fn wait_for(
        &mut self,
        purpose: Purpose,
        until: Instant,
    ) -> io::Result<Vec<(Tell, Vec<OwnedFd>)>> {
        let mut answers = Vec::new();
        while self.waits_for(purpose) {
            let left = until.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            wait(self.as_fd(), left)?;
            let heard =
                self.hear()?.into_iter().filter(|(for_what, ..)| *for_what == Some(purpose));
            answers.extend(heard.map(|(_, tell, passed)| (tell, passed)));
        }
        Ok(answers)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn wait(descriptor: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&time))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn answers_find_their_questions_and_what_is_torn_waits_for_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mut link = Link::connect(&SocketAddr::from_pathname(path).unwrap()).unwrap();
        assert!(link.ask(Ask::Status, Purpose::Status) && link.ask(Ask::Alone, Purpose::Tell));
        let (mut program, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(program.try_clone().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"number":1,"ask":"status"}"#);
        program.write_all(b"{\"number\":2,\"tell\":\"done\"}\n{\"number\":nu").unwrap();
        let told = link.wait_for(Purpose::Tell, Instant::now() + Duration::from_secs(5)).unwrap();
        assert!(matches!(told.as_slice(), [(Tell::Done, _)]) && link.waits_for(Purpose::Status));
        program.write_all(b"ll,\"tell\":\"closed\"}\n").unwrap();
        let until = Instant::now() + Duration::from_millis(50);
        assert!(link.wait_for(Purpose::Status, until).is_err(), "it has not answered");
        program.write_all(b"nonsense\n").unwrap();
        while link.hear().is_ok() {}
        drop((program, lines));
        let mut rest = [0; 1];
        assert_eq!(link.stream.read(&mut rest).unwrap_or(0), 0);
        assert!(link.stream.write(b"x").is_err());
    }

    #[test]
    fn the_last_words_of_a_program_are_heard() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mut link = Link::connect(&SocketAddr::from_pathname(path).unwrap()).unwrap();
        let (mut program, _) = listener.accept().unwrap();
        program.write_all(b"{\"number\":null,\"tell\":\"closed\"}\n").unwrap();
        drop(program);
        assert!(matches!(link.hear().unwrap().as_slice(), [(None, Tell::Closed, _)]));
        assert!(link.hear().is_err(), "it has gone");
    }

    #[test]
    fn one_that_does_not_answer_is_not_asked_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut link = Link::connect(&SocketAddr::from_pathname(path).unwrap()).unwrap();
        let asked = (0..100).filter(|_| link.ask(Ask::Status, Purpose::Status)).count();
        assert_eq!(asked, UNANSWERED_MAX);
    }
}
