//! Descriptors passed over a Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// As many as the kernel passes at once.
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// Sends bytes, and with the first of them these descriptors. Returns how many bytes were sent.
///
/// # Errors
/// Those of the socket; with more descriptors than [`DESCRIPTORS_MAX`] `InvalidInput`.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::NOSIGNAL;
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?)
}

/// Receives bytes, and the descriptors that come with them, closed on exec.
///
/// # Errors
/// Those of the socket.
pub(crate) fn receive(
    socket: impl AsFd,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_with_the_bytes_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| {
            let path = dir.path().join(name);
            std::fs::write(&path, name).unwrap();
            File::open(path).unwrap()
        });
        let (near, far) = UnixStream::pair().unwrap();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        assert_eq!(send(&near, b"two", &borrowed).unwrap(), 3);
        assert_eq!(send(&near, b"none", &[]).unwrap(), 4);
        let (mut bytes, mut descriptors) = ([0; 16], Vec::new());
        let length = receive(&far, &mut bytes, &mut descriptors).unwrap();
        assert_eq!(&bytes[..length], b"two");
        let texts = descriptors.drain(..).map(|descriptor| {
            let mut text = String::new();
            File::from(descriptor).read_to_string(&mut text).unwrap();
            text
        });
        assert_eq!(texts.collect::<Vec<_>>(), ["a", "b"]);
        let length = receive(&far, &mut bytes, &mut descriptors).unwrap();
        assert_eq!((&bytes[..length], descriptors.len()), (&b"none"[..], 0));
        let many = vec![files[0].as_fd(); DESCRIPTORS_MAX + 1];
        assert_eq!(send(&near, b"x", &many).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        drop(near);
        assert_eq!(receive(&far, &mut bytes, &mut descriptors).unwrap(), 0);
    }
}
