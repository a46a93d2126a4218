//! The listening sockets that the manager holds for its apps: a process that dies takes none along.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::passed::Passed;
use crate::cluster::{Address, AddressError, BindError, Instances, Listeners};
use crate::control::Spec;

/// The sockets of one app, while it is meant to run.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// As they were asked for, and where they really are.
    places: Vec<(Address, Address)>,
    listeners: Listeners,
    /// Those of a generation that may come to serve, or may not.
    next: Option<(Vec<(Address, Address)>, Listeners)>,
}

impl Sockets {
    /// Binds what a description asks for and is not held yet. What another generation needs stays
    /// until [`settle`](Self::settle).
    pub(super) fn provide(
        &mut self,
        spec: &Spec,
        cpus: usize,
        passed: &mut Passed,
    ) -> Result<(), BindError> {
        let asked = addresses(spec)?;
        if self.serves(&asked) {
            self.next = None;
            return Ok(());
        }
        let count = spec.instances.parse::<Instances>().map_or(1, |all| all.resolve(cpus));
        let real = self.real(&asked);
        let held = self.listeners.joined(&of_units(&asked, passed)?);
        passed.clear_the_way();
        let listeners = held.renewed(&real, count.max(cpus))?;
        let places = asked.into_iter().zip(listeners.addresses()).collect();
        self.next = Some((places, listeners));
        Ok(())
    }

    /// Keeps only what this description asks for.
    pub(super) fn settle(&mut self, spec: &Spec) {
        let Ok(asked) = addresses(spec) else { return };
        let is_next = |places: &[(Address, Address)]| {
            places.len() == asked.len()
                && places.iter().zip(&asked).all(|(it, asked)| it.0 == *asked)
        };
        if let Some((places, listeners)) = self.next.take()
            && is_next(&places)
        {
            (self.places, self.listeners) = (places, listeners);
        }
    }

    /// What a process of this description is passed, each with where it is.
    pub(super) fn of(&self, spec: &Spec) -> (Vec<Address>, Vec<BorrowedFd<'_>>) {
        let asked = addresses(spec).unwrap_or_default();
        let (places, listeners) = match &self.next {
            Some((places, listeners)) if !self.serves(&asked) => (places, listeners),
            _ => (&self.places, &self.listeners),
        };
        let real = places.iter().map(|(_, real)| real.clone()).collect();
        (real, listeners.descriptors())
    }

    /// Takes over what a process had from a manager before.
    pub(super) fn regain(
        &mut self,
        spec: &Spec,
        listens: &[String],
        sockets: Vec<(String, OwnedFd)>,
    ) -> io::Result<()> {
        let parse = |text: &String| text.parse::<Address>().map_err(io::Error::other);
        let asked = addresses(spec).map_err(io::Error::other)?;
        let real = listens.iter().map(parse).collect::<io::Result<Vec<_>>>()?;
        let mut sockets = sockets
            .into_iter()
            .map(|(address, socket)| Ok((parse(&address)?, socket)))
            .collect::<io::Result<Vec<_>>>()?;
        // A Unix address may have lost its mode on the way.
        for (address, _) in &mut sockets {
            if let Some(known) = real.iter().find(|known| known.is_at(address)) {
                address.clone_from(known);
            }
        }
        self.listeners = Listeners::regained(&real, sockets)?;
        self.places = asked.into_iter().zip(real).collect();
        Ok(())
    }

    /// Where it listens first.
    pub(super) fn first(&self) -> Option<Address> {
        self.places.first().map(|(_, real)| real.clone())
    }

    /// All descriptors.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.listeners.descriptors()
    }

    /// All descriptors, and those that may come to serve.
    pub(super) fn all(&self) -> Vec<BorrowedFd<'_>> {
        let next = self.next.iter().flat_map(|(_, listeners)| listeners.descriptors());
        self.listeners.descriptors().into_iter().chain(next).collect()
    }

    /// Where the app really listens, for each address that it asks for.
    pub(super) fn listens(&self) -> Vec<String> {
        self.places.iter().map(|(_, real)| real.to_string()).collect()
    }

    fn serves(&self, asked: &[Address]) -> bool {
        self.places.len() == asked.len()
            && self.places.iter().zip(asked).all(|(place, asked)| place.0 == *asked)
    }

    /// Where those that are held already really are; each is meant once, also if any port would do.
    fn real(&self, asked: &[Address]) -> Vec<Address> {
        let mut left: Vec<_> = self.places.iter().collect();
        let place = |asked: &Address| match left.iter().position(|(other, _)| other == asked) {
            Some(at) => left.remove(at).1.clone(),
            None => asked.clone(),
        };
        asked.iter().map(place).collect()
    }
}

/// Those of socket units, as far as they are for one of these addresses.
fn of_units(asked: &[Address], passed: &Passed) -> Result<Listeners, BindError> {
    let mut all = Listeners::default();
    for address in asked {
        let failed = |source| BindError::Io { address: address.clone(), source };
        let sockets = passed.at(address).map_err(failed)?;
        if !sockets.is_empty() {
            let own = Listeners::regained(std::slice::from_ref(address), sockets);
            all = all.joined(&own.map_err(failed)?);
        }
    }
    Ok(all)
}

/// Where a description wants to listen.
pub(super) fn addresses(spec: &Spec) -> Result<Vec<Address>, BindError> {
    let parse = |text: &String| {
        text.parse().map_err(|error: AddressError| BindError::Io {
            address: Address::Tcp(([0, 0, 0, 0], 0).into()),
            source: io::Error::other(error),
        })
    };
    spec.listen.iter().map(parse).collect()
}
