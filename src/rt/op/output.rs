//! Bytes on their way to a socket, in one piece or in two.

use bytes::Bytes;
use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fd;

/// Bytes on their way out: a buffer that is used again and again, and a shared piece behind it.
/// While they are sent they belong to the driver, until the kernel is done with them.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Encoded heads and small bodies.
    pub buffer: Vec<u8>,
    /// A large body, sent behind the buffer without a copy.
    pub tail: Option<Bytes>,
}

impl Output {
    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.tail.is_none()
    }

    /// All of it, to be sent in one; none if there is nothing.
    pub(crate) fn take(&mut self) -> Option<Self> {
        (!self.is_empty()).then(|| std::mem::take(self))
    }

    /// Takes the memory of what has been sent back.
    pub(crate) fn give_back(&mut self, mut sent: Self) {
        sent.buffer.clear();
        if self.buffer.capacity() == 0 {
            self.buffer = sent.buffer;
        }
    }

    fn tail(&self) -> &[u8] {
        self.tail.as_deref().unwrap_or_default()
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() + self.tail().len()
    }

    /// The operation that sends what is left behind the first `sent` bytes. It names memory of this
    /// output, and of `pieces` if there are two.
    pub(super) fn send(
        &self,
        sent: usize,
        fd: Fd,
        flags: i32,
        pieces: &mut Option<Box<Pieces>>,
    ) -> Entry {
        match self.rest(sent) {
            (rest, []) => {
                let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                opcode::Send::new(fd, rest.as_ptr(), length).flags(flags).build()
            }
            (first, second) => {
                let pieces = pieces.insert(Box::new(Pieces::new([first, second])));
                opcode::SendMsg::new(fd, pieces.message()).flags(flags.cast_unsigned()).build()
            }
        }
    }

    /// What is left of it behind the first `sent` bytes, in two pieces; the second may be empty.
    fn rest(&self, sent: usize) -> (&[u8], &[u8]) {
        match sent.checked_sub(self.buffer.len()) {
            None => (&self.buffer[sent..], self.tail()),
            Some(sent) => (&self.tail()[sent..], &[]),
        }
    }
}

/// Two pieces, as one operation names them. It points into itself and stays where it is.
pub(super) struct Pieces {
    header: libc::msghdr,
    vectors: [libc::iovec; 2],
}

impl Pieces {
    fn new(pieces: [&[u8]; 2]) -> Self {
        let vector = |piece: &[u8]| libc::iovec {
            // The kernel only reads there.
            iov_base: piece.as_ptr().cast_mut().cast(),
            iov_len: piece.len(),
        };
        // SAFETY: of integers and pointers, all of which may be zero: no address, no control data.
        let header = unsafe { std::mem::zeroed() };
        Self { header, vectors: pieces.map(vector) }
    }

    /// What names them to the kernel.
    fn message(&mut self) -> *const libc::msghdr {
        self.header.msg_iov = (&raw mut self.vectors).cast();
        self.header.msg_iovlen = self.vectors.len();
        &raw const self.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_begins_where_the_kernel_stopped() {
        let output = Output { buffer: b"head".to_vec(), tail: Some(Bytes::from_static(b"body")) };
        for (sent, first, second) in
            [(0, "head", "body"), (3, "d", "body"), (4, "body", ""), (7, "y", ""), (8, "", "")]
        {
            let rest = (first.as_bytes(), second.as_bytes());
            assert_eq!(output.rest(sent), rest, "after {sent} bytes");
        }
        let whole = Output { buffer: b"whole".to_vec(), tail: None };
        assert_eq!((whole.rest(2), whole.len()), ((&b"ole"[..], &b""[..]), 5));
    }
}
