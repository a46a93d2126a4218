//! `corelane dashboard`: the apps in a browser, live.

mod feed;
mod site;
mod token;

use std::process::ExitCode;
use std::time::Duration;

use self::site::Site;
use self::token::Token;
use super::exit::{Code, Failure};
use super::{answer, connect};
use crate::cluster::{Address, Cluster, ClusterHandle};
use crate::control::{Home, Overview};
use crate::server::{Limits, Timeouts};
use crate::sys::limits::Limits as ProcessLimits;
use crate::sys::signal::{Signal, Signals};

/// How many may look at once, each with a few connections; every one who does costs a thread.
const CONNECTIONS_MAX: usize = 256;
/// How long the streams may take to end.
const DRAIN: Duration = Duration::from_secs(2);

pub(super) fn dashboard(listen: Address) -> Result<ExitCode, Failure> {
    let client = connect::client()?;
    // One that is not there is said so before anybody looks.
    let _there: Overview = client.get("/v1/apps")?;
    let path = Home::of_environment()?.dashboard_token();
    let token = Token::kept_at(&path)
        .map_err(|error| Failure::Kept { path: path.clone(), problem: error.to_string() })?;
    ProcessLimits::raise();
    let failed = |error| Failure::System { what: "listen for signals", error };
    let mut signals = Signals::listen().map_err(failed)?;
    let warning = is_public(&listen);
    let site = Site::new(client, token.clone());
    let limits = Limits { connections: CONNECTIONS_MAX, ..Limits::default() };
    let timeouts = Timeouts { drain: DRAIN, ..Timeouts::default() };
    let cluster = Cluster::new(move || site.app()).name("dashboard").listen(listen);
    let cluster = cluster.limits(limits).timeouts(timeouts).instances(1).unpinned();
    let server = cluster.spawn().map_err(Failure::Serve)?;
    answer::print(&place(&server, &token))?;
    if warning {
        answer::say(
            "warning: there is no TLS here, and whoever hears the token may stop the apps; \
             hint: listen on 127.0.0.1, and come through ssh -L or a proxy that has TLS",
        );
    }
    while let Some(Signal::Reload | Signal::Reopen) = signals.wait() {}
    // Whoever looks comes back to one that is started again.
    let _stopped = server.shutdown();
    Ok(Code::Done.into())
}

/// Whether others than this machine's users can connect.
fn is_public(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if !address.ip().is_loopback())
}

/// What to open in a browser.
fn place(server: &ClusterHandle, token: &Token) -> String {
    let addresses = server.addresses();
    let lines = addresses.iter().map(|address| match address {
        Address::Tcp(address) => format!("http://{address}/?token={token}\n"),
        Address::Unix { .. } => format!("{address}, token {token}\n"),
    });
    lines.collect()
}
