//! Values that middleware attaches to a request.

use std::any::{Any, TypeId};
use std::fmt;

/// One value per type, attached to a request on its way through middleware.
///
/// A request never leaves its core, so the values need not be `Send`. Empty, it takes no memory.
///
/// ```
/// use corelane::Extensions;
///
/// let mut extensions = Extensions::default();
/// assert_eq!(extensions.insert(7_u32), None);
/// assert_eq!(extensions.get::<u32>(), Some(&7));
/// ```
#[derive(Default)]
pub struct Extensions {
    /// Few requests carry more than two or three; a scan beats a map.
    entries: Vec<(TypeId, Box<dyn Any>)>,
}

impl Extensions {
    /// Attaches `value` and returns the one of the same type that was there.
    pub fn insert<T: 'static>(&mut self, value: T) -> Option<T> {
        let previous = self.remove::<T>();
        self.entries.push((TypeId::of::<T>(), Box::new(value)));
        previous
    }

    /// The value of this type.
    #[must_use]
    pub fn get<T: 'static>(&self) -> Option<&T> {
        let (_, value) = self.entries.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// The value of this type, to be changed.
    pub fn get_mut<T: 'static>(&mut self) -> Option<&mut T> {
        let (_, value) = self.entries.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_mut()
    }

    /// Takes the value of this type out.
    pub fn remove<T: 'static>(&mut self) -> Option<T> {
        let index = self.entries.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        self.entries.swap_remove(index).1.downcast().ok().map(|value| *value)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.entries.len())
    }
}
