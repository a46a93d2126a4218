//! Bytes in pages of the kernel's, which a socket takes without a copy.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::io::{Errno, ioctl_fionbio, pread};
use rustix::net::{SendFlags, send};
use rustix::process::{Resource, getrlimit};

/// A part of a file that is in memory whole and never changes, so that no read of it waits.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    memory: Rc<OwnedFd>,
    range: Range<u64>,
}

/// What [`Pages`] are made of, on its way to the thread that they stay with.
#[derive(Debug)]
pub(crate) struct Copied {
    memory: OwnedFd,
    length: u64,
}

impl Copied {
    /// Copies the first `length` bytes of a file into memory. It may wait for a disk.
    ///
    /// # Errors
    /// The file is shorter than that, or cannot be read; or no memory is to be had.
    pub(crate) fn of(file: impl AsFd, length: u64) -> io::Result<Self> {
        // What is beyond this limit would end the process, by SIGXFSZ.
        if getrlimit(Resource::Fsize).current.is_some_and(|most| most < length) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = memfd_create("corelane-file", flags)?;
        let mut offset = 0;
        while offset < length {
            let left = usize::try_from(length - offset).unwrap_or(usize::MAX);
            match sendfile(&memory, &file, Some(&mut offset), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&memory, seals)?;
        Ok(Self { memory, length })
    }
}

impl From<Copied> for Pages {
    fn from(copied: Copied) -> Self {
        Self { memory: Rc::new(copied.memory), range: 0..copied.length }
    }
}

impl Pages {
    /// How many bytes they are.
    pub(crate) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// A part of them.
    ///
    /// # Panics
    /// There is no such part.
    pub(crate) fn slice(&self, part: Range<u64>) -> Self {
        assert!(part.start <= part.end && part.end <= self.len(), "{part:?} of {}", self.len());
        let start = self.range.start;
        Self { memory: Rc::clone(&self.memory), range: start + part.start..start + part.end }
    }

    /// Takes up to so many bytes off the front, and puts them behind what `into` holds.
    ///
    /// # Errors
    /// As `pread(2)`; nothing is taken then.
    pub(crate) fn take(&mut self, most: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let most = usize::try_from(self.len()).unwrap_or(usize::MAX).min(most);
        let held = into.len();
        into.resize(held + most, 0);
        let read = pread(&*self.memory, &mut into[held..], self.range.start);
        into.truncate(held + *read.as_ref().unwrap_or(&0));
        match read? {
            0 if most > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.range.start += read as u64;
                Ok(())
            }
        }
    }

    /// Has a socket take `head` and then these pages, as far as it has room for them: what it has
    /// taken is taken off the front, and returned. Nothing may be on its way to the socket.
    ///
    /// # Errors
    /// The socket has failed.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>, head: &[u8]) -> io::Result<Taken> {
        let mut taken = Taken::default();
        if !head.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | SendFlags::MORE;
            taken.head = at_once(send(socket, head, flags))?;
        }
        if taken.head == head.len() {
            // `sendfile` has no flag that keeps it from waiting. Nobody else uses the socket
            // meanwhile; the operations of a ring are refused by one that is set so.
            ioctl_fionbio(socket, true)?;
            let left = usize::try_from(self.len()).unwrap_or(usize::MAX);
            let sent = at_once(sendfile(socket, &*self.memory, Some(&mut self.range.start), left));
            ioctl_fionbio(socket, false)?;
            taken.pages = sent?;
        }
        Ok(taken)
    }
}

/// How many bytes a socket has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Of the head.
    pub head: usize,
    /// Of the pages.
    pub pages: usize,
}

/// None, if it would have to wait.
fn at_once(sent: rustix::io::Result<usize>) -> io::Result<usize> {
    match sent {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        sent => Ok(sent?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pages(bytes: &[u8]) -> Pages {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Copied::of(&file, bytes.len() as u64).unwrap().into()
    }

    #[test]
    fn a_part_of_a_part_is_read_from_its_front() {
        let mut part = pages(b"0123456789").slice(2..9).slice(1..5);
        let mut bytes = b"x".to_vec();
        part.take(3, &mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), part.len()), (&b"x345"[..], 1));
        part.take(100, &mut bytes).unwrap();
        assert_eq!((bytes.as_slice(), part.len()), (&b"x3456"[..], 0));
        part.take(100, &mut bytes).unwrap();
        assert_eq!(bytes, b"x3456");
    }

    #[test]
    fn a_file_that_is_shorter_than_it_was_is_refused_and_a_copy_cannot_be_changed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"short").unwrap();
        let kind = Copied::of(&file, 6).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
        let copied = Copied::of(&file, 4).unwrap();
        let error = rustix::io::pwrite(&copied.memory, b"other", 0).unwrap_err();
        assert_eq!(error, Errno::PERM);
    }

    #[test]
    fn a_socket_takes_what_it_has_room_for_and_blocks_again_afterwards() {
        let body: Vec<u8> = (0_u32..1 << 20).map(|at| at.to_le_bytes()[1]).collect();
        let mut rest = pages(&body);
        let (socket, mut reader) = UnixStream::pair().unwrap();
        let first = rest.send(socket.as_fd(), b"head").unwrap();
        assert_eq!(first.head, 4);
        assert!(first.pages < body.len(), "a socket has not room for 1 MiB, or it would wait");
        assert_eq!(rest.send(socket.as_fd(), b"head").unwrap(), Taken::default());
        assert!(!rustix::fs::fcntl_getfl(&socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
        let mut received = vec![0; 4 + first.pages];
        reader.read_exact(&mut received).unwrap();
        while rest.len() > 0 {
            let Taken { pages, .. } = rest.send(socket.as_fd(), b"").unwrap();
            let held = received.len();
            received.resize(held + pages, 0);
            reader.read_exact(&mut received[held..]).unwrap();
        }
        assert_eq!(&received[..4], b"head");
        assert!(received[4..] == body, "{} bytes", received.len());
    }
}
