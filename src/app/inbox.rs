//! What an app does with messages from other workers and from the program.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;

type Reader = Box<dyn Fn(Box<dyn Any + Send>)>;

/// By the type of the message, who reads it.
#[derive(Default)]
pub(super) struct Inbox(HashMap<TypeId, Reader>);

impl Inbox {
    /// Has messages of this type read by `read`. False if they are read already.
    #[must_use]
    pub(super) fn insert<M: Any>(&mut self, read: impl Fn(M) + 'static) -> bool {
        let reader = move |message: Box<dyn Any + Send>| {
            if let Ok(message) = message.downcast() {
                read(*message);
            }
        };
        self.0.insert(TypeId::of::<M>(), Box::new(reader)).is_none()
    }

    /// Takes over the readers of another. False if both read the same type.
    pub(super) fn merge(&mut self, other: Self) -> bool {
        let before = self.0.len() + other.0.len();
        self.0.extend(other.0);
        self.0.len() == before
    }

    /// Has a message read, if anybody reads its type.
    pub(super) fn deliver(&self, message: Box<dyn Any + Send>) -> bool {
        let reader = self.0.get(&(*message).type_id());
        reader.is_some_and(|read| {
            read(message);
            true
        })
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", type_name::<Self>(), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn each_message_is_read_by_who_reads_its_type() {
        let read = Rc::new(RefCell::new(Vec::new()));
        let mut inbox = Inbox::default();
        let (texts, numbers) = (Rc::clone(&read), Rc::clone(&read));
        assert!(inbox.insert(move |text: String| texts.borrow_mut().push(text)));
        let mut other = Inbox::default();
        let double = move |number: u32| numbers.borrow_mut().push((2 * number).to_string());
        assert!(other.insert(double));
        assert!(!other.insert(drop::<u32>) && other.insert(drop::<u8>));
        assert!(inbox.merge(other));
        assert!(inbox.deliver(Box::new("a".to_owned())) && inbox.deliver(Box::new(21_u32)));
        assert!(!inbox.deliver(Box::new(1.5_f32)), "nobody reads it");
        assert_eq!(*read.borrow(), ["a"]);
        let mut again = Inbox::default();
        assert!(again.insert(drop::<String>) && !inbox.merge(again));
    }
}
