//! How long the hot paths take, in memory: `cargo bench --bench micro --features internals`.
//!
//! A name, or a part of one, behind `--` selects among them; `-- --quick` is over sooner.

mod workload;

use criterion::Criterion;

use workload::WORKLOADS;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for workload in WORKLOADS {
        let (group, case) = workload.name.split_once('/').unwrap_or(("", workload.name));
        let mut group = criterion.benchmark_group(group);
        // Prepared only if it is selected.
        group.bench_function(case, |bencher| bencher.iter((workload.prepare)()));
        group.finish();
    }
    criterion.final_summary();
}
