//! What a path names below a root: decided before anything is opened.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode;

/// A file or a directory below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Relative, without `.` and `..`; the name of the index, if a directory is asked for.
    pub path: PathBuf,
    /// Whether the path ended in a slash.
    pub is_directory: bool,
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not percent-encoded as it should be, or has a NUL.
    Malformed,
    /// There can be no such file, or it is hidden.
    NotFound,
}

/// Reads a path below the root, as it was received and without a slash at its beginning.
pub(super) fn parse(raw: &str, index: &Path, dotfiles: bool) -> Result<Target, Refusal> {
    if !is_encoded(raw.as_bytes()) {
        return Err(Refusal::Malformed);
    }
    let (names, is_directory) = match raw.strip_suffix('/') {
        _ if raw.is_empty() => ("", true),
        Some(names) => (names, true),
        None => (raw, false),
    };
    let mut path = PathBuf::new();
    for name in names.split('/').filter(|_| !names.is_empty() || raw == "/") {
        path.push(decode(name, dotfiles)?);
    }
    if is_directory {
        path.push(index);
    }
    Ok(Target { path, is_directory })
}

/// One segment as the name of a file. None is what a file system would read as something else: an
/// empty one, a separator, `.` or `..`.
fn decode(segment: &str, dotfiles: bool) -> Result<OsString, Refusal> {
    let name: Vec<u8> = percent_decode(segment.as_bytes()).collect();
    if name.contains(&0) {
        return Err(Refusal::Malformed);
    }
    let separates = name.iter().any(|byte| matches!(byte, b'/' | b'\\'));
    let hidden = matches!(name.as_slice(), b"" | b"." | b"..") || name[0] == b'.' && !dotfiles;
    if separates || hidden {
        return Err(Refusal::NotFound);
    }
    Ok(OsString::from_vec(name))
}

/// Whether each `%` is followed by two hexadecimal digits.
fn is_encoded(raw: &[u8]) -> bool {
    let escape_at = |at: usize| {
        raw.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    raw.iter().enumerate().all(|(at, byte)| *byte != b'%' || escape_at(at))
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    fn named(raw: &str, dotfiles: bool) -> Result<(String, bool), Refusal> {
        let target = parse(raw, Path::new("index.html"), dotfiles)?;
        Ok((target.path.to_string_lossy().into_owned(), target.is_directory))
    }

    #[test]
    fn names_what_is_below_the_root_and_nothing_else() {
        let file = |path: &str| Ok((path.to_owned(), false));
        let directory = |path: &str| Ok((path.to_owned(), true));
        let (malformed, missing) = (Err(Refusal::Malformed), Err(Refusal::NotFound));
        let table = [
            ("", directory("index.html")),
            ("a.txt", file("a.txt")),
            ("a/b.txt", file("a/b.txt")),
            ("a/", directory("a/index.html")),
            ("a%20b/%C3%A9.txt", file("a b/é.txt")),
            ("a..b/c...", file("a..b/c...")),
            ("%41", file("A")),
            ("%2541", file("%41")),
            ("a+b", file("a+b")),
            // Escapes that are none.
            ("%", malformed.clone()),
            ("a%2", malformed.clone()),
            ("a%zz", malformed.clone()),
            ("%%41", malformed.clone()),
            ("a%00.txt", malformed.clone()),
            ("%00", malformed),
            // Out of the root, in every spelling.
            ("..", missing.clone()),
            ("../etc/passwd", missing.clone()),
            ("a/../../etc/passwd", missing.clone()),
            ("a/..", missing.clone()),
            ("a/../", missing.clone()),
            ("%2e%2e/etc/passwd", missing.clone()),
            ("%2E./etc/passwd", missing.clone()),
            ("..%2fetc%2fpasswd", missing.clone()),
            ("a%2fb", missing.clone()),
            ("..%5c..%5cetc", missing.clone()),
            ("..\\..\\etc", missing.clone()),
            ("/etc/passwd", missing.clone()),
            ("/", missing.clone()),
            ("//", missing.clone()),
            ("a//b", missing.clone()),
            ("a//", missing.clone()),
            (".", missing.clone()),
            ("./a", missing.clone()),
            ("a/.", missing.clone()),
            // Hidden.
            (".git/config", missing.clone()),
            ("a/.env", missing.clone()),
            ("%2eenv", missing),
        ];
        for (raw, expected) in table {
            assert_eq!(named(raw, false), expected, "{raw}");
        }
    }

    #[test]
    fn dot_files_are_shown_if_asked_for_but_never_the_way_up() {
        let missing = Err(Refusal::NotFound);
        let known = ".well-known/security.txt";
        assert_eq!(named(known, true), Ok((known.to_owned(), false)));
        for raw in ["..", ".", "a/../b", "%2e%2e", ".%2e/x", "%2e/x"] {
            assert_eq!(named(raw, true), missing, "{raw}");
        }
    }

    proptest! {
        /// Whatever is asked for, every part of what is opened is the name of something below.
        #[test]
        fn no_path_leaves_the_root(raw in r"([./\\%a]|%2[ef]|%5c|%00|[ -~]){0,24}") {
            if let Ok(target) = parse(&raw, Path::new("index.html"), true) {
                let mut components = target.path.components();
                prop_assert!(components.all(|part| matches!(part, Component::Normal(_))), "{raw}");
                prop_assert!(!target.path.to_string_lossy().contains('\0'));
            }
        }
    }
}
