//! What an app offers to all of its handlers.

use std::any::{Any, TypeId, type_name};
use std::cell::{OnceCell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use super::extract::FromRequestParts;
use super::middleware::Layer;
use super::rejection::Rejection;
use crate::message::Request;

/// A value that [`App::state`](crate::App::state) has put into the app: one per core, shared by
/// that core's requests. What handlers change in it belongs into a `Cell` or `RefCell`.
///
/// ```
/// use std::cell::Cell;
/// use corelane::{App, State};
///
/// #[derive(Default)]
/// struct Hits(Cell<u64>);
///
/// let app = App::new().state(Hits::default()).get("/", async |State(hits): State<Hits>| {
///     hits.0.set(hits.0.get() + 1);
///     format!("request {} of this core", hits.0.get())
/// });
/// ```
#[derive(Debug)]
pub struct State<T: ?Sized>(pub Rc<T>);

impl<T: ?Sized> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: 'static> FromRequestParts for State<T> {
    type Rejection = Rejection;

    async fn from_request_parts(request: &mut Request) -> Result<Self, Rejection> {
        Scope::of(request).and_then(|scope| scope.get()).map(Self).ok_or_else(|| {
            let name = type_name::<T>();
            let message = format!("the app has no state of type `{name}`; add it by `App::state`");
            Rejection::missing_bug(message)
        })
    }
}

/// What one app has around its handlers. A mounted app sees its own states first, then those it
/// is mounted under; its own middleware is innermost.
#[derive(Default)]
pub(super) struct Scope {
    values: RefCell<Vec<(TypeId, Rc<dyn Any>)>>,
    /// The innermost first.
    layers: RefCell<Vec<Layer>>,
    parent: OnceCell<Rc<Scope>>,
}

impl Scope {
    /// Adds a value; `false` if there is one of this type already.
    pub(super) fn insert<T: 'static>(&self, value: T) -> bool {
        let id = TypeId::of::<T>();
        let mut values = self.values.borrow_mut();
        let fresh = values.iter().all(|(known, _)| *known != id);
        if fresh {
            values.push((id, Rc::new(value)));
        }
        fresh
    }

    /// Puts this scope below another.
    pub(super) fn mount(&self, parent: Rc<Self>) {
        let mounted = self.parent.set(parent);
        debug_assert!(mounted.is_ok(), "an app is consumed when it is mounted");
    }

    /// Puts a middleware around those that are there.
    pub(super) fn wrap(&self, layer: Layer) {
        self.layers.borrow_mut().push(layer);
    }

    /// All middleware, the innermost first; `None` if there is none.
    pub(super) fn layers(&self) -> Option<Vec<Layer>> {
        let wrapped = self.chain().any(|scope| !scope.layers.borrow().is_empty());
        wrapped.then(|| self.chain().flat_map(|scope| scope.layers.borrow().clone()).collect())
    }

    /// Whether it is an app by itself that offers nothing, as most are. One question instead of
    /// two, each along the chain.
    pub(super) fn is_bare(&self) -> bool {
        self.parent.get().is_none()
            && self.values.borrow().is_empty()
            && self.layers.borrow().is_empty()
    }

    /// Whether there is a state to be had.
    pub(super) fn has_state(&self) -> bool {
        self.chain().any(|scope| !scope.values.borrow().is_empty())
    }

    /// What the app of this request offers, if it offers anything.
    pub(super) fn of(request: &Request) -> Option<&Rc<Self>> {
        request.extensions().get()
    }

    /// The value of this type that is nearest.
    pub(super) fn get<T: 'static>(&self) -> Option<Rc<T>> {
        let id = TypeId::of::<T>();
        let find = |scope: &Self| {
            scope.values.borrow().iter().find(|(known, _)| *known == id).map(|(_, v)| Rc::clone(v))
        };
        self.chain().find_map(find)?.downcast().ok()
    }

    /// This scope, then the one it is mounted in, and so on.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |scope| scope.parent.get().map(|parent| &**parent))
    }
}
