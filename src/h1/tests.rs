//! Answers byte for byte.

mod answers;
