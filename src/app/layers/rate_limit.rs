//! How often a client may ask.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

use crate::app::extract::ClientIp;
use crate::app::middleware::{Middleware, Next};
use crate::app::rejection::refuse;
use crate::message::{Request, Response};

/// How many clients a core remembers twice over, some 2 MiB of memory.
const CLIENTS_MAX: usize = 16 * 1024;

/// Answers 429, with `Retry-After`, to clients that ask too often: a token bucket per IP address,
/// or per /64 network for IPv6, since a client has a whole one. The address is that of
/// [`ClientIp`](crate::ClientIp): behind a proxy that the app trusts, the client's and not the
/// proxy's. Clients on a Unix socket count as one.
///
/// Each core counts by itself, because cores share nothing. A client whose connections are spread
/// over n cores gets up to n times the rate: divide by the number of workers if the sum matters.
/// The memory is bounded: with more than 16,384 clients within the time that a bucket takes to fill
/// up, those not seen for longest start afresh.
///
/// ```
/// use std::time::Duration;
/// use corelane::{App, RateLimit};
///
/// // 100 requests at once, then one every 600 ms.
/// let limit = RateLimit::new(100, Duration::from_secs(60));
/// let app = App::new().get("/", async || "Hello, Cluster!").wrap(limit);
/// ```
pub struct RateLimit {
    buckets: RefCell<Buckets>,
    client: Option<Box<Address>>,
    begun: Instant,
}

/// How to tell clients apart.
type Address = dyn Fn(&Request) -> Option<IpAddr>;

impl RateLimit {
    /// As many requests in this time, and as many at once.
    ///
    /// # Panics
    /// One of the two is nothing.
    #[must_use]
    #[track_caller]
    pub fn new(requests: u32, time: Duration) -> Self {
        let interval = time.checked_div(requests).unwrap_or_default();
        assert!(!interval.is_zero(), "a rate is some requests in some time");
        let buckets = RefCell::new(Buckets::new(interval, requests, CLIENTS_MAX));
        Self { buckets, client: None, begun: Instant::now() }
    }

    /// As many requests at once, at the same rate.
    ///
    /// # Panics
    /// It is zero.
    #[must_use]
    #[track_caller]
    pub fn burst(self, requests: u32) -> Self {
        assert!(requests > 0, "a burst of 0 would refuse every request");
        self.buckets.borrow_mut().set_burst(requests);
        self
    }

    /// Tells clients apart by another address, such as one that a content network puts into a
    /// header of its own; `None` is not limited.
    #[must_use]
    pub fn client(mut self, address: impl Fn(&Request) -> Option<IpAddr> + 'static) -> Self {
        self.client = Some(Box::new(address));
        self
    }

    fn address(&self, request: &Request) -> Option<IpAddr> {
        if let Some(address) = &self.client {
            return address(request);
        }
        let known = ClientIp::of(request).map(|ClientIp(address)| address);
        Some(known.unwrap_or(Ipv6Addr::UNSPECIFIED.into()))
    }
}

impl Middleware for RateLimit {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let taken = self.address(&request).map_or(Ok(()), |address| {
            self.buckets.borrow_mut().take(network(address), self.begun.elapsed())
        });
        let Err(wait) = taken else { return next.run(request).await };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        refuse(StatusCode::TOO_MANY_REQUESTS, request.headers())
            .with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

/// What counts as one client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The token buckets of all clients. A bucket is the time at which it will be full: whoever takes a
/// token moves that by one interval. One that is full need not be remembered.
struct Buckets {
    /// The time that makes a token.
    interval: Duration,
    /// The time that fills an empty bucket.
    capacity: Duration,
    clients_max: usize,
    recent: HashMap<IpAddr, Duration>,
    /// Who was seen before `turned` only. Forgotten at the next turn: nobody is looked through.
    older: HashMap<IpAddr, Duration>,
    turned: Duration,
}

impl Buckets {
    fn new(interval: Duration, burst: u32, clients_max: usize) -> Self {
        let (recent, older) = Default::default();
        let capacity = interval.saturating_mul(burst);
        Self { interval, capacity, clients_max, recent, older, turned: Duration::ZERO }
    }

    fn set_burst(&mut self, burst: u32) {
        self.capacity = self.interval.saturating_mul(burst);
    }

    /// Takes a token, or says how long it will be until there is one.
    fn take(&mut self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        if now.saturating_sub(self.turned) >= self.capacity {
            self.turn(now);
        }
        let known = self.recent.get(&client).or_else(|| self.older.get(&client));
        let full_at = known.map_or(now, |known| now.max(*known)).saturating_add(self.interval);
        let wait = full_at.saturating_sub(now.saturating_add(self.capacity));
        if !wait.is_zero() {
            return Err(wait);
        }
        if self.recent.len() >= self.clients_max && !self.recent.contains_key(&client) {
            self.turn(now);
        }
        self.recent.insert(client, full_at);
        Ok(())
    }

    fn turn(&mut self, now: Duration) {
        self.older = std::mem::take(&mut self.recent);
        self.turned = now;
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = self.buckets.borrow();
        write!(f, "RateLimit({:?} a request, {:?})", buckets.interval, buckets.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_bucket_fills_up_at_the_rate() {
        let mut buckets = Buckets::new(Duration::from_secs(1), 2, 10);
        // Each line: the time in milliseconds, and how many until the next token.
        let table =
            [(0, 0), (0, 0), (0, 1000), (400, 600), (1000, 0), (1000, 1000), (9000, 0), (9000, 0)];
        for (at, wait) in table {
            let taken = buckets.take(client(1), Duration::from_millis(at));
            let expected = if wait == 0 { Ok(()) } else { Err(Duration::from_millis(wait)) };
            assert_eq!(taken, expected, "at {at} ms");
        }
        assert_eq!(buckets.take(client(2), Duration::from_secs(9)), Ok(()), "another client");
    }

    #[test]
    fn an_endless_time_is_no_mistake() {
        let mut buckets = Buckets::new(Duration::MAX, u32::MAX, 10);
        assert_eq!(buckets.take(client(1), Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_a_full_bucket_is_forgotten() {
        let mut buckets = Buckets::new(Duration::from_secs(1), 1, 10);
        for number in 0..1000 {
            assert_eq!(buckets.take(client(number), Duration::ZERO), Ok(()));
            assert!(buckets.recent.len() <= 10 && buckets.older.len() <= 10);
        }
        assert!(buckets.take(client(999), Duration::ZERO).is_err(), "the latest are remembered");
        for second in [5, 10] {
            assert_eq!(buckets.take(client(1), Duration::from_secs(second)), Ok(()));
        }
        assert_eq!(buckets.recent.len() + buckets.older.len(), 2, "only who came within a turn");
    }

    #[test]
    fn a_client_is_an_address_or_a_network() {
        let table = [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::"),
        ];
        for (address, network_of) in table {
            assert_eq!(network(address.parse().unwrap()), network_of.parse::<IpAddr>().unwrap());
        }
    }
}
