//! The one restart policy: what follows when a worker, or a program, has ended.
//!
//! Pure: it reads no clock and no random source, both are handed in.
//!
//! | file | what |
//! |---|---|
//! | `policy` | what is asked for |
//! | `budget` | what it comes to, end by end |

#[cfg_attr(not(test), expect(dead_code, reason = "the supervisor does not ask it yet"))]
mod budget;
mod policy;

#[expect(unused_imports, reason = "the supervisor does not ask it yet")]
pub(crate) use budget::{Budget, Verdict};
pub use policy::{Restart, When};
