//! Opening a file below a root, and reading it if it is small.
//!
//! Everything here comes in two kinds: at once, if the kernel has all of it in memory, on the core;
//! or in its own time, on the core's helper thread.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::target::Target;
use crate::app::coding::Coding;
use crate::sys::pages::Copied;

/// A file up to this size is read and answered as bytes: it is copied behind its head. In bytes.
pub(super) const SMALL_MAX: u64 = 16 * 1024;
/// A file up to this size is kept in pages, to be sent without a copy; in bytes. A larger one is
/// read as it is sent.
pub(super) const PAGES_MAX: u64 = 2 * 1024 * 1024;
/// The kernel's clock for files ticks so often that what is older than this has been changed by
/// nobody since it was looked at.
const SETTLED: Duration = Duration::from_secs(1);
/// How often an opening is tried that something in the kernel has got in the way of: a rename
/// anywhere on the machine while `..` was looked up, or a lease that is being broken.
const TRIES_MAX: u32 = 200;
/// So many of the tries follow at once; between the others it waits.
const TRIES_AT_ONCE: u32 = 8;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// Whether there is time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// The core's: nothing may wait.
    None,
    /// The helper's.
    Enough,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Miss {
    #[error("there is none")]
    NotFound,
    #[error("it may not be read")]
    Forbidden,
    /// And the path has no slash at its end.
    #[error("it is a directory")]
    Directory,
    #[error("it is not to be had at once")]
    Later,
    #[error(transparent)]
    Failed(io::Error),
}

impl From<io::Error> for Miss {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Later,
            _ => Self::Failed(error),
        }
    }
}

/// What tells one version of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// An open file.
#[derive(Debug)]
pub(super) struct Found {
    file: OwnedFd,
    pub stamp: Stamp,
    /// How it is encoded.
    pub coding: Option<Coding>,
}

/// A file to be answered.
#[derive(Debug)]
pub(super) struct Loaded {
    pub content: Content,
    pub stamp: Stamp,
    pub coding: Option<Coding>,
    /// Whether another version would have another stamp.
    pub settled: bool,
}

#[derive(Debug)]
pub(super) enum Content {
    Small(Vec<u8>),
    Pages(Copied),
    Open(OwnedFd),
}

impl Stamp {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }

    /// When it was changed last.
    pub(super) fn modified(&self) -> SystemTime {
        time(self.modified)
    }

    /// A text that is another for another version.
    pub(super) fn tag(&self) -> String {
        let nanoseconds = |(seconds, fraction): (i64, i64)| {
            i128::from(seconds) * 1_000_000_000 + i128::from(fraction)
        };
        let (modified, changed) = (nanoseconds(self.modified), nanoseconds(self.changed));
        let Self { device, inode, size, .. } = self;
        // Two files of one size may have been written within one tick of the clock.
        format!(
            "{size:x}-{modified:x}-{:x}-{:x}",
            changed - modified,
            device ^ inode.rotate_left(24)
        )
    }

    /// Whether it is so old that another version would have another stamp.
    fn is_settled(&self) -> bool {
        let age = SystemTime::now().duration_since(time(self.changed));
        age.is_ok_and(|age| age > SETTLED)
    }
}

fn time((seconds, nanoseconds): (i64, i64)) -> SystemTime {
    let fraction = Duration::from_nanos(nanoseconds.unsigned_abs());
    match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH + Duration::from_secs(seconds) + fraction,
        Err(_) => UNIX_EPOCH,
    }
}

/// Opens what `target` names below `root`: encoded, if there is such a variant of it, else plain.
pub(super) fn find(
    root: BorrowedFd<'_>,
    target: &Target,
    codings: impl Iterator<Item = Coding>,
    patience: Patience,
) -> Result<Found, Miss> {
    for coding in codings {
        let mut name = OsString::from(&target.path);
        name.push(match coding {
            Coding::Zstd => ".zst",
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
        });
        match open(root, Path::new(&name), patience) {
            Ok((file, stamp)) => return Ok(Found { file, stamp, coding: Some(coding) }),
            Err(Miss::Later) => return Err(Miss::Later),
            // A variant that is not to be had hides nothing.
            Err(_) => {}
        }
    }
    match open(root, &target.path, patience) {
        Ok((file, stamp)) => Ok(Found { file, stamp, coding: None }),
        Err(Miss::Directory) if target.is_directory => Err(Miss::NotFound),
        Err(miss) => Err(miss),
    }
}

/// Opens a regular file. Whatever its path goes through, symbolic links included, is below the
/// root: the kernel sees to that.
fn open(root: BorrowedFd<'_>, path: &Path, patience: Patience) -> Result<(OwnedFd, Stamp), Miss> {
    // A pipe or a device that nobody writes to is opened all the same, and then refused. Who waits
    // to write to such a pipe is let through, and sees it closed.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if patience == Patience::None {
        resolve |= ResolveFlags::CACHED;
    }
    let mut tries = 0;
    let opened = loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if patience == Patience::Enough && tries < TRIES_MAX => {
                tries += 1;
                if tries > TRIES_AT_ONCE {
                    std::thread::sleep(TRY_AGAIN_AFTER);
                }
            }
            opened => break opened,
        }
    };
    let file = opened.map_err(|errno| match errno {
        Errno::AGAIN if patience == Patience::None => Miss::Later,
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NXIO
        | Errno::NODEV => Miss::NotFound,
        Errno::ACCESS | Errno::PERM => Miss::Forbidden,
        errno => Miss::Failed(errno.into()),
    })?;
    let stat = fstat(&file).map_err(|errno| Miss::Failed(errno.into()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file, Stamp::of(&stat))),
        FileType::Directory => Err(Miss::Directory),
        _ => Err(Miss::NotFound),
    }
}

impl Found {
    /// Reads it, if it is small enough.
    pub(super) fn load(self, patience: Patience) -> Result<Loaded, Miss> {
        let Self { file, stamp, coding } = self;
        let mut settled = stamp.is_settled();
        let content = if stamp.size <= SMALL_MAX {
            let bytes = read_small(file.as_fd(), stamp.size, patience)?;
            settled &= is_still(&file, stamp);
            Content::Small(bytes)
        } else if stamp.size > PAGES_MAX {
            Content::Open(file)
        } else if patience == Patience::None {
            return Err(Miss::Later);
        } else {
            match Copied::of(&file, stamp.size) {
                Ok(copied) => {
                    settled &= is_still(&file, stamp);
                    Content::Pages(copied)
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Miss::Failed(error));
                }
                // Without memory for a copy it is read as it is sent.
                Err(_) => Content::Open(file),
            }
        };
        Ok(Loaded { content, stamp, coding, settled })
    }
}

/// Whether a file is the version that it was: one that is written while it is read is a mixture.
fn is_still(file: &OwnedFd, stamp: Stamp) -> bool {
    fstat(file).is_ok_and(|stat| Stamp::of(&stat) == stamp)
}

/// All of a small file; less, if it has become shorter meanwhile.
fn read_small(file: BorrowedFd<'_>, size: u64, patience: Patience) -> Result<Vec<u8>, Miss> {
    let flags = match patience {
        Patience::None => ReadWriteFlags::NOWAIT,
        Patience::Enough => ReadWriteFlags::empty(),
    };
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    let mut held = 0;
    while held < bytes.len() {
        let rest = &mut [IoSliceMut::new(&mut bytes[held..])];
        match preadv2(file, rest, held as u64, flags) {
            Ok(0) => break,
            Ok(read) => held += read,
            Err(Errno::INTR) => {}
            // Not every file system can tell whether it would have to wait.
            Err(Errno::AGAIN | Errno::OPNOTSUPP) if patience == Patience::None => {
                return Err(Miss::Later);
            }
            Err(errno) => return Err(Miss::Failed(errno.into())),
        }
    }
    bytes.truncate(held);
    Ok(bytes)
}
