//! A listening socket of this core.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;

use crate::rt::{AcceptKey, Accepted, Arming, Driver};

/// Accepts connections. Dropping it closes its descriptor and those accepted but not handed out;
/// [`stop`](Self::stop) it first to lose none.
pub(crate) struct Listener {
    driver: Rc<Driver>,
    key: AcceptKey,
}

impl Listener {
    /// Accepts from this listening socket, once somebody waits.
    pub(crate) fn new(socket: OwnedFd, arming: Arming) -> io::Result<Self> {
        let driver = Driver::current();
        let key = driver.with(|core| core.listen(socket, arming))?;
        Ok(Self { driver, key })
    }

    /// The next connection, to be served here (`Stream::new`) or elsewhere; `None` after
    /// [`stop`](Self::stop), once everything that the kernel had handed over has been given out.
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    /// What accept failed with (EMFILE, ...). The next call starts it again.
    pub(crate) async fn accept(&self) -> io::Result<Option<OwnedFd>> {
        poll_fn(|cx| match self.driver.with(|core| core.poll_accept(self.key, cx)) {
            Poll::Ready(Ok(Accepted::Connection(fd))) => Poll::Ready(Ok(Some(fd))),
            Poll::Ready(Ok(Accepted::Stopped)) => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(Accepted::Later)) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Cancels what is armed and arms anew, in this way. That first empties the kernel's queue, so
    /// it also makes good a wake-up that went to somebody who has died since. No connection is
    /// lost.
    pub(crate) fn rearm(&self, arming: Arming) {
        self.driver.with(|core| core.rearm_accept(self.key, arming));
    }

    /// Cancels the accept. [`accept`](Self::accept) yields `None` once the kernel has acknowledged
    /// it: from then on connections queue for whoever else holds the socket.
    pub(crate) fn stop(&self) {
        self.driver.with(|core| core.stop_accepting(self.key));
    }

    /// The next connection that waits in the kernel's queue, without waiting for one; also after
    /// [`stop`](Self::stop), if nobody else will take it.
    pub(crate) fn accept_queued(&self) -> io::Result<Option<OwnedFd>> {
        self.driver.with(|core| core.accept_queued(self.key))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.with(|core| core.abandon_listener(self.key));
    }
}
