//! The secret that lets somebody look, and stop what he sees.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use cookie::{Cookie, SameSite};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::app::{Cookies, same_secret};

const BYTES: usize = 16;
/// Of the token, in the name of its cookie: a browser sends the cookies of a host to all its ports.
const NAME_DIGITS: usize = 8;

/// Kept from one start to the next, so that a page stays open and a bookmark good.
#[derive(Clone, Debug)]
pub(super) struct Token(String);

impl Token {
    /// The one in a file, made if there is none.
    pub(super) fn kept_at(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        match options.write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let token = Self::random()?;
                let written = writeln!(file, "{token}");
                // Half a token would be refused ever after.
                written.inspect_err(|_| drop(fs::remove_file(path)))?;
                Ok(token)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error),
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let token = text.trim();
        let whole = token.len() == 2 * BYTES && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        let broken = || io::Error::other(format!("it does not hold {} hex digits", 2 * BYTES));
        whole.then(|| Self(token.to_owned())).ok_or_else(broken)
    }

    fn random() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(format!("{:032x}", u128::from_ne_bytes(bytes))))
    }

    pub(super) fn is(&self, text: &str) -> bool {
        same_secret(&self.0, text)
    }

    /// Whether a browser has shown it.
    pub(super) fn is_in(&self, cookies: &Cookies) -> bool {
        cookies.get(&self.cookie_name()).is_some_and(|value| self.is(value))
    }

    /// What a browser keeps until it is closed. Pages of other sites cannot have it sent along with
    /// a request that changes something.
    pub(super) fn cookie(&self) -> Cookie<'static> {
        let cookie = Cookie::build((self.cookie_name(), self.0.clone()));
        cookie.path("/").http_only(true).same_site(SameSite::Lax).build()
    }

    fn cookie_name(&self) -> String {
        format!("corelane-{}", &self.0[..NAME_DIGITS])
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let made = Token::kept_at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = Token::kept_at(&path).unwrap();
        assert!(kept.is(&made.to_string()) && !kept.is("") && !kept.is(&made.0[1..]));
        fs::remove_file(&path).unwrap();
        assert!(!Token::kept_at(&path).unwrap().is(&made.to_string()), "another one");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for text in ["", "short", "z2345678901234567890123456789012"] {
            fs::write(&path, text).unwrap();
            let error = Token::kept_at(&path).unwrap_err().to_string();
            assert!(error.contains("32 hex digits"), "{text}: {error}");
        }
    }
}
