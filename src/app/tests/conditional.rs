//! Conditional requests.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::app::conditional::{Validators, Verdict, allows_range};
use crate::app::{Conditional, ETag, IntoResponse as _, Unmet};

const THEN: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
const AFTER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";

/// The time `THEN`, and a fraction that no header can say.
fn then() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_000_000_000_900)
}

fn dates() -> [(&'static str, SystemTime); 3] {
    [THEN, BEFORE, AFTER].map(|text| (text, httpdate::parse_http_date(text).unwrap()))
}

fn verdict(method: &str, headers: Sent<'_>, existing: Option<Validators<'_>>) -> Verdict {
    let request = request(method, "/", headers, Body::empty());
    Conditional::new(request.method(), request.headers()).verdict(existing)
}

#[test]
fn the_dates_are_a_second_apart() {
    let [(_, then), (_, before), (_, after)] = dates();
    assert_eq!(after.duration_since(before).unwrap().as_secs(), 2);
    assert_eq!(super::conditional::then().duration_since(then).unwrap().as_millis(), 900);
}

#[test]
fn conditions_are_evaluated_in_the_order_of_rfc_9110_13_2_2() {
    use Verdict::{NotModified, PreconditionFailed as Failed, Proceed};
    const MATCH: &str = "If-Match";
    const NONE: &str = "If-None-Match";
    const SINCE: &str = "If-Modified-Since";
    const UNCHANGED: &str = "If-Unmodified-Since";
    let etag = ETag::strong("a");
    let current = Validators { etag: Some(&etag), modified: Some(then()) };
    let table: &[(Sent<'_>, Verdict, Verdict)] = &[
        // The headers; what comes of it for GET and HEAD; for PUT.
        (&[], Proceed, Proceed),
        (&[(MATCH, r#""a""#)], Proceed, Proceed),
        (&[(MATCH, r#""b", "a""#)], Proceed, Proceed),
        (&[(MATCH, r#""b""#), (MATCH, r#""a""#)], Proceed, Proceed),
        (&[(MATCH, r#"W/"a""#)], Failed, Failed),
        (&[(MATCH, r#""b""#)], Failed, Failed),
        (&[(MATCH, "a")], Failed, Failed),
        (&[(MATCH, "")], Failed, Failed),
        (&[(MATCH, "*")], Proceed, Proceed),
        (&[(UNCHANGED, THEN)], Proceed, Proceed),
        (&[(UNCHANGED, AFTER)], Proceed, Proceed),
        (&[(UNCHANGED, BEFORE)], Failed, Failed),
        (&[(UNCHANGED, "yesterday")], Proceed, Proceed),
        (&[(MATCH, r#""a""#), (UNCHANGED, BEFORE)], Proceed, Proceed),
        (&[(MATCH, r#""b""#), (UNCHANGED, AFTER)], Failed, Failed),
        (&[(NONE, r#""a""#)], NotModified, Failed),
        (&[(NONE, r#"W/"a""#)], NotModified, Failed),
        (&[(NONE, r#""b", W/"a""#)], NotModified, Failed),
        (&[(NONE, r#""b""#)], Proceed, Proceed),
        (&[(NONE, "a")], Proceed, Proceed),
        (&[(NONE, "*")], NotModified, Failed),
        (&[(SINCE, THEN)], NotModified, Proceed),
        (&[(SINCE, AFTER)], NotModified, Proceed),
        (&[(SINCE, BEFORE)], Proceed, Proceed),
        (&[(SINCE, "yesterday")], Proceed, Proceed),
        (&[(SINCE, THEN), (SINCE, THEN)], Proceed, Proceed),
        (&[(NONE, r#""b""#), (SINCE, AFTER)], Proceed, Proceed),
        (&[(NONE, r#""a""#), (SINCE, BEFORE)], NotModified, Failed),
        (&[(MATCH, r#""a""#), (NONE, r#""a""#)], NotModified, Failed),
        (&[(MATCH, r#""b""#), (NONE, r#""a""#)], Failed, Failed),
        (&[(UNCHANGED, BEFORE), (SINCE, AFTER)], Failed, Failed),
        (&[(UNCHANGED, AFTER), (SINCE, AFTER)], NotModified, Proceed),
    ];
    for (headers, reads, writes) in table {
        for (method, expected) in [("GET", reads), ("HEAD", reads), ("PUT", writes)] {
            assert_eq!(verdict(method, headers, Some(current)), *expected, "{method} {headers:?}");
        }
    }
}

#[test]
fn what_is_not_known_is_not_guessed() {
    use Verdict::{NotModified, PreconditionFailed as Failed, Proceed};
    // The header; what comes of it if neither tag nor date is known; if there is nothing.
    let table = [
        ("If-Match", r#""a""#, Failed, Failed),
        ("If-Match", "*", Proceed, Failed),
        ("If-None-Match", r#""a""#, Proceed, Proceed),
        ("If-None-Match", "*", NotModified, Proceed),
        ("If-Modified-Since", AFTER, Proceed, Proceed),
        ("If-Unmodified-Since", BEFORE, Proceed, Proceed),
    ];
    let unknown = Validators { etag: None, modified: None };
    for (name, value, exists, missing) in table {
        assert_eq!(verdict("GET", &[(name, value)], Some(unknown)), exists, "{name}: {value}");
        assert_eq!(verdict("GET", &[(name, value)], None), missing, "{name}: {value}");
    }
}

#[test]
fn a_range_needs_exactly_this_version() {
    let (strong, weak) = (ETag::strong("a"), ETag::weak("a"));
    let table = [
        (None, &strong, true),
        (Some(r#""a""#), &strong, true),
        (Some(r#""b""#), &strong, false),
        (Some(r#"W/"a""#), &strong, false),
        (Some(r#""a""#), &weak, false),
        // It may have changed twice within that second.
        (Some(THEN), &weak, false),
        (Some(BEFORE), &strong, false),
        (Some(AFTER), &strong, false),
        (Some(r#""a", "b""#), &strong, false),
        (Some("*"), &strong, false),
        (Some(""), &strong, false),
    ];
    for (header, etag, allowed) in table {
        let current = Validators { etag: Some(etag), modified: Some(then()) };
        assert_eq!(allows_range(header.map(str::as_bytes), current), allowed, "{header:?} {etag}");
    }
    let unknown = Validators { etag: None, modified: None };
    assert!(!allows_range(Some(THEN.as_bytes()), unknown));
}

#[test]
fn express_req_fresh_stale() {
    async fn page(conditional: Conditional) -> Result<Response, Unmet> {
        let etag = ETag::strong("7");
        conditional.evaluate(&etag, then())?;
        Ok("page".into_response().with_etag(&etag).with_last_modified(then()))
    }
    async fn dated(conditional: Conditional) -> Result<&'static str, Unmet> {
        conditional.evaluate(None, then())?;
        Ok("page")
    }
    let app = App::new().get("/", page).put("/", page).get("/dated", dated);
    let table = [
        ("GET", "/", ("accept", "*/*"), 200, r#""7""#, THEN, "page"),
        ("GET", "/", ("if-none-match", r#"W/"7""#), 304, r#""7""#, "", ""),
        ("GET", "/", ("if-none-match", r#""8""#), 200, r#""7""#, THEN, "page"),
        ("GET", "/", ("if-modified-since", THEN), 304, r#""7""#, "", ""),
        ("HEAD", "/", ("if-none-match", "*"), 304, r#""7""#, "", ""),
        ("PUT", "/", ("if-match", r#""8""#), 412, "", "", "412 Precondition Failed"),
        ("PUT", "/", ("if-match", r#""7""#), 200, r#""7""#, THEN, "page"),
        ("GET", "/dated", ("if-modified-since", AFTER), 304, "", THEN, ""),
        ("GET", "/dated", ("if-unmodified-since", BEFORE), 412, "", "", "412 Precondition Failed"),
    ];
    for (method, path, sent, status, etag, modified, body) in table {
        let response = answer(&app, request(method, path, &[sent], Body::empty()));
        assert_eq!(response.status(), status, "{method} {path} {sent:?}");
        assert_eq!(header(&response, "etag"), etag, "{method} {path} {sent:?}");
        assert_eq!(header(&response, "last-modified"), modified, "{method} {path} {sent:?}");
        assert_eq!(text(&response), body, "{method} {path} {sent:?}");
    }
}

#[test]
fn what_does_not_exist_can_be_made_and_not_changed() {
    async fn make(conditional: Conditional) -> Result<StatusCode, Unmet> {
        conditional.evaluate_missing()?;
        Ok(StatusCode::CREATED)
    }
    let app = App::new().put("/", make);
    for (sent, status) in [(("if-none-match", "*"), 201), (("if-match", "*"), 412)] {
        let response = answer(&app, request("PUT", "/", &[sent], Body::empty()));
        assert_eq!(response.status(), status, "{sent:?}");
    }
}

#[test]
fn a_clock_beyond_the_format_is_cut() {
    let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
    let table = [
        (UNIX_EPOCH - Duration::from_secs(9), "Thu, 01 Jan 1970 00:00:00 GMT"),
        (then(), THEN),
        (far, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ];
    for (time, sent) in table {
        assert_eq!(header(&Response::new("").with_last_modified(time), "last-modified"), sent);
    }
}
