//! The clients: one thread each, with a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::question::{Book, Miss, PATIENCE, Question, receive_end};
use crate::tally::Tally;

/// What one client rests between two requests. A soak is long and not fast: the machine should
/// have time left for the server, and the kernel ports for new connections.
const REST: Duration = Duration::from_millis(1);
const REST_OF_THE_RARE: Duration = Duration::from_millis(20);
/// Between two bytes of one that is slow.
const BYTE_EVERY: Duration = Duration::from_millis(10);
/// How many requests are sent in one piece.
const PIPELINED: usize = 16;
/// How often one that keeps its connection asks before it takes another: who stays for ever ends up
/// on the worker that new connections, and with them the panics, are kept away from.
const TURNS_MAX: usize = 500;
/// Of so many requests of one that keeps its connection, one is answered after a while.
const SLOW_OF: usize = 64;
/// How many of the bytes of a slow client are sent one by one.
const SLOW_BYTES: usize = 48;

/// How a client behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Asks again and again over one connection, with and without a body.
    KeepAlive,
    /// Has the server close after each request.
    OneRequest,
    /// Sends requests in pieces of 16.
    Pipelined,
    /// Sends the head of a request byte by byte.
    Slow,
    /// Resets the connection in the middle of a request, or of its answer.
    Resetting,
    /// Sends what is no request.
    Malformed,
    /// Has a handler panic, which must end nobody else's connection.
    HandlerPanic,
    /// Has an executor panic.
    Panic,
}

impl Kind {
    /// All but the last, which comes when it is due.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::KeepAlive,
        Kind::OneRequest,
        Kind::Pipelined,
        Kind::Slow,
        Kind::Resetting,
        Kind::Malformed,
        Kind::HandlerPanic,
    ];

    /// How many there are.
    pub(crate) fn clients(self) -> usize {
        match self {
            Kind::KeepAlive | Kind::Slow => 8,
            Kind::OneRequest | Kind::Pipelined => 4,
            Kind::Resetting | Kind::Malformed => 2,
            Kind::HandlerPanic | Kind::Panic => 1,
        }
    }

    /// What it is called in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::KeepAlive => "keep-alive",
            Kind::OneRequest => "one request per connection",
            Kind::Pipelined => "pipelined by 16",
            Kind::Slow => "slow, byte by byte",
            Kind::Resetting => "resetting",
            Kind::Malformed => "malformed",
            Kind::HandlerPanic => "handler panic",
            Kind::Panic => "executor panic",
        }
    }
}

/// One client.
pub(crate) struct Seat<'soak> {
    pub(crate) kind: Kind,
    pub(crate) number: usize,
    pub(crate) address: SocketAddr,
    pub(crate) book: &'soak Book,
    pub(crate) tally: &'soak Tally,
    pub(crate) stop: &'soak AtomicBool,
}

impl Seat<'_> {
    /// Connects again and again until it is time to stop.
    pub(crate) fn serve(&self) {
        let mut round = self.number;
        while !self.stopped() {
            round += 1;
            let visited = self.connect().and_then(|stream| match self.kind {
                Kind::KeepAlive => self.keep_alive(&stream),
                Kind::Pipelined => self.pipelined(&stream),
                Kind::Slow => self.slow(&stream),
                Kind::Resetting => self.reset(&stream, round),
                Kind::Malformed => {
                    let all = &self.book.malformed;
                    self.ask(&stream, &[&all[round % all.len()]])
                }
                Kind::HandlerPanic => self.ask(&stream, &[&self.book.handler_panic]),
                Kind::OneRequest | Kind::Panic => self.ask(&stream, &[&self.book.root_last]),
            });
            if let Err(miss) = visited {
                self.tally.miss(self.kind, miss);
            }
            let rare = matches!(self.kind, Kind::Malformed | Kind::Resetting | Kind::HandlerPanic);
            thread::sleep(if rare { REST_OF_THE_RARE } else { REST });
        }
    }

    /// Has an executor panic so often, and sees its own connection close each time.
    pub(crate) fn panic_every(&self, every: Duration) {
        let mut due = Instant::now();
        while !self.stopped() {
            if Instant::now() < due {
                thread::sleep(REST_OF_THE_RARE.min(every));
                continue;
            }
            due += every;
            match self.connect().and_then(|stream| self.panic_once(&stream)) {
                Ok(()) => self.tally.right(self.kind),
                Err(miss) => self.tally.miss(self.kind, miss),
            }
        }
    }

    fn panic_once(&self, mut stream: &TcpStream) -> Result<(), Miss> {
        self.tally.panics();
        let sent = stream.write_all(b"GET /executor-panic HTTP/1.1\r\nHost: a\r\n\r\n");
        // An answer may come before the end, which may be a reset.
        let ended = sent.and_then(|()| stream.read_to_end(&mut Vec::new()));
        self.tally.panics();
        match ended {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn connect(&self) -> Result<TcpStream, Miss> {
        let stream = loop {
            match TcpStream::connect_timeout(&self.address, PATIENCE) {
                // This machine's ports are used up, by this bench: no fault of the server.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    thread::sleep(REST_OF_THE_RARE);
                }
                // Not even while a worker is dead may a connection be refused or reset.
                Err(error) => return Err(Miss::Wrong(format!("connecting: {error}"))),
                Ok(stream) => break stream,
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Sends the questions in one piece and reads their answers.
    fn ask(&self, mut stream: &TcpStream, questions: &[&Question]) -> Result<(), Miss> {
        let request: Vec<u8> = questions.iter().flat_map(|it| it.request.iter().copied()).collect();
        stream.write_all(&request)?;
        self.receive(stream, questions)
    }

    fn receive(&self, stream: &TcpStream, questions: &[&Question]) -> Result<(), Miss> {
        let mut buffer = Vec::new();
        for question in questions {
            question.receive(stream, &mut buffer)?;
            if question.closes {
                receive_end(stream, &buffer)?;
            }
            self.tally.right(self.kind);
        }
        if buffer.is_empty() {
            return Ok(());
        }
        Err(Miss::Wrong("bytes behind the last answer".to_owned()))
    }

    fn keep_alive(&self, stream: &TcpStream) -> Result<(), Miss> {
        let Book { root, echo, slow, .. } = self.book;
        for round in (self.number..).take(TURNS_MAX) {
            if self.stopped() {
                break;
            }
            let even = if round % 2 == 0 { root } else { echo };
            self.ask(stream, &[if round % SLOW_OF == 0 { slow } else { even }])?;
            thread::sleep(REST);
        }
        Ok(())
    }

    fn pipelined(&self, stream: &TcpStream) -> Result<(), Miss> {
        let mut questions = [&self.book.root; PIPELINED];
        questions[PIPELINED / 2] = &self.book.echo;
        for _ in 0..TURNS_MAX {
            if self.stopped() {
                break;
            }
            self.ask(stream, &questions)?;
            thread::sleep(REST);
        }
        Ok(())
    }

    fn slow(&self, mut stream: &TcpStream) -> Result<(), Miss> {
        let (slowly, rest) = self.book.echo.request.split_at(SLOW_BYTES);
        for byte in slowly {
            // Nothing is owed yet.
            if self.stopped() {
                return Ok(());
            }
            stream.write_all(&[*byte])?;
            thread::sleep(BYTE_EVERY);
        }
        stream.write_all(rest)?;
        self.receive(stream, &[&self.book.echo])
    }

    fn reset(&self, mut stream: &TcpStream, round: usize) -> Result<(), Miss> {
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        let echo = &self.book.echo.request;
        let whole = self.book.slow.request.repeat(PIPELINED);
        stream.write_all(match round % 3 {
            0 => &echo[..echo.len() / 2],
            1 => &echo[..SLOW_BYTES / 2],
            _ => &whole,
        })?;
        if round.is_multiple_of(2) {
            thread::sleep(REST);
        }
        self.tally.right(self.kind);
        Ok(())
    }
}
