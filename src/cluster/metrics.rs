//! The metrics of a cluster, served to Prometheus by a worker that no CPU is set aside for.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::inherit::Source;
use super::roster::Roster;
use super::{Address, Cluster, ClusterHandle, StartError};
use crate::app::App;
use crate::message::Response;
use crate::server::Timeouts;

/// Where the metrics are.
const PATH: &str = "/metrics";
/// The text format of Prometheus.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// How long a scrape may hold up the end of the cluster.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves what is known of a cluster: a cluster of its own, of one worker.
pub(super) fn export(
    address: Address,
    name: &str,
    roster: &Arc<Roster>,
    source: Source,
    shared: bool,
) -> Result<ClusterHandle, StartError> {
    let (label, roster) = (name.to_owned(), Arc::clone(roster));
    let factory = move || {
        let (label, roster) = (label.clone(), Arc::clone(&roster));
        App::new().get(PATH, move || {
            let text = roster.stats().to_prometheus(&label);
            let answer = Response::text(StatusCode::OK, text).with_header(CONTENT_TYPE, FORMAT);
            async move { answer }
        })
    };
    let timeouts = Timeouts { drain: DRAIN, idle_grace: Duration::ZERO, ..Timeouts::default() };
    let cluster = Cluster::new(factory).name(name).listen(address);
    let cluster = cluster.source(source).instances(1).timeouts(timeouts).unpinned();
    cluster.shared(shared).spawn()
}
