//! Which route a path belongs to, and which of its handlers a method.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use http::header::{ALLOW, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use matchit::InsertError;

use super::builtin::Endpoint;
use super::pattern::{Fault, Kind, Pattern, PatternError};
use super::rejection::refuse;
use super::state::Scope;
use crate::message::{self, PARAMS_MAX, Request, Response, Span};

/// The methods that a route for any method is said to allow.
const COMMON_METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// One handler in its place.
#[derive(Clone)]
pub(super) struct Slot {
    /// Its place among the slots of its table.
    pub number: usize,
    /// The pattern as its author wrote it.
    pub pattern: Rc<str>,
    /// Of a handler whose app was mounted by itself: how many parameters at the front of its
    /// pattern it does not see.
    pub hidden: Option<usize>,
    /// Its pattern and the names of the parameters, if it has any.
    pub route: Option<Rc<message::Route>>,
    /// Who answers.
    pub endpoint: Endpoint,
    /// What the handler's app offers to it.
    pub scope: Rc<Scope>,
}

/// Which methods a slot answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// This one.
    One(Method),
    /// Every method that has no handler of its own.
    Any,
}

/// Everything that answers on one path.
#[derive(Default)]
pub(super) struct Route {
    slots: Vec<(Method, Slot)>,
    any: Option<Slot>,
    /// `Allow`, ready to be sent.
    allow: Rc<HeaderMap>,
}

/// What becomes of a request on this route.
pub(super) enum Choice<'a> {
    Slot(&'a Slot),
    /// The answer to OPTIONS, or to a method that is not answered here; with the scope of the app
    /// that the route belongs to.
    Reply(Option<&'a Rc<Scope>>, Response),
}

impl Route {
    /// The handler for this method.
    pub(super) fn choose(&self, request: &Request) -> Choice<'_> {
        let method = request.method();
        let own = self.slot(method);
        let of_get = || if *method == Method::HEAD { self.slot(&Method::GET) } else { None };
        if let Some(slot) = own.or_else(of_get).or(self.any.as_ref()) {
            return Choice::Slot(slot);
        }
        let reply = if *method == Method::OPTIONS {
            Response::empty(StatusCode::NO_CONTENT)
        } else {
            refuse(StatusCode::METHOD_NOT_ALLOWED, request.headers())
        };
        let scope = self.slots.first().map(|(_, slot)| &slot.scope);
        Choice::Reply(scope, self.with_allow(reply))
    }

    /// Says which methods are allowed. An answer that has no headers of its own shares them.
    fn with_allow(&self, mut reply: Response) -> Response {
        if reply.headers().is_empty() {
            return reply.with_shared_headers(Rc::clone(&self.allow));
        }
        let allow = self.allow.iter().map(|(name, value)| (name.clone(), value.clone()));
        reply.headers_mut().extend(allow);
        reply
    }

    /// Every handler, with its method if it has one.
    fn all(&self) -> impl Iterator<Item = (Option<&Method>, &Slot)> {
        let one = self.slots.iter().map(|(method, slot)| (Some(method), slot));
        one.chain(self.any.iter().map(|slot| (None, slot)))
    }

    fn slot(&self, method: &Method) -> Option<&Slot> {
        self.slots.iter().find(|(candidate, _)| candidate == method).map(|(_, slot)| slot)
    }

    fn add(&mut self, verb: Verb, slot: Slot) -> Result<(), PatternError> {
        let refuse = |fault| Err(PatternError::new(&slot.pattern, fault));
        match verb {
            Verb::One(method) => {
                if let Some(taken) = self.slot(&method) {
                    let with = taken.pattern.to_string();
                    return refuse(Fault::Taken { method, with });
                }
                self.slots.push((method, slot));
            }
            Verb::Any => {
                if let Some(taken) = &self.any {
                    return refuse(Fault::AnyTaken(taken.pattern.to_string()));
                }
                self.any = Some(slot);
            }
        }
        self.allow = Rc::new(allow(&self.methods()));
        Ok(())
    }

    /// The methods answered here, those answered for it included.
    fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<Method> =
            self.slots.iter().map(|(method, _)| method.clone()).collect();
        if self.any.is_some() {
            methods.extend(COMMON_METHODS);
        }
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.push(Method::OPTIONS);
        methods
    }
}

/// An `Allow` header: each method once, the common ones first.
fn allow(methods: &[Method]) -> HeaderMap {
    let common = COMMON_METHODS.iter().filter(|method| methods.contains(method));
    let others = methods.iter().filter(|method| !COMMON_METHODS.contains(method));
    let list: Vec<&str> = common.chain(others).map(Method::as_str).collect();
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&list.join(", ")) {
        headers.insert(ALLOW, value);
    }
    headers
}

/// All routes. A literal path is tried before patterns with parameters, those before wildcards;
/// among the latter two, literal segments before parameters, from left to right.
///
/// Looking up allocates nothing, with two exceptions of matchit's: a pattern of more than three
/// parameters, and one that shares the beginning of a segment with another's parameter.
#[derive(Default)]
pub(super) struct Table {
    routes: Vec<Route>,
    exact: HashMap<Box<str>, usize, BuildHasherDefault<PathHasher>>,
    params: matchit::Router<usize>,
    wildcards: matchit::Router<usize>,
    /// Which route has which shape, and the pattern that it was first written as.
    shapes: HashMap<String, (usize, Rc<str>)>,
    /// The pattern of every slot, in the order of their numbers.
    slots: Vec<Rc<str>>,
}

/// Hashes a path in a few instructions and without a secret: clients choose what is looked up, but
/// only the program's author what is in the table, so nobody can fill it with collisions.
#[derive(Default)]
struct PathHasher(u64);

impl PathHasher {
    /// Both halves of the product, so that every bit of the word reaches every bit of the hash.
    fn mix(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0.rotate_left(5) ^ word) * u128::from(ODD);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let lower = product as u64;
        self.0 = lower ^ (product >> 64) as u64;
    }
}

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(last));
        }
    }

    /// What is behind the bytes of a text.
    fn write_u8(&mut self, byte: u8) {
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The values of a pattern's parameters: ranges into the path.
pub(super) type Values = [Span; PARAMS_MAX];

impl Table {
    /// Adds a handler.
    pub(super) fn add(
        &mut self,
        verb: Verb,
        pattern: &Pattern,
        endpoint: Endpoint,
        scope: Rc<Scope>,
    ) -> Result<(), PatternError> {
        self.add_hiding(None, verb, pattern, endpoint, scope)
    }

    /// As [`add`](Self::add), of a handler that does not see so many parameters at the front.
    fn add_hiding(
        &mut self,
        hidden: Option<usize>,
        verb: Verb,
        pattern: &Pattern,
        endpoint: Endpoint,
        scope: Rc<Scope>,
    ) -> Result<(), PatternError> {
        let index = self.index_of(pattern)?;
        let route = (!pattern.names.is_empty()).then(|| {
            let (pattern, names) =
                (Rc::clone(&pattern.text), pattern.names[hidden.unwrap_or(0)..].into());
            Rc::new(message::Route { pattern, names })
        });
        let number = self.slots.len();
        let pattern = Rc::clone(&pattern.text);
        let slot = Slot { number, pattern: Rc::clone(&pattern), hidden, route, endpoint, scope };
        self.routes[index].add(verb, slot)?;
        self.slots.push(pattern);
        Ok(())
    }

    /// Takes over every handler of a mounted app. One that is mounted by itself sees none of the
    /// prefix's parameters, nor does one whose app was mounted so before.
    pub(super) fn mount(
        &mut self,
        prefix: &Pattern,
        by_itself: bool,
        table: Self,
    ) -> Result<(), PatternError> {
        let mut all = Vec::new();
        for route in table.routes {
            all.extend(route.slots.into_iter().map(|(method, slot)| (Verb::One(method), slot)));
            all.extend(route.any.map(|slot| (Verb::Any, slot)));
        }
        all.sort_by_key(|(_, slot)| slot.number);
        for (verb, slot) in all {
            let pattern = Pattern::under(&prefix.text, &slot.pattern)?;
            let hidden = slot.hidden.or(by_itself.then_some(0));
            let hidden = hidden.map(|hidden| hidden + prefix.names.len());
            if &*slot.pattern == "/" && slot.endpoint.is_directory() {
                // What is in a directory is named relative to its slash.
                let directory = Pattern::parse(&format!("{}/", pattern.text))?;
                let (endpoint, scope) = (slot.endpoint.clone(), Rc::clone(&slot.scope));
                self.add_hiding(hidden, verb.clone(), &directory, endpoint, scope)?;
            }
            self.add_hiding(hidden, verb, &pattern, slot.endpoint, slot.scope)?;
        }
        Ok(())
    }

    /// The route of this path, and the values of its parameters as ranges into the path.
    pub(super) fn find(&self, path: &str) -> Option<(&Route, Values)> {
        if let Some(index) = self.exact.get(path) {
            return Some((&self.routes[*index], Values::default()));
        }
        let found = self.params.at(path).or_else(|_| self.wildcards.at(path)).ok()?;
        let mut values = Values::default();
        for (span, (_, value)) in values.iter_mut().zip(found.params.iter()) {
            *span = Span::of(value.as_bytes(), path.as_bytes());
        }
        Some((&self.routes[*found.value], values))
    }

    /// The same routes by their patterns in lower case. Of two that differ in case alone the one
    /// that was added first stays.
    pub(super) fn folded(&self) -> Self {
        let mut folded = Self::default();
        for (method, slot) in self.all() {
            let verb = method.map_or(Verb::Any, |method| Verb::One(method.clone()));
            let Ok(mut pattern) = Pattern::parse(&slot.pattern) else { continue };
            pattern.shape.make_ascii_lowercase();
            if let Ok(index) = folded.index_of(&pattern) {
                // Somebody else has it.
                let _taken = folded.routes[index].add(verb, slot.clone());
            }
        }
        folded
    }

    /// Every handler, in the order of their numbers.
    fn all(&self) -> Vec<(Option<&Method>, &Slot)> {
        let mut all: Vec<_> = self.routes.iter().flat_map(Route::all).collect();
        all.sort_by_key(|(_, slot)| slot.number);
        all
    }

    /// The method and the pattern of every handler.
    pub(super) fn listing(&self) -> Vec<(Option<&Method>, &str)> {
        self.all().into_iter().map(|(method, slot)| (method, &*slot.pattern)).collect()
    }

    /// The answer to `OPTIONS *`.
    pub(super) fn options(&self) -> Response {
        let mut methods: Vec<Method> = vec![Method::OPTIONS];
        for method in self.routes.iter().flat_map(Route::methods) {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        Response::empty(StatusCode::NO_CONTENT).with_shared_headers(Rc::new(allow(&methods)))
    }

    /// The pattern of every route, in the order in which they were first added.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| {
            let slot = route.slots.first().map(|(_, slot)| slot).or(route.any.as_ref())?;
            Some(&*slot.pattern)
        })
    }

    /// The pattern of every slot, in the order of their numbers.
    pub(super) fn slots(&self) -> &[Rc<str>] {
        &self.slots
    }

    /// The route of this pattern, made if there is none yet.
    fn index_of(&mut self, pattern: &Pattern) -> Result<usize, PatternError> {
        let next = self.routes.len();
        let shape = pattern.shape.clone();
        let router = match pattern.kind {
            Kind::Exact => {
                let index = *self.exact.entry(shape.into()).or_insert(next);
                return Ok(self.ensure(index));
            }
            Kind::Params => &mut self.params,
            Kind::Wildcard => &mut self.wildcards,
        };
        match self.shapes.entry(shape.clone()) {
            Entry::Occupied(known) => return Ok(known.get().0),
            Entry::Vacant(vacant) => match router.insert(shape, next) {
                Ok(()) => vacant.insert((next, Rc::clone(&pattern.text))),
                Err(error) => return Err(self.refusal(pattern, error)),
            },
        };
        Ok(self.ensure(next))
    }

    fn ensure(&mut self, index: usize) -> usize {
        if index == self.routes.len() {
            self.routes.push(Route::default());
        }
        index
    }

    fn refusal(&self, pattern: &Pattern, error: InsertError) -> PatternError {
        let fault = match error {
            InsertError::Conflict { with } => {
                let known = self.shapes.get(&with).map(|(_, text)| text.to_string());
                Fault::Ambiguous(known.unwrap_or(with))
            }
            other => Fault::Refused(other.to_string()),
        };
        PatternError::new(&pattern.text, fault)
    }
}
