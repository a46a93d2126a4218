//! A look at the server's process.

use std::fmt;
use std::fs;
use std::io;
use std::time::Duration;

/// What a process has at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Workers that have been started anew.
    pub(crate) lives: u64,
    /// Resident memory.
    pub(crate) resident_kib: u64,
    /// Pinned and locked memory.
    pub(crate) pinned_kib: u64,
    pub(crate) threads: u64,
    pub(crate) files: Files,
}

/// Descriptors, by what they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) sockets: u64,
    pub(crate) eventfds: u64,
    pub(crate) rings: u64,
    pub(crate) others: u64,
}

impl Sample {
    /// Reads it from `/proc`.
    pub(crate) fn read(process: u32, at: Duration, lives: u64) -> io::Result<Sample> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let figure = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
        };
        let missing = || io::Error::other(format!("/proc/{process}/status lacks a line"));
        Ok(Sample {
            at,
            lives,
            resident_kib: figure("VmRSS:").ok_or_else(missing)?,
            pinned_kib: figure("VmPin:").unwrap_or(0) + figure("VmLck:").unwrap_or(0),
            threads: figure("Threads:").ok_or_else(missing)?,
            files: Files::read(process)?,
        })
    }

    /// Whether nothing has come or gone in between.
    pub(crate) fn is_like(&self, other: &Sample) -> bool {
        let figures = |sample: &Sample| (sample.lives, sample.threads, sample.files.clone());
        figures(self) == figures(other)
    }
}

impl Files {
    fn read(process: u32) -> io::Result<Files> {
        let mut files = Files::default();
        for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
            // It may have been closed meanwhile.
            let Ok(target) = fs::read_link(entry?.path()) else { continue };
            match target.to_string_lossy().as_ref() {
                "anon_inode:[eventfd]" => files.eventfds += 1,
                "anon_inode:[io_uring]" => files.rings += 1,
                target if target.starts_with("socket:") => files.sockets += 1,
                _ => files.others += 1,
            }
        }
        Ok(files)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { lives, resident_kib, threads, files, .. } = self;
        let Files { sockets, eventfds, .. } = files;
        write!(f, "{lives} restarts, {resident_kib} KiB, {threads} threads, ")?;
        write!(f, "{sockets} sockets, {eventfds} eventfds")
    }
}
