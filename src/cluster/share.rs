//! Which worker accepts from which socket.

use crate::net::Arming;

/// Names a listening socket of a cluster for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SocketId {
    /// The address.
    pub group: u32,
    /// Which of the address's sockets.
    pub index: u32,
}

impl From<SocketId> for u64 {
    fn from(socket: SocketId) -> Self {
        (u64::from(socket.group) << 32) | u64::from(socket.index)
    }
}

/// A socket that a worker is to accept from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stake {
    pub socket: SocketId,
    pub arming: Arming,
    /// Cancel what is armed and arm again: somebody else who was armed on the socket is gone, and
    /// may have taken a wake-up with him.
    pub rearm: bool,
}

/// The sockets of a worker: of each address those whose index modulo the workers is the worker's.
/// With more workers than sockets several work on duplicates of the same one.
pub(super) fn share_of(worker: usize, workers: usize, groups: &[Vec<SocketId>]) -> Vec<SocketId> {
    debug_assert!(worker < workers, "worker {worker} of {workers}");
    let of_group = |group: &Vec<SocketId>| {
        let first = worker % group.len().max(1);
        group.iter().copied().skip(first).step_by(workers).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(group: u32, sockets: u32) -> Vec<SocketId> {
        (0..sockets).map(|index| SocketId { group, index }).collect()
    }

    #[test]
    fn every_socket_has_a_worker_and_every_worker_a_socket() {
        for sockets in 1..6 {
            for workers in 1..9 {
                let groups = [group(0, sockets), group(1, 1)];
                let shares: Vec<_> = (0..workers).map(|n| share_of(n, workers, &groups)).collect();
                for socket in groups.concat() {
                    let owners = shares.iter().filter(|share| share.contains(&socket)).count();
                    let alone = workers <= groups[socket.group as usize].len();
                    assert!(owners > 0 && (!alone || owners == 1), "{socket:?} of {workers}");
                }
                for group in 0..2 {
                    let has = |share: &Vec<SocketId>| share.iter().any(|id| id.group == group);
                    assert!(shares.iter().all(has), "{workers} workers, {sockets} sockets");
                }
            }
        }
    }

    #[test]
    fn workers_divide_the_sockets() {
        for (workers, sockets, expected) in [
            (1, 3, &[&[0, 1, 2][..]][..]),
            (2, 2, &[&[0], &[1]]),
            (2, 5, &[&[0, 2, 4], &[1, 3]]),
            (3, 2, &[&[0], &[1], &[0]]),
            (5, 2, &[&[0], &[1], &[0], &[1], &[0]]),
            (3, 1, &[&[0], &[0], &[0]]),
        ] {
            for (worker, expected) in expected.iter().enumerate() {
                let share = share_of(worker, workers, &[group(0, sockets)]);
                let indices: Vec<_> = share.iter().map(|socket| socket.index).collect();
                assert_eq!(indices, *expected, "worker {worker} of {workers}, {sockets} sockets");
            }
        }
    }
}
