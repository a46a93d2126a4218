//! The way of a request through a worker, without a socket: for the benches.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::super::{Balance, Limits, OnPanic, Timeouts};
use super::{Core, Dialogue, Line, Now, OUTPUT_MAX};
use crate::app::App;
use crate::message::Peer;
use crate::net::Stream;
use crate::rt::{Driver, Installed, Options};

/// A worker with one connection, that receives what it is given and sends nothing. Its ring exists
/// and is never turned: what is done here is what [`Dialogue::converse`] does between a receive and
/// a send.
pub(crate) struct Rehearsal {
    // The order matters: the connection goes before the driver.
    line: Line,
    dialogue: Dialogue,
    _driver: Installed,
}

impl Rehearsal {
    /// A worker of this app on the calling thread.
    ///
    /// # Errors
    /// The kernel refuses a ring or a socket.
    pub(crate) fn new(app: App) -> std::io::Result<Self> {
        let options = Options::new("rehearsal");
        let driver = Driver::new(&options)?.install();
        let pulse = Arc::clone(&options.pulse);
        pulse.name_routes(app.patterns());
        let (limits, timeouts) = (Limits::default(), Timeouts::default());
        let manners = (OnPanic::default(), Balance::default());
        let core = Core::new(app, limits, &timeouts, manners, options.stats, pulse);
        let (own, _) = UnixStream::pair()?;
        let line = Line::new(core, Stream::new(own.into())?, Peer::Unix { uid: 0 });
        Ok(Self { line, dialogue: Dialogue::default(), _driver: driver })
    }

    /// The answer to a request that takes no waiting; `None` if the server would not answer it at
    /// once.
    pub(crate) fn answer(&mut self, request: &[u8]) -> Option<&[u8]> {
        let Self { line, dialogue, .. } = self;
        dialogue.outbox.clear(OUTPUT_MAX);
        dialogue.input.compact();
        dialogue.input.bytes.extend_from_slice(request);
        let decoded = dialogue.decode_head(line).ok().flatten()?;
        line.core.stats.requests.increment();
        dialogue.input.start += decoded.consumed;
        let mut cx = Context::from_waker(Waker::noop());
        match dialogue.answer_now(&mut cx, line, &decoded) {
            Now::Queued => Some(&dialogue.outbox.output.buffer),
            _ => None,
        }
    }
}
