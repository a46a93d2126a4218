//! A log that is followed: what is written to it, also when it is put aside or emptied.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::control::AppReport;

/// How much of a file is read at once, from its end and from there on.
const READ_BYTES: u64 = 256 * 1024;

/// A log of an app.
pub(super) struct Follower {
    pub(super) app: String,
    /// `out` or `err`.
    pub(super) stream: &'static str,
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    offset: u64,
    /// The beginning of a line whose end has not been written yet.
    begun: Vec<u8>,
}

impl Follower {
    /// Of a file, which may not be there yet.
    pub(super) fn new(app: &str, stream: &'static str, path: &Path) -> Self {
        let (app, path) = (app.to_owned(), path.to_owned());
        Self { app, stream, path, file: None, inode: 0, offset: 0, begun: Vec::new() }
    }

    /// Both logs of an app.
    pub(super) fn both(app: &AppReport) -> [Self; 2] {
        let new = |stream, path| Self::new(&app.name, stream, path);
        [new("out", &app.logs.out), new("err", &app.logs.err)]
    }

    /// The last lines that are there.
    pub(super) fn last(&mut self, lines: usize) -> Vec<String> {
        self.open();
        let Some(file) = &mut self.file else { return Vec::new() };
        let end = file.metadata().map_or(0, |file| file.len());
        self.offset = end.saturating_sub(READ_BYTES);
        let cut = self.offset > 0;
        let mut all = self.read_on();
        if cut && !all.is_empty() {
            all.remove(0);
        }
        all.split_off(all.len().saturating_sub(lines))
    }

    /// What has been written since; of a file that was put aside the rest, then the new one.
    pub(super) fn read(&mut self) -> Vec<String> {
        let mut lines = self.read_on();
        let present = fs::metadata(&self.path);
        let replaced = present.as_ref().is_ok_and(|file| file.ino() != self.inode);
        let emptied = present.as_ref().is_ok_and(|file| file.len() < self.offset);
        if replaced || emptied {
            lines.extend(self.read_on());
            self.open();
            lines.extend(self.read_on());
        }
        lines
    }

    fn open(&mut self) {
        self.file = File::open(&self.path).ok();
        self.offset = 0;
        let about = self.file.as_ref().and_then(|file| file.metadata().ok());
        self.inode = about.map_or(0, |file| file.ino());
    }

    fn read_on(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let Ok(read) = self.read_some() else { return lines };
            let whole = self.begun.iter().rposition(|byte| *byte == b'\n');
            if let Some(end) = whole {
                let text: Vec<u8> = self.begun.drain(..=end).collect();
                lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
            }
            if read < READ_BYTES {
                return lines;
            }
        }
    }

    fn read_some(&mut self) -> io::Result<u64> {
        let Some(file) = &mut self.file else { return Ok(0) };
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.take(READ_BYTES).read_to_end(&mut self.begun)? as u64;
        self.offset += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_followed_through_its_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.out.log");
        fs::write(&path, "1\n2\n3\n4\nbeg").unwrap();
        let mut follower = Follower::new("a", "out", &path);
        assert_eq!(follower.last(2), ["3", "4"]);
        let mut file = File::options().append(true).open(&path).unwrap();
        writeln!(file, "un\n5").unwrap();
        assert_eq!(follower.read(), ["begun", "5"]);
        fs::rename(&path, dir.path().join("a.out.log.1")).unwrap();
        assert!(follower.read().is_empty());
        writeln!(file, "6").unwrap();
        fs::write(&path, "7\n").unwrap();
        assert_eq!(follower.read(), ["6", "7"]);
        fs::write(&path, "").unwrap();
        assert!(follower.read().is_empty());
        fs::write(&path, "8\n").unwrap();
        assert_eq!(follower.read(), ["8"]);
    }
}
