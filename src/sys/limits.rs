//! Resource limits: a server wants as many descriptors and as much pinned memory as it may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limits of this process; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open descriptors (`RLIMIT_NOFILE`, `ulimit -n`).
    pub(crate) descriptors: Option<u64>,
    /// Bytes of locked memory (`RLIMIT_MEMLOCK`, `ulimit -l`), which pays for rings.
    pub(crate) locked_bytes: Option<u64>,
}

impl Limits {
    /// The limits as they are now.
    pub(crate) fn current() -> Self {
        Self {
            descriptors: getrlimit(Resource::Nofile).current,
            locked_bytes: getrlimit(Resource::Memlock).current,
        }
    }

    /// Raises both soft limits to the hard ones and says what they are then.
    ///
    /// A limit that cannot be raised stays as it is: what was got is in the answer, and whoever
    /// needs more than that says so when it does.
    pub(crate) fn raise() -> Self {
        for resource in [Resource::Nofile, Resource::Memlock] {
            // The answer below tells what came of it.
            let _refused = raise_to_hard(resource);
        }
        Self::current()
    }
}

fn raise_to_hard(resource: Resource) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(resource);
    if current != maximum {
        setrlimit(resource, Rlimit { current: maximum, maximum })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_the_soft_limits_to_the_hard_ones() {
        let got = Limits::raise();
        assert_eq!(got.descriptors, getrlimit(Resource::Nofile).maximum);
        assert_eq!(got.locked_bytes, getrlimit(Resource::Memlock).maximum);
        assert_eq!(got, Limits::current());
    }
}
