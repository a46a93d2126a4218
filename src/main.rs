//! The `corelane` program.

fn main() {}
