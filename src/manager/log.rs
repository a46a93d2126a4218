//! What the apps write: straight to their files. The manager opens them, puts aside what has grown
//! too large, and reads the end of them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use crate::control::{Home, LogFiles, Spec};
use crate::sys::child::file_bytes_max;

/// The permissions of a log: there may be anything in it.
const MODE: u32 = 0o600;
/// How much of the end of a log is looked at for its last lines.
const TAIL_BYTES: u64 = 16 * 1024;

/// Where an app writes.
pub(super) fn files(spec: &Spec, home: &Home) -> LogFiles {
    let dir = spec.logs.dir.clone().unwrap_or_else(|| home.logs());
    let file = |kind: &str| dir.join(format!("{}.{kind}.log", spec.name));
    LogFiles { out: file("out"), err: file("err") }
}

/// Opens both, to write at their ends.
pub(super) fn open(files: &LogFiles) -> io::Result<[File; 2]> {
    let open = |path: &Path| {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        File::options().append(true).create(true).mode(MODE).open(path)
    };
    let open = |path: &PathBuf| {
        let named = |error: io::Error| format!("{}: {error}", path.display());
        open(path).map_err(|error| io::Error::new(error.kind(), named(error)))
    };
    Ok([open(&files.out)?, open(&files.err)?])
}

/// Who writes to a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    pub(super) pids: &'a [u32],
    /// May take what a file system keeps for root.
    pub(super) privileged: bool,
}

/// Whether the files that a process writes to have been removed under it, or those that it is to
/// write to are not there.
pub(super) fn is_astray(files: &LogFiles, pid: u32) -> bool {
    let removed = |number| is_removed(pid, number);
    !files.out.exists() || !files.err.exists() || removed(1) || removed(2)
}

fn is_removed(pid: u32, number: u32) -> bool {
    let file = fs::metadata(format!("/proc/{pid}/fd/{number}"));
    file.is_ok_and(|file| file.is_file() && file.nlink() == 0)
}

/// Why what an app says is not kept at the moment, if it is not.
pub(super) fn obstacle(files: &LogFiles, writer: Writer<'_>) -> Option<String> {
    for (path, number) in [(&files.out, 1), (&files.err, 2)] {
        if writer.pids.iter().any(|pid| is_removed(*pid, number)) {
            return Some(format!("its log {} was removed", path.display()));
        }
        let most = writer.pids.iter().filter_map(|pid| file_bytes_max(*pid)).min();
        if let Err(error) = may_grow(path, writer.privileged, most) {
            return Some(format!("its log {} is stopped: {error}", path.display()));
        }
    }
    None
}

/// Whether a file could be a byte longer, which may have at most so many.
fn may_grow(path: &Path, privileged: bool, most: Option<u64>) -> io::Result<()> {
    let file = match File::options().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok(());
    }
    if most.is_some_and(|most| about.len() >= most) {
        return Err(Errno::FBIG.into());
    }
    if let Ok(disk) = fstatvfs(&file) {
        // What is kept for root is nobody else's.
        let left = if privileged { disk.f_bfree } else { disk.f_bavail };
        if left == 0 && disk.f_blocks > 0 {
            return Err(Errno::NOSPC.into());
        }
    }
    // A quota shows only to who tries: this is what the next line takes.
    match fallocate(&file, FallocateFlags::KEEP_SIZE, about.len(), 1) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) | Ok(()) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// How a program is had to write to another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// It is told to, and the old file is given another name.
    Rename,
    /// It cannot be told: the old file is copied and emptied. What is written in between is lost.
    Copy,
}

/// Puts aside those that are too large; whether any was renamed, so that new ones must be opened.
pub(super) fn rotate(files: &LogFiles, spec: &Spec, how: Rotation) -> io::Result<bool> {
    let mut renamed = false;
    for path in [&files.out, &files.err] {
        let too_large = fs::metadata(path).is_ok_and(|file| file.len() > spec.logs.rotate_bytes);
        if !too_large {
            continue;
        }
        let keep = spec.logs.keep;
        // Copied before anything is moved: where there is no room for that, all stays as it is.
        let copy = path.with_extension("log.new");
        if how == Rotation::Copy && keep > 0 {
            let copied = fs::copy(path, &copy);
            copied.inspect_err(|_| drop(fs::remove_file(&copy)))?;
        }
        for number in (1..keep).rev() {
            let from = numbered(path, number);
            if from.exists() {
                fs::rename(from, numbered(path, number + 1))?;
            }
        }
        let first = numbered(path, 1);
        match how {
            Rotation::Rename if keep > 0 => {
                fs::rename(path, first)?;
                renamed = true;
            }
            Rotation::Copy if keep > 0 => {
                fs::rename(copy, first)?;
                empty(path)?;
            }
            _ => empty(path)?,
        }
    }
    Ok(renamed)
}

/// Empties both.
pub(super) fn flush(files: &LogFiles) -> io::Result<()> {
    for path in [&files.out, &files.err] {
        match empty(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn empty(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.set_len(0)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// How long both logs were at some time, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    out: u64,
    err: u64,
}

/// How long they are now.
pub(super) fn ends(files: &LogFiles) -> Ends {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    Ends { out: length(&files.out), err: length(&files.err) }
}

/// The last lines that were written since: the complaints, or else what was said.
pub(super) fn since(files: &LogFiles, ends: Ends, lines: usize) -> Vec<String> {
    let complaints = tail(&files.err, ends.err, lines);
    if complaints.is_empty() { tail(&files.out, ends.out, lines) } else { complaints }
}

/// The last lines of a log from that byte on, at most so many.
fn tail(path: &Path, from: u64, lines: usize) -> Vec<String> {
    let read = || {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        let cut = end.saturating_sub(from) > TAIL_BYTES;
        file.seek(SeekFrom::Start(if cut { end - TAIL_BYTES } else { from.min(end) }))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        io::Result::Ok((bytes, cut))
    };
    let Ok((bytes, cut)) = read() else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    // The first one is not whole, if there is more before it.
    let all: Vec<_> = text.lines().skip(usize::from(cut)).map(str::to_owned).collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::control::plain_spec;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_too_large_is_put_aside_and_only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().into()).unwrap();
        let mut spec = plain_spec("a");
        (spec.logs.rotate_bytes, spec.logs.keep) = (4, 2);
        let files = files(&spec, &home);
        for number in 0..4 {
            let [mut out, _] = open(&files).unwrap();
            assert!(!rotate(&files, &spec, Rotation::Rename).unwrap(), "nothing is too large");
            write!(out, "line {number}").unwrap();
            assert!(rotate(&files, &spec, Rotation::Rename).unwrap());
        }
        assert_eq!(names(&home.logs()), ["a.err.log", "a.out.log.1", "a.out.log.2"]);
        assert_eq!(fs::read_to_string(home.logs().join("a.out.log.1")).unwrap(), "line 3");
        let [mut out, _] = open(&files).unwrap();
        write!(out, "copied").unwrap();
        assert!(!rotate(&files, &spec, Rotation::Copy).unwrap());
        write!(out, "after").unwrap();
        assert_eq!(fs::read_to_string(&files.out).unwrap(), "after");
        assert_eq!(fs::read_to_string(home.logs().join("a.out.log.1")).unwrap(), "copied");
        flush(&files).unwrap();
        assert_eq!(fs::read_to_string(&files.out).unwrap(), "");
    }

    #[test]
    fn the_tail_is_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(tail(&path, 0, 3).is_empty());
        fs::write(&path, "a\nb\nc\nd\n").unwrap();
        assert_eq!(tail(&path, 0, 3), ["b", "c", "d"]);
        assert_eq!(tail(&path, 6, 3), ["d"]);
        assert!(tail(&path, 99, 3).is_empty());
        fs::write(&path, format!("{}\nend", "x".repeat(20_000))).unwrap();
        assert_eq!(tail(&path, 0, 3), ["end"]);
    }
}
