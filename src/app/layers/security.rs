//! Headers that tell browsers to be careful.

use std::rc::Rc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::app::middleware::{Middleware, Next};
use crate::message::{Request, Response};

/// The values that browsers' makers and OWASP advise for a site that embeds nothing foreign.
const DEFAULTS: [(&str, &str); 12] = [
    (
        "content-security-policy",
        "default-src 'self'; base-uri 'self'; font-src 'self' https: data:; form-action 'self'; \
         frame-ancestors 'self'; img-src 'self' data:; object-src 'none'; script-src 'self'; \
         script-src-attr 'none'; style-src 'self' https: 'unsafe-inline'; \
         upgrade-insecure-requests",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

/// Adds the security headers that helmet adds to Express's answers. A header that the handler has
/// set stays as it is.
///
/// `Strict-Transport-Security` tells browsers to insist on TLS for a year; they heed it only if it
/// reaches them over TLS. Take it out if the host must stay reachable without.
///
/// ```
/// use corelane::{App, SecurityHeaders};
/// use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY, X_FRAME_OPTIONS};
///
/// let headers = SecurityHeaders::new()
///     .with(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"))
///     .without(&STRICT_TRANSPORT_SECURITY);
/// let app = App::new().get("/", async || "Hello, Cluster!").wrap(headers);
/// ```
#[derive(Clone, Debug)]
pub struct SecurityHeaders(HeaderMap);

impl SecurityHeaders {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        Self(DEFAULTS.into_iter().map(pair).collect())
    }

    /// Adds a header, or replaces it.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.insert(name, value);
        self
    }

    /// Leaves a header out.
    #[must_use]
    pub fn without(mut self, name: &HeaderName) -> Self {
        self.0.remove(name);
        self
    }
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for SecurityHeaders {
    async fn handle(self: Rc<Self>, request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        for (name, value) in &self.0 {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        response
    }
}
