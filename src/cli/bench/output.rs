//! A file that is written whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::exit::Failure;

/// Where to write, known to be writable before there is anything to write.
#[derive(Debug)]
pub(super) struct Output {
    /// As the user named it.
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A file, or where one is to be: a new one takes its place.
    File(PathBuf),
    /// A pipe or a device, which is written to as it is.
    Open(File),
}

impl Output {
    /// Finds out whether it can be written, and leaves no trace.
    pub(super) fn check(path: &Path) -> Result<Self, Failure> {
        let place = find(path).map_err(|error| {
            let problem = format!("cannot write {}: {error}", path.display());
            Failure::Usage { problem, hint: "choose another file" }
        })?;
        Ok(Self { path: path.to_owned(), place })
    }

    /// Writes it.
    pub(super) fn write(self, text: &str) -> Result<(), Failure> {
        let written = match self.place {
            Place::Open(mut file) => file.write_all(text.as_bytes()),
            Place::File(path) => replace(&path, text),
        };
        written.map_err(|error| Failure::File { path: self.path, error })
    }
}

fn find(path: &Path) -> io::Result<Place> {
    let target = match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => {
            return Ok(Place::Open(OpenOptions::new().write(true).open(path)?));
        }
        // Behind a link: the link stays.
        Ok(_) => fs::canonicalize(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let beside = beside(&target)?;
    File::create_new(&beside)?;
    fs::remove_file(&beside)?;
    Ok(Place::File(target))
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = beside(path)?;
    let mut file = File::create_new(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The error at hand is the one to tell.
        let _left = fs::remove_file(&beside);
    }
    written
}

/// The file that is written first, and then renamed.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_check_leaves_no_trace_and_writing_leaves_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.svg");
        let output = Output::check(&path).unwrap();
        assert_eq!(names(dir.path()), [""; 0]);
        output.write("one").unwrap();
        Output::check(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one", "a check changes nothing");
        Output::check(&path).unwrap().write("two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(dir.path()), ["a.svg"]);
    }

    #[test]
    fn what_cannot_be_written_is_found_out_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for (path, problem) in [
            (dir.path().to_owned(), "is a directory"),
            (dir.path().join("none/a.svg"), "No such file"),
            (PathBuf::from("/proc/a.svg"), "/proc/a.svg"),
            (PathBuf::from("/"), "is a directory"),
        ] {
            let error = Output::check(&path).unwrap_err();
            assert_eq!(error.code(), super::super::super::exit::Code::Usage);
            assert!(error.to_string().contains(problem), "{error}");
        }
    }

    #[test]
    fn links_and_devices_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let [link, file] = ["link", "file"].map(|name| dir.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Output::check(&link).unwrap().write("new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        Output::check(Path::new("/dev/null")).unwrap().write("x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
