//! Users and groups of this machine.
#![expect(unsafe_code, reason = "the C library knows the users, wherever they are kept")]

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::ptr;

/// Room for an entry of the user or the group database.
const ENTRY_BYTES: usize = 16 * 1024;
/// The most groups that a user is taken to be in.
const GROUPS_MAX: usize = 1024;

/// Whom a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All groups, `gid` among them.
    pub groups: Vec<u32>,
    /// The user's name, and where it is at home.
    pub name: String,
    pub home: PathBuf,
}

/// Why there is no such identity. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// Nobody has that name.
    #[error("there is no user `{0}` on this machine")]
    NoUser(String),
    /// No group has that name.
    #[error("there is no group `{0}` on this machine")]
    NoGroup(String),
    /// The database could not be read.
    #[error("cannot look up `{name}`: {source}")]
    Io {
        /// Who was looked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Identity {
    /// The user of this name or number, in its own group or in another.
    pub(crate) fn of(user: &str, group: Option<&str>) -> Result<Self, IdentityError> {
        let found = look_up_user(user)?.ok_or_else(|| IdentityError::NoUser(user.to_owned()))?;
        let gid = match group {
            Some(group) => {
                let found = look_up_group(group)?;
                found.ok_or_else(|| IdentityError::NoGroup(group.to_owned()))?
            }
            None => found.gid,
        };
        let groups = groups_of(&found.name, gid);
        Ok(Self { gid, groups, ..found })
    }

    /// Whom this process runs as.
    pub(crate) fn current() -> Result<Self, IdentityError> {
        Self::of(&rustix::process::geteuid().as_raw().to_string(), None)
    }
}

fn look_up_user(user: &str) -> Result<Option<Identity>, IdentityError> {
    let failed = |source| IdentityError::Io { name: user.to_owned(), source };
    let Ok(name) = CString::new(user) else { return Ok(None) };
    let mut buffer = vec![0; ENTRY_BYTES];
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let mut found = ptr::null_mut();
    let (at, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the entry, the buffer that its texts are in, and the pointer are written during the
    // call; all three are ours.
    let error = unsafe {
        match user.parse::<u32>() {
            Ok(uid) => libc::getpwuid_r(uid, entry.as_mut_ptr(), at, room, &raw mut found),
            Err(_) => libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), at, room, &raw mut found),
        }
    };
    if found.is_null() {
        return absent(error).map_err(failed);
    }
    // SAFETY: it was found, so the entry has been written, and its texts are in the buffer.
    let (entry, name, home) = unsafe {
        let entry = entry.assume_init();
        (entry, CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir))
    };
    Ok(Some(Identity {
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        groups: Vec::new(),
        name: name.to_string_lossy().into_owned(),
        home: OsString::from_vec(home.to_bytes().to_vec()).into(),
    }))
}

fn look_up_group(group: &str) -> Result<Option<u32>, IdentityError> {
    if let Ok(gid) = group.parse() {
        return Ok(Some(gid));
    }
    let failed = |source| IdentityError::Io { name: group.to_owned(), source };
    let Ok(name) = CString::new(group) else { return Ok(None) };
    let mut buffer = vec![0; ENTRY_BYTES];
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let mut found = ptr::null_mut();
    // SAFETY: as for a user.
    let error = unsafe {
        let (at, room) = (buffer.as_mut_ptr(), buffer.len());
        libc::getgrnam_r(name.as_ptr(), entry.as_mut_ptr(), at, room, &raw mut found)
    };
    if found.is_null() {
        return absent(error).map_err(failed);
    }
    // SAFETY: it was found, so the entry has been written.
    Ok(Some(unsafe { entry.assume_init() }.gr_gid))
}

/// Nothing was found: because there is nothing, or because it could not be looked for.
fn absent<T>(error: i32) -> io::Result<Option<T>> {
    match error {
        0 | libc::ENOENT | libc::ESRCH => Ok(None),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The groups of a user, with this one first.
fn groups_of(user: &str, gid: u32) -> Vec<u32> {
    let Ok(name) = CString::new(user) else { return vec![gid] };
    let mut groups = vec![0; GROUPS_MAX];
    let mut count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
    // SAFETY: at most `count` numbers are written, which there is room for, and the count.
    let found =
        unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
    if found == -1 {
        return vec![gid];
    }
    groups.truncate(usize::try_from(count).unwrap_or_default());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_users_by_name_and_by_number() {
        let root = Identity::of("root", None).unwrap();
        assert_eq!((root.uid, root.gid, root.name.as_str()), (0, 0, "root"));
        assert!(root.home.is_absolute() && root.groups.contains(&0), "{root:?}");
        assert_eq!(Identity::of("0", None).unwrap(), root);
        let nobody = Identity::of("nobody", Some("root")).unwrap();
        assert!(nobody.uid != 0 && nobody.gid == 0, "{nobody:?}");
        assert_eq!(Identity::current().unwrap().uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn says_who_is_not_there() {
        let missing = |user, group| Identity::of(user, group).unwrap_err().to_string();
        assert_eq!(missing("no-such", None), "there is no user `no-such` on this machine");
        assert_eq!(missing("root", Some("none")), "there is no group `none` on this machine");
        assert_eq!(missing("a\0b", None), "there is no user `a\0b` on this machine");
    }
}
