//! A listening socket of this core.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::Stream;
use crate::rt::{AcceptKey, Accepted, Driver};

/// Accepts connections. Dropping it closes its descriptor and those accepted but not handed out;
/// [`stop`](Self::stop) it first to lose none.
pub(crate) struct Listener {
    driver: Rc<Driver>,
    key: AcceptKey,
}

impl Listener {
    /// Accepts from this listening socket, once somebody waits.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let driver = Driver::current();
        let key = driver.with(|core| core.listen(socket))?;
        Ok(Self { driver, key })
    }

    /// The next connection; `None` after [`stop`](Self::stop), once everything that the kernel had
    /// handed over has been given out. Dropping the future loses no connection.
    ///
    /// # Errors
    /// What accept failed with (EMFILE, ...). The next call starts it again.
    pub(crate) async fn accept(&self) -> io::Result<Option<Stream>> {
        match poll_fn(|cx| self.driver.with(|core| core.poll_accept(self.key, cx))).await? {
            Accepted::Connection(fd) => Stream::new(fd).map(Some),
            Accepted::Stopped => Ok(None),
        }
    }

    /// Cancels the accept. [`accept`](Self::accept) yields `None` once the kernel has acknowledged
    /// it: from then on connections queue for whoever else holds the socket.
    pub(crate) fn stop(&self) {
        self.driver.with(|core| core.stop_accepting(self.key));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.with(|core| core.abandon_listener(self.key));
    }
}
