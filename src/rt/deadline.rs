//! Coarse deadlines: one queue per kind of timeout.
//!
//! All deadlines of a kind last equally long, so the one armed last is due last: arming appends,
//! disarming unlinks, and the earliest of all is the head of one of a few queues. No timer
//! operation per request, no heap.

use std::time::Duration;

use slab::Slab;

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// A kind of timeout, made by [`Deadlines::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u16);

/// Milliseconds since the driver began. They wrap after 49 days, so they are only ever compared
/// with one another, and a timeout is at most half of that.
pub(super) type Millis = u32;

/// The longest timeout, in milliseconds; longer ones are cut to it.
const LONGEST: u32 = u32::MAX / 2 - 1;

struct Node {
    previous: u32,
    next: u32,
    due: Millis,
    kind: Kind,
    /// What the deadline is for; opaque here.
    owner: u64,
}

struct Fifo {
    duration: u32,
    head: u32,
    tail: u32,
}

/// The deadlines of one core.
#[derive(Default)]
pub(super) struct Deadlines {
    nodes: Slab<Node>,
    fifos: Vec<Fifo>,
}

impl Deadlines {
    /// The kind of timeout that lasts this long, rounded up to whole milliseconds.
    pub(super) fn kind(&mut self, duration: Duration) -> Kind {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        let duration = u32::try_from(millis).unwrap_or(LONGEST).min(LONGEST);
        let known = self.fifos.iter().position(|fifo| fifo.duration == duration);
        let index = known.unwrap_or_else(|| {
            self.fifos.push(Fifo { duration, head: NONE, tail: NONE });
            self.fifos.len() - 1
        });
        Kind(u16::try_from(index).expect("invariant: a handful of durations"))
    }

    /// Arms a deadline for `owner`, or moves the one in `node` to its new time.
    pub(super) fn arm(&mut self, node: &mut u32, kind: Kind, owner: u64, now: Millis) {
        let due = now.wrapping_add(self.fifos[usize::from(kind.0)].duration);
        if *node == NONE {
            let fresh = self.nodes.insert(Node { previous: NONE, next: NONE, due, kind, owner });
            *node = u32::try_from(fresh).expect("invariant: fewer deadlines than descriptors");
        } else {
            self.unlink(*node);
            let node = &mut self.nodes[*node as usize];
            node.due = due;
            node.kind = kind;
        }
        self.append(*node);
    }

    /// Disarms the deadline in `node`, if there is one.
    pub(super) fn disarm(&mut self, node: &mut u32) {
        if *node != NONE {
            self.unlink(*node);
            self.nodes.remove(*node as usize);
            *node = NONE;
        }
    }

    /// Has the deadlines that were armed as of `then` count from `now` on.
    pub(super) fn postpone(&mut self, then: Millis, now: Millis) {
        for fifo in &self.fifos {
            let (armed, due) = (then.wrapping_add(fifo.duration), now.wrapping_add(fifo.duration));
            let mut last = fifo.tail;
            while let Some(node) = self.nodes.get_mut(last as usize).filter(|n| n.due == armed) {
                node.due = due;
                last = node.previous;
            }
        }
    }

    /// Takes out one deadline that is due, and says whose it was. Its node is gone.
    pub(super) fn expire(&mut self, now: Millis) -> Option<u64> {
        let due = |head: u32| self.nodes.get(head as usize).is_some_and(|n| !after(n.due, now));
        let mut node = self.fifos.iter().map(|fifo| fifo.head).find(|head| due(*head))?;
        let owner = self.nodes[node as usize].owner;
        self.disarm(&mut node);
        Some(owner)
    }

    /// How long until the earliest deadline.
    pub(super) fn next(&self, now: Millis) -> Option<Duration> {
        let heads = self.fifos.iter().filter_map(|fifo| self.nodes.get(fifo.head as usize));
        let left = |node: &Node| if after(node.due, now) { node.due.wrapping_sub(now) } else { 0 };
        heads.map(left).min().map(|millis| Duration::from_millis(millis.into()))
    }

    fn append(&mut self, node: u32) {
        let kind = self.nodes[node as usize].kind;
        let fifo = &mut self.fifos[usize::from(kind.0)];
        let last = std::mem::replace(&mut fifo.tail, node);
        if last == NONE {
            fifo.head = node;
        } else {
            self.nodes[last as usize].next = node;
        }
        self.nodes[node as usize].previous = last;
        self.nodes[node as usize].next = NONE;
    }

    fn unlink(&mut self, node: u32) {
        let Node { previous, next, kind, .. } = self.nodes[node as usize];
        let fifo = &mut self.fifos[usize::from(kind.0)];
        match self.nodes.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => fifo.head = next,
        }
        match self.nodes.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => fifo.tail = previous,
        }
    }
}

fn after(a: Millis, b: Millis) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed(deadlines: &mut Deadlines, kind: Kind, owner: u64, now: Millis) -> u32 {
        let mut node = NONE;
        deadlines.arm(&mut node, kind, owner, now);
        node
    }

    fn expired(deadlines: &mut Deadlines, now: Millis) -> Vec<u64> {
        std::iter::from_fn(|| deadlines.expire(now)).collect()
    }

    #[test]
    fn expires_in_the_order_of_being_due_across_kinds() {
        let mut deadlines = Deadlines::default();
        let short = deadlines.kind(Duration::from_millis(10));
        let long = deadlines.kind(Duration::from_millis(100));
        armed(&mut deadlines, long, 1, 0);
        armed(&mut deadlines, short, 2, 5);
        assert_eq!(deadlines.next(5), Some(Duration::from_millis(10)));
        assert!(expired(&mut deadlines, 14).is_empty());
        assert_eq!(expired(&mut deadlines, 15), [2]);
        assert_eq!(deadlines.next(15), Some(Duration::from_millis(85)));
        assert_eq!(expired(&mut deadlines, 100), [1]);
        assert_eq!(deadlines.next(100), None);
    }

    #[test]
    fn rearming_moves_to_the_end_and_disarming_takes_out() {
        let mut deadlines = Deadlines::default();
        let kind = deadlines.kind(Duration::from_millis(10));
        let mut nodes: Vec<u32> = (0..4).map(|i| armed(&mut deadlines, kind, i, 0)).collect();
        deadlines.arm(&mut nodes[0], kind, 0, 5);
        deadlines.disarm(&mut nodes[2]);
        assert_eq!(expired(&mut deadlines, 10), [1, 3]);
        assert_eq!(expired(&mut deadlines, 15), [0]);
        assert!(deadlines.nodes.is_empty());
    }

    #[test]
    fn postpones_what_was_armed_last_and_nothing_else() {
        let mut deadlines = Deadlines::default();
        let short = deadlines.kind(Duration::from_millis(10));
        let long = deadlines.kind(Duration::from_millis(100));
        armed(&mut deadlines, short, 1, 4);
        armed(&mut deadlines, long, 2, 5);
        armed(&mut deadlines, short, 3, 5);
        armed(&mut deadlines, short, 4, 5);
        deadlines.postpone(5, 50);
        assert_eq!(expired(&mut deadlines, 59), [1]);
        assert_eq!(expired(&mut deadlines, 60), [3, 4]);
        assert!(expired(&mut deadlines, 149).is_empty());
        assert_eq!(expired(&mut deadlines, 150), [2]);
    }

    #[test]
    fn survives_the_wrap_of_the_clock() {
        let mut deadlines = Deadlines::default();
        let kind = deadlines.kind(Duration::from_millis(10));
        armed(&mut deadlines, kind, 7, u32::MAX - 3);
        assert!(expired(&mut deadlines, u32::MAX).is_empty());
        assert_eq!(deadlines.next(u32::MAX), Some(Duration::from_millis(7)));
        assert_eq!(expired(&mut deadlines, 6), [7]);
    }

    #[test]
    fn rounds_up_and_cuts_what_is_too_long() {
        let mut deadlines = Deadlines::default();
        let tiny = deadlines.kind(Duration::from_micros(1));
        let huge = deadlines.kind(Duration::from_secs(u64::MAX));
        armed(&mut deadlines, tiny, 1, 0);
        armed(&mut deadlines, huge, 2, 0);
        assert_eq!(deadlines.next(0), Some(Duration::from_millis(1)));
        assert_eq!(expired(&mut deadlines, 1_000_000), [1]);
    }
}
