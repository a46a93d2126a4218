//! How connections are shared out among workers.

/// Who serves a new connection.
///
/// The kernel gives each connection to a worker by a hash of its addresses. That evens out over
/// many connections and is uneven with few: of 64 over eight workers one may get 4, another 12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Whoever has the fewest: a worker that has at least two connections more than that one
    /// passes a new one on.
    #[default]
    Least,
    /// Whomever the kernel chose.
    Kernel,
}
