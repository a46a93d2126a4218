//! What is known of a cluster at any time, without asking its supervisor or its workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fleet::LifeId;
use super::placement::Placement;
use super::worker::Life;
use super::{Address, Instances};
use crate::server::Sibling;
use crate::stats::{ClusterStats, Figures, WorkerFigures, WorkerState, WorkerStats};

/// Written by the supervisor, read by handles and by whoever wants the metrics. No worker ever
/// takes its lock.
#[derive(Default)]
pub(super) struct Roster(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    addresses: Vec<Address>,
    metrics: Option<Address>,
    /// What the CPUs are chosen by, however many workers there are.
    placement: Option<Placement>,
    cpus: Vec<usize>,
    /// By the number of the worker; also those that were scaled away.
    records: BTreeMap<usize, Record>,
    lives: Vec<Entry>,
    serving: Arc<[Sibling]>,
}

/// What the lives of a worker leave behind.
#[derive(Default)]
struct Record {
    /// What those counted that are over.
    past: Figures,
    restarts: u64,
    last_exit: Option<String>,
}

struct Entry {
    id: LifeId,
    worker: usize,
    stats: Arc<WorkerStats>,
    state: WorkerState,
}

impl Roster {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked while he wrote left figures, not promises.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster is there, and chooses its CPUs by this.
    pub(super) fn settle(
        &self,
        addresses: Vec<Address>,
        metrics: Option<Address>,
        placement: Placement,
    ) {
        let mut inner = self.inner();
        inner.addresses = addresses;
        inner.metrics = metrics;
        inner.placement = Some(placement);
    }

    /// These are the workers.
    pub(super) fn place(&self, cpus: &[usize]) {
        self.inner().cpus = cpus.to_vec();
    }

    /// Where the cluster listens.
    pub(super) fn addresses(&self) -> Vec<Address> {
        self.inner().addresses.clone()
    }

    /// Where its metrics are.
    pub(super) fn metrics(&self) -> Option<Address> {
        self.inner().metrics.clone()
    }

    /// The CPUs of so many workers.
    pub(super) fn cpus_for(&self, instances: Instances) -> Vec<usize> {
        let placement = self.inner().placement.clone();
        placement
            .map(|placement| placement.cpus_of(instances.resolve(placement.cpus())))
            .unwrap_or_default()
    }

    /// A life has begun.
    pub(super) fn enter(&self, id: LifeId, life: &Life) {
        let (worker, stats) = (life.worker, Arc::clone(&life.stats));
        self.inner().lives.push(Entry { id, worker, stats, state: WorkerState::Starting });
    }

    /// A life is at something else now.
    pub(super) fn set_state(&self, id: LifeId, state: WorkerState) {
        if let Some(entry) = self.inner().lives.iter_mut().find(|entry| entry.id == id) {
            entry.state = state;
        }
    }

    /// A life is over; what it counted stays.
    pub(super) fn leave(&self, id: LifeId, reason: String) {
        let mut inner = self.inner();
        let Some(at) = inner.lives.iter().position(|entry| entry.id == id) else { return };
        let Entry { worker, stats, .. } = inner.lives.swap_remove(at);
        let record = inner.records.entry(worker).or_default();
        record.past.add(&Figures { connections: 0, ..Figures::read(&stats) });
        record.last_exit = Some(reason);
    }

    /// A life of the worker has a successor that nobody had asked for.
    pub(super) fn count_restart(&self, worker: usize) {
        self.inner().records.entry(worker).or_default().restarts += 1;
    }

    /// These serve.
    pub(super) fn set_serving(&self, siblings: Arc<[Sibling]>) {
        self.inner().serving = siblings;
    }

    /// Those that serve.
    pub(super) fn serving(&self) -> Arc<[Sibling]> {
        Arc::clone(&self.inner().serving)
    }

    /// The CPU of each worker.
    pub(super) fn cpus(&self) -> Vec<usize> {
        self.inner().cpus.clone()
    }

    /// What all workers have counted.
    pub(super) fn stats(&self) -> ClusterStats {
        let inner = self.inner();
        let workers = inner.cpus.iter().enumerate();
        ClusterStats::new(workers.map(|(worker, &cpu)| inner.figures_of(worker, cpu)).collect())
    }
}

impl Inner {
    fn figures_of(&self, worker: usize, cpu: usize) -> WorkerFigures {
        let mut figures = Figures::default();
        let record = self.records.get(&worker);
        if let Some(record) = record {
            figures.add(&record.past);
        }
        // The youngest is the one that serves, or will.
        let mut state = WorkerState::Waiting;
        for entry in self.lives.iter().filter(|entry| entry.worker == worker) {
            figures.add(&Figures::read(&entry.stats));
            state = entry.state;
        }
        let restarts = record.map_or(0, |record| record.restarts);
        let last_exit = record.and_then(|record| record.last_exit.clone());
        WorkerFigures { worker, cpu, state, restarts, last_exit, figures }
    }
}
