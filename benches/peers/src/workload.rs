//! What is asked of whom.

use peers::FILES;

use crate::contender::Contender;

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workload {
    /// What it is called on the command line and in the figures.
    pub(crate) id: String,
    /// What it is, for people.
    pub(crate) title: String,
    pub(crate) kind: Kind,
    /// How many workers the server has, all of them on the one CPU.
    pub(crate) workers: usize,
}

/// How it is measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// By the load generator, as fast as it goes.
    Load(Load),
    /// By the load generator, at so many percent of the slowest framework's peak.
    Rate { percent: u32 },
    /// Messages that come back over WebSocket, one at a time on each connection.
    WebSocket { connections: usize },
    /// What idle connections keep resident.
    Idle { connections: usize },
    /// From the start of the process to the first answer.
    Start,
    /// From the death of the only worker to the next answer.
    Death { deaths: usize },
}

/// A load without a fixed rate.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) keep_alive: bool,
    pub(crate) ask: Ask,
}

/// The request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Hello,
    /// A listing of so many items.
    Listing {
        items: usize,
    },
    Echo {
        bytes: usize,
    },
    /// A listing of so many items, sent there and back.
    Store {
        items: usize,
    },
    /// A static file.
    File {
        name: &'static str,
    },
    /// A text, compressed.
    Page,
}

/// The connections of all workloads that do not vary them.
pub(crate) const CONNECTIONS: usize = 64;
const PIPELINE: usize = 16;
const IDLE_CONNECTIONS: usize = 10_000;
const DEATHS: usize = 20;
/// How many of them a quick run looks at in each round.
const QUICK_DEATHS: usize = 5;
/// What a quick run leaves out.
const QUICK: [&str; 19] = [
    "hello-1",
    "hello-64",
    "pipelined",
    "new-connection",
    "json-1k",
    "echo-64k",
    "store-1k",
    "file-4k",
    "file-1m",
    "gzip-64k",
    "ws-128",
    "rate-50",
    "start",
    "death",
    "each-1",
    "each-16",
    "shared-1",
    "shared-16",
    "hello-1024",
];

impl Workload {
    /// All of them, in the order of the report.
    pub(crate) fn all() -> Vec<Workload> {
        let mut all = Vec::new();
        for connections in [1, 8, 64, 256, 1024] {
            let plural = if connections == 1 { "" } else { "s" };
            let title = format!("hello, {connections} connection{plural}");
            all.push(load(&format!("hello-{connections}"), &title, hello(connections)));
        }
        let piped = Load { pipeline: PIPELINE, ..hello(CONNECTIONS) };
        all.push(load("pipelined", "hello, 16 pipelined, 64 connections", piped));
        let fresh = Load { keep_alive: false, ..hello(CONNECTIONS) };
        all.push(load("new-connection", "hello, a connection per request, 64 at a time", fresh));
        let route = Load { ask: Ask::Listing { items: 0 }, ..hello(CONNECTIONS) };
        all.push(load("route", "one of 200 routes with parameters, next to nothing to say", route));
        for (name, items) in [("1k", 13), ("10k", 130)] {
            let title = format!("one of 200 routes with parameters, {name}iB of JSON");
            let ask = Load { ask: Ask::Listing { items }, ..hello(CONNECTIONS) };
            all.push(load(&format!("json-{name}"), &title.replace("kiB", " KiB"), ask));
        }
        for (name, bytes) in [("4k", 4 << 10), ("64k", 64 << 10), ("1m", 1 << 20)] {
            let title = format!("POST echo, {} KiB", bytes >> 10);
            let ask = Load { ask: Ask::Echo { bytes }, ..hello(CONNECTIONS) };
            all.push(load(&format!("echo-{name}"), &title, ask));
        }
        let store = Load { ask: Ask::Store { items: 13 }, ..hello(CONNECTIONS) };
        all.push(load("store-1k", "POST of JSON, 1 KiB in and out", store));
        for (name, bytes) in FILES {
            let id = format!("file-{}", name.trim_end_matches(".bin"));
            let title = format!("a static file of {} KiB", bytes >> 10);
            let ask = Load { ask: Ask::File { name }, ..hello(CONNECTIONS) };
            all.push(load(&id, &title, ask));
        }
        let page = Load { ask: Ask::Page, ..hello(CONNECTIONS) };
        all.push(load("gzip-64k", "a text of 64 KiB, gzip of level 1", page));
        let sockets = Kind::WebSocket { connections: CONNECTIONS };
        all.push(one("ws-128", "WebSocket echo of 128 bytes, 64 connections", sockets));
        for (example, title) in [("cluster", "Node's `cluster`"), ("express", "Express on it")] {
            let title = format!("the example `{example}` and {title}, as first written");
            all.push(load(&format!("example-{example}"), &title, hello(CONNECTIONS)));
        }
        for percent in [25, 50, 75] {
            let title = format!("hello at {percent} % of the slowest framework's peak");
            all.push(one(&format!("rate-{percent}"), &title, Kind::Rate { percent }));
        }
        let idle = Kind::Idle { connections: IDLE_CONNECTIONS };
        all.push(one("idle", "10,000 idle connections", idle));
        all.push(one("start", "process start to first answer", Kind::Start));
        let death = Kind::Death { deaths: DEATHS };
        all.push(one("death", "a worker's death to the next answer", death));
        for workers in [1, 2, 4, 16] {
            for (name, connections) in [("each", CONNECTIONS * workers), ("shared", CONNECTIONS)] {
                let plural = if workers == 1 { "" } else { "s" };
                let title = format!("hello, {workers} worker{plural}, {connections} connections");
                let load = load(&format!("{name}-{workers}"), &title, hello(connections));
                all.push(Workload { workers, ..load });
            }
        }
        all
    }

    /// Those of a quick run.
    pub(crate) fn quick() -> Vec<Workload> {
        let mut quick = Self::all();
        quick.retain(|workload| QUICK.contains(&workload.id.as_str()));
        for workload in &mut quick {
            if let Kind::Death { deaths } = &mut workload.kind {
                *deaths = QUICK_DEATHS;
            }
        }
        quick
    }

    /// Whether it means something for this contender.
    pub(crate) fn applies(&self, contender: Contender) -> bool {
        use Contender as C;
        let bare = matches!(contender, C::Uring | C::Epoll);
        if let Some(workload) = contender.only() {
            return self.id == workload;
        }
        match &self.kind {
            _ if self.id.starts_with("example-") => false,
            _ if self.is_about_workers() => matches!(contender, C::Uring | C::CorelaneConfig),
            Kind::Load(Load { ask: Ask::Hello, .. }) | Kind::Start | Kind::Idle { .. } => true,
            Kind::Load(Load { ask: Ask::Listing { .. }, .. }) => {
                !bare && !matches!(contender, C::CorelaneConfig | C::Nginx)
            }
            Kind::Load(Load { ask: Ask::Echo { .. }, .. }) => !bare && contender != C::Nginx,
            Kind::Load(Load { ask: Ask::Store { .. }, .. }) => matches!(
                contender,
                C::CorelaneLibrary | C::ActixWeb | C::Ntex | C::Axum | C::Node | C::Express
            ),
            Kind::Load(Load { ask: Ask::File { .. }, .. }) => matches!(
                contender,
                C::CorelaneConfig | C::CorelaneLibrary | C::ActixWeb | C::Axum | C::Nginx
            ),
            Kind::Load(Load { ask: Ask::Page, .. }) => {
                matches!(contender, C::CorelaneLibrary | C::Axum | C::Nginx)
            }
            Kind::WebSocket { .. } => matches!(contender, C::CorelaneLibrary | C::Axum),
            Kind::Rate { .. } => !matches!(contender, C::Epoll | C::Glommio | C::Node | C::Express),
            Kind::Death { .. } => {
                matches!(contender, C::CorelaneLibrary | C::Node | C::Express)
            }
        }
    }

    /// Whether it is a row of "more workers".
    pub(crate) fn is_about_workers(&self) -> bool {
        self.id.starts_with("each-") || self.id.starts_with("shared-")
    }
}

fn one(id: &str, title: &str, kind: Kind) -> Workload {
    Workload { id: id.to_owned(), title: title.to_owned(), kind, workers: 1 }
}

fn load(id: &str, title: &str, load: Load) -> Workload {
    one(id, title, Kind::Load(load))
}

/// One request at a time on each connection, which is kept.
pub(crate) fn hello(connections: usize) -> Load {
    Load { connections, pipeline: 1, keep_alive: true, ask: Ask::Hello }
}
