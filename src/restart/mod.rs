//! The one restart policy: what follows when a worker, or a program, has ended.
//!
//! Pure: it reads no clock and no random source, both are handed in.
//!
//! | file | what |
//! |---|---|
//! | `policy` | what is asked for |
//! | `budget` | what it comes to, end by end |

mod budget;
mod policy;

pub(crate) use budget::{Budget, Verdict};
pub use policy::{Restart, When};
