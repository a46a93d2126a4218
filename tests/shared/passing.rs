//! Descriptors passed to a program by number, as service managers do it.
#![expect(unsafe_code, reason = "descriptors are given their numbers between fork and exec")]

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::fcntl_dupfd_cloexec;

/// Above all descriptors that are passed.
const OUT_OF_THE_WAY: RawFd = 100;
/// Only the shell knows the pid that the program will have before the program runs.
pub(crate) const START: &str = r#"export LISTEN_PID=$$; exec "$0" "$@""#;

/// Has the command start with these descriptors, from 3 on.
pub(crate) fn place<'a>(command: &mut Command, sockets: impl IntoIterator<Item = BorrowedFd<'a>>) {
    let aside = |socket| fcntl_dupfd_cloexec(socket, OUT_OF_THE_WAY).unwrap();
    let sockets: Vec<OwnedFd> = sockets.into_iter().map(aside).collect();
    let place = move || {
        for (socket, number) in sockets.iter().zip(3..) {
            // SAFETY: a plain system call with two numbers.
            if unsafe { libc::dup2(socket.as_raw_fd(), number) } == -1 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls and allocates nothing.
    unsafe { command.pre_exec(place) };
}
