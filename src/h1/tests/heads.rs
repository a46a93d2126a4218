//! Which requests are accepted and which are refused.

use super::{LIMITS, decode_in_steps, describe, transcript};
use crate::h1::HeadLimits;

/// The head is decoded as `expected`, however its bytes arrive.
#[track_caller]
fn check(input: &str, expected: &str) {
    for step in [input.len(), 1, 2, 7] {
        let decoded = decode_in_steps(input.as_bytes(), step, &LIMITS);
        let Ok(Some((decoded, head))) = decoded else { panic!("{input:?}: {decoded:?}") };
        assert_eq!(describe(&decoded, &head), expected, "{input:?}");
        assert_eq!(decoded.consumed, input.len(), "{input:?}");
    }
}

/// The head is refused with `status`, however its bytes arrive.
#[track_caller]
fn check_refused_by(input: &[u8], status: u16, limits: &HeadLimits) {
    let text = String::from_utf8_lossy(input);
    let whole = decode_in_steps(input, input.len(), limits);
    let Err(refusal) = whole else { panic!("accepted: {text:?}") };
    assert_eq!(refusal.status, status, "{text:?}: {}", refusal.reason);
    for step in [1, 2, 7] {
        let Err(other) = decode_in_steps(input, step, limits) else { panic!("{text:?}") };
        assert_eq!(other, refusal, "{text:?} in steps of {step}");
    }
}

#[track_caller]
fn check_refused(input: impl AsRef<[u8]>, status: u16) {
    check_refused_by(input.as_ref(), status, &LIMITS);
}

/// A request with these header lines besides `Host`.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

/// As [`with`], but `HTTP/1.0`.
fn with_10(lines: &str) -> String {
    with(lines).replace("HTTP/1.1", "HTTP/1.0")
}

/// A request with this request line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

const PLAIN: &str = "GET / path=/ query=None host=Some(\"a\") HTTP/1.1 None";

#[test]
fn accepts_the_four_forms_of_a_target() {
    let table = [
        ("GET / HTTP/1.1", "GET / path=/ query=None host=Some(\"a\")"),
        ("GET /p?q HTTP/1.1", "GET /p?q path=/p query=Some(\"q\") host=Some(\"a\")"),
        ("GET /? HTTP/1.1", "GET /? path=/ query=Some(\"\") host=Some(\"a\")"),
        ("GET /a?b?c HTTP/1.1", "GET /a?b?c path=/a query=Some(\"b?c\") host=Some(\"a\")"),
        ("GET //x/ HTTP/1.1", "GET //x/ path=//x/ query=None host=Some(\"a\")"),
        ("GET /{|}%zz HTTP/1.1", "GET /{|}%zz path=/{|}%zz query=None host=Some(\"a\")"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * path= query=None host=Some(\"a\")"),
        ("OPTIONS /x HTTP/1.1", "OPTIONS /x path=/x query=None host=Some(\"a\")"),
        ("OPTIONS http://b HTTP/1.1", "OPTIONS http://b path= query=None host=Some(\"b\")"),
        ("CONNECT b:443 HTTP/1.1", "CONNECT b:443 path= query=None host=Some(\"b:443\")"),
        ("CONNECT [::1]:1 HTTP/1.1", "CONNECT [::1]:1 path= query=None host=Some(\"[::1]:1\")"),
        ("GET http://b HTTP/1.1", "GET http://b path=/ query=None host=Some(\"b\")"),
        ("GET HTTP://b/p HTTP/1.1", "GET HTTP://b/p path=/p query=None host=Some(\"b\")"),
        (
            "GET http://b:8?q HTTP/1.1",
            "GET http://b:8?q path=/ query=Some(\"q\") host=Some(\"b:8\")",
        ),
        (
            "GET http://b/p?q HTTP/1.1",
            "GET http://b/p?q path=/p query=Some(\"q\") host=Some(\"b\")",
        ),
    ];
    for (request_line, expected) in table {
        check(&line(request_line), &format!("{expected} HTTP/1.1 None keep-alive"));
    }
}

#[test]
fn refuses_malformed_request_lines() {
    let table = [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / x HTTP/1.1",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "G(T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/2",
        "GET / HTTP/1,1",
        "GET / HTTP 1.1",
        "GET / HTTPS/1.1",
        "GET / HTTP/a.1",
        "GET / HTTP/1.x",
        "GET / ",
        "GET /\0 HTTP/1.1",
        "GET /\r HTTP/1.1",
        "GET / HTTP/1.1\r",
        "\0",
        "\u{16}\u{3}\u{1}",
    ];
    for request_line in table {
        check_refused(line(request_line), 400);
    }
}

#[test]
fn refuses_malformed_targets() {
    let table = [
        "GET /#f",
        "GET /a?b#f",
        "GET /\u{e4}",
        "GET /\u{7f}",
        "GET /\u{1}",
        "GET x",
        "GET ?q",
        "GET *",
        "POST *",
        "OPTIONS *x",
        "OPTIONS x",
        "GET a:80",
        "GET b/c",
        "GET https://a/",
        "GET ftp://a/",
        "GET http:/a",
        "GET http:a",
        "GET http://",
        "GET http:///p",
        "GET http://?q",
        "GET http://:80/",
        "GET http://u@h/",
        "GET http://u:p@h/",
        "GET http://a,b/",
        "GET http://a:b/",
        "GET http://a\\b/",
        "GET http://[::1/",
        "GET http://a/#f",
        "CONNECT /",
        "CONNECT *",
        "CONNECT a",
        "CONNECT a:",
        "CONNECT a:0",
        "CONNECT a:65536",
        "CONNECT :80",
        "CONNECT http://a:80",
        "CONNECT u@a:80",
        "CONNECT a:80/",
    ];
    for target in table {
        check_refused(line(&format!("{target} HTTP/1.1")), 400);
    }
}

#[test]
fn a_valid_method_passes_and_an_endless_one_does_not() {
    let longest = "M".repeat(32);
    for method in ["HEAD", "PURGE", "get", "M-SEARCH", "!#$%&'*+-.^_`|~", &longest] {
        let expected = format!("{method} {}", &PLAIN[4..]);
        check(&line(&format!("{method} / HTTP/1.1")), &format!("{expected} keep-alive"));
    }
    check_refused(line(&format!("{longest}M / HTTP/1.1")), 501);
    check_refused("M".repeat(33), 501);
}

#[test]
fn what_is_no_http_is_refused_before_its_line_ends() {
    for start in [&b"\x16\x03\x01\x02\0"[..], b"{", b"GET\0", b"\xff", b" ", b"GET\r"] {
        check_refused(start, 400);
    }
}

#[test]
fn versions_beyond_1_1_are_served_as_1_1_and_other_majors_are_refused() {
    for version in ["HTTP/1.1", "HTTP/1.2", "HTTP/1.9"] {
        check(&line(&format!("GET / {version}")), &format!("{PLAIN} keep-alive"));
    }
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned();
    for request in [line("GET / HTTP/2.0"), line("GET / HTTP/0.9"), line("GET / HTTP/3.1"), preface]
    {
        check_refused(request, 505);
    }
}

#[test]
fn a_few_empty_lines_before_a_request_are_ignored() {
    for blank in ["\r\n", "\r\n\r\n\r\n\r\n"] {
        check(&format!("{blank}{}", line("GET / HTTP/1.1")), &format!("{PLAIN} keep-alive"));
    }
    let five = "\r\n".repeat(5);
    for blank in [&five, "\n", "\r\r\n", "\r\n\n", " \r\n"] {
        check_refused(format!("{blank}{}", line("GET / HTTP/1.1")), 400);
    }
}

#[test]
fn refuses_lines_that_do_not_end_with_crlf() {
    let table = [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rA: b\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
    ];
    for request in table {
        check_refused(request, 400);
    }
}

#[test]
fn refuses_malformed_header_lines() {
    let table = [
        "A : b",
        "A\t: b",
        " A: b",
        "A b: c",
        "A",
        ":",
        ": b",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A: b\r\n : c",
        "A: \0",
        "A: b\0c",
        "A: \u{1}",
        "A: \u{b}b",
        "A: \u{7f}",
        "\u{e4}: b",
        "A\0: b",
        "A(: b",
        "\"A\": b",
        "A/B: c",
        "A@: b",
        "A{: b",
        "A\u{7f}: b",
        "A;: b",
    ];
    for header in table {
        check_refused(with(header), 400);
        // Also where a vectorised parser would be in the middle of a block.
        check_refused(with(&format!("{}: x\r\n{header}", "n".repeat(61))), 400);
    }
    for byte in (0..=255).filter(|byte| !matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        let value = [&[b'v'; 40][..], &[byte], &[b'v'; 40]].concat();
        check_refused(
            [&b"GET / HTTP/1.1\r\nHost: a\r\nA: "[..], &value, b"\r\n\r\n"].concat(),
            400,
        );
    }
}

#[test]
fn values_are_trimmed_and_may_hold_opaque_bytes() {
    let input =
        b"GET / HTTP/1.1\r\nhOsT: a\r\nA:\t b \xf6\tc \t\r\nB:\r\nC:  \r\na: second\r\n\r\n";
    let (_, head) = decode_in_steps(input, 1, &LIMITS).unwrap().unwrap();
    let headers = head.headers();
    assert_eq!(headers.len(), 5);
    assert_eq!(headers.get("Host"), Some("a"));
    assert_eq!(headers.all("a").collect::<Vec<_>>(), [&b"b \xf6\tc"[..], b"second"]);
    assert_eq!(headers.bytes("b"), Some(&b""[..]));
    assert_eq!(headers.bytes("c"), Some(&b""[..]));
    assert_eq!(head.bytes, input);
}

#[test]
fn host_is_there_once_and_well_formed() {
    let host = |version: &str, hosts: &str| format!("GET / {version}\r\n{hosts}\r\n");
    for value in ["a", "a.b-c.d", "a:", "a:80", "127.0.0.1:1", "[::1]:8080", "A"] {
        let expected = PLAIN.replace("\"a\"", &format!("{value:?}"));
        let request = host("HTTP/1.1", &format!("Host: {value}\r\n"));
        check(&request, &format!("{expected} keep-alive"));
    }
    check(&host("HTTP/1.0", ""), "GET / path=/ query=None host=None HTTP/1.0 None");
    let bad = [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a, a\r\n",
        "Host: a b\r\n",
        "Host: u@a\r\n",
        "Host: a/b\r\n",
        "Host: http://a\r\n",
        "Host: a:b\r\n",
        "Host: a:99999\r\n",
        "Host: :80\r\n",
        "Host: a?b\r\n",
        "Host: [::1\r\n",
        "Host: \u{e4}\r\n",
    ];
    for hosts in bad {
        check_refused(host("HTTP/1.1", hosts), 400);
        if !hosts.is_empty() {
            check_refused(host("HTTP/1.0", hosts), 400);
        }
    }
}

#[test]
fn an_absolute_target_outranks_a_host_that_must_still_be_valid() {
    let request = |host: &str| format!("GET http://b/ HTTP/1.1\r\n{host}\r\n");
    let expected = "GET http://b/ path=/ query=None host=Some(\"b\") HTTP/1.1 None keep-alive";
    check(&request("Host: other\r\n"), expected);
    check(&request("Host:\r\n"), expected);
    for host in ["", "Host: a\r\nHost: a\r\n", "Host: u@a\r\n", "Host: a,b\r\n"] {
        check_refused(request(host), 400);
    }
}

#[test]
fn an_empty_host_is_legal_only_where_no_url_needs_it() {
    check(
        "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
        "OPTIONS * path= query=None host=None HTTP/1.1 None keep-alive",
    );
    check(
        "CONNECT b:1 HTTP/1.1\r\nHost: \r\n\r\n",
        "CONNECT b:1 path= query=None host=Some(\"b:1\") HTTP/1.1 None keep-alive",
    );
    check_refused("OPTIONS /x HTTP/1.1\r\nHost:\r\n\r\n", 400);
}

#[test]
fn one_content_length_or_one_chunked_delimits_the_body() {
    let table = [
        ("A: b", "None"),
        ("Content-Length: 0", "None"),
        ("Content-Length: 00", "None"),
        ("content-length:\t5 ", "Exact(5)"),
        ("CONTENT-LENGTH: 18446744073709551615", "Exact(18446744073709551615)"),
        ("Transfer-Encoding: chunked", "Chunked"),
        ("transfer-encoding: \tCHUNKED ", "Chunked"),
    ];
    for (header, length) in table {
        let expected = PLAIN.replace("HTTP/1.1 None", &format!("HTTP/1.1 {length}"));
        check(&with(header), &format!("{expected} keep-alive"));
    }
}

#[test]
fn refuses_every_other_content_length() {
    let values = [
        "",
        "+5",
        "-5",
        "0x5",
        "5a",
        "a",
        "5 5",
        "5,5",
        "5, 5",
        "5,",
        ",5",
        "5.0",
        "\"5\"",
        "5;",
        "18446744073709551616",
        "99999999999999999999999",
        "\u{665}",
        "1_0",
        "1e3",
    ];
    for value in values {
        check_refused(with(&format!("Content-Length: {value}")), 400);
        check_refused(with_10(&format!("Content-Length: {value}")), 400);
    }
    for second in ["5", "6", "0", ""] {
        check_refused(with(&format!("Content-Length: 5\r\nContent-Length: {second}")), 400);
    }
}

#[test]
fn rejects_content_length_with_transfer_encoding() {
    for length in ["0", "5"] {
        for coding in ["chunked", "gzip", "gzip, chunked", "identity"] {
            let pair =
                [format!("Content-Length: {length}"), format!("Transfer-Encoding: {coding}")];
            check_refused(with(&pair.join("\r\n")), 400);
            check_refused(with(&format!("{}\r\nA: b\r\n{}", pair[1], pair[0])), 400);
        }
    }
}

#[test]
fn refuses_every_transfer_coding_but_one_final_chunked() {
    let table = [
        ("gzip", 501),
        ("identity", 501),
        ("gzip, chunked", 501),
        ("gzip;q=1, chunked", 501),
        ("xchunked", 501),
        ("gzip\r\nTransfer-Encoding: chunked", 501),
        ("chunked, gzip", 400),
        ("chunked, identity", 400),
        ("chunked, chunked", 400),
        ("gzip, chunked, chunked", 400),
        ("chunked\r\nTransfer-Encoding: chunked", 400),
        ("chunked\r\ntransfer-encoding: gzip", 400),
        ("chunked;q=1", 400),
        ("chunked;", 400),
        ("", 400),
        (",", 400),
        (",chunked", 400),
        ("chunked,", 400),
        ("\"chunked\"", 400),
        ("chun ked", 400),
        ("chunked\u{e4}", 400),
        ("\u{b}chunked", 400),
        ("gzip;a=\", chunked\"", 400),
    ];
    for (codings, status) in table {
        check_refused(with(&format!("Transfer-Encoding: {codings}")), status);
        check_refused(with_10(&format!("Transfer-Encoding: {codings}")), 400);
    }
    check_refused(with_10("Transfer-Encoding: chunked"), 400);
    check_refused(with_10("Connection: keep-alive\r\nTransfer-Encoding: chunked"), 400);
}

#[test]
fn connect_has_no_body() {
    for header in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
        check_refused(with(header).replace("GET /", "CONNECT a:1"), 400);
    }
}

#[test]
fn a_connection_persists_by_version_and_options() {
    let plain_10 = PLAIN.replace("HTTP/1.1", "HTTP/1.0");
    let table = [
        ("A: b", true, false),
        ("Connection: close", false, false),
        ("Connection: CLOSE", false, false),
        ("Connection: keep-alive", true, true),
        ("Connection: Keep-Alive", true, true),
        ("Connection: x, ,keep-alive ,y", true, true),
        ("Connection: keep-alive, close", false, false),
        ("Connection: close\r\nConnection: keep-alive", false, false),
        ("Connection: keep-alive\r\nConnection: x,\tclose", false, false),
        ("Connection: closed", true, false),
        ("Connection: keep-alive-not", true, false),
        ("Connection:", true, false),
        ("Keep-Alive: timeout=5", true, false),
    ];
    for (header, persists, persists_10) in table {
        check(&with(header), &format!("{PLAIN}{}", if persists { " keep-alive" } else { "" }));
        let suffix = if persists_10 { " keep-alive" } else { "" };
        check(&with_10(header), &format!("{plain_10}{suffix}"));
    }
}

#[test]
fn an_upgrade_takes_both_headers_and_http_1_1() {
    let both = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade";
    check(&with(both), &format!("{PLAIN} keep-alive upgrade"));
    for header in ["Upgrade: websocket", "Connection: upgrade", "Upgrade:\r\nConnection: upgrade"] {
        check(&with(header), &format!("{PLAIN} keep-alive"));
    }
    let plain_10 = PLAIN.replace("HTTP/1.1", "HTTP/1.0");
    check(&with_10(both), &format!("{plain_10} keep-alive"));
}

#[test]
fn the_one_expectation_is_100_continue() {
    let exact = PLAIN.replace("HTTP/1.1 None", "HTTP/1.1 Exact(5)");
    let length = "Content-Length: 5\r\n";
    for value in ["100-continue", "100-Continue", "100-continue, ,100-CONTINUE"] {
        let request = with(&format!("{length}Expect: {value}"));
        check(&request, &format!("{exact} keep-alive continue"));
        check(&with(&format!("Expect: {value}")), &format!("{PLAIN} keep-alive"));
    }
    check(&with(&format!("{length}Expect:")), &format!("{exact} keep-alive"));
    for value in ["x", "100-continue, x", "x, 100-continue", "100-continue;q=1", "200-ok"] {
        check_refused(with(&format!("{length}Expect: {value}")), 417);
        let request = with_10(&format!("{length}Expect: {value}"));
        check(&request, &exact.replace("HTTP/1.1", "HTTP/1.0"));
    }
}

#[test]
fn a_request_line_over_the_limit_is_refused_before_its_end() {
    let fitting = LIMITS.request_line_bytes - "GET / HTTP/1.1".len();
    let target = "x".repeat(fitting);
    let request = line(&format!("GET /{target} HTTP/1.1"));
    assert!(decode_in_steps(request.as_bytes(), 1, &LIMITS).unwrap().is_some());
    check_refused(line(&format!("GET /{target}x HTTP/1.1")), 414);
    check_refused(format!("GET /{}", "x".repeat(LIMITS.request_line_bytes)), 414);
    let waits = format!("GET /{}", "x".repeat(LIMITS.request_line_bytes - 5));
    assert_eq!(decode_in_steps(waits.as_bytes(), 1, &LIMITS).unwrap().map(|_| ()), None);
}

#[test]
fn a_head_over_the_limit_is_refused_before_its_end() {
    let empty = with("A: ").len();
    let fitting = with(&format!("A: {}", "x".repeat(LIMITS.head_bytes - empty)));
    assert_eq!(fitting.len(), LIMITS.head_bytes);
    assert!(decode_in_steps(fitting.as_bytes(), 1, &LIMITS).unwrap().is_some());
    // Empty lines before the request are not part of it.
    assert!(decode_in_steps(format!("\r\n{fitting}").as_bytes(), 1, &LIMITS).unwrap().is_some());
    check_refused(fitting.replace("A: ", "A: x"), 431);
    check_refused(&fitting.replace("A: ", "A: x")[..LIMITS.head_bytes], 431);
    let small = HeadLimits { head_bytes: 50, ..LIMITS };
    check_refused_by(format!("GET /{}", "x".repeat(100)).as_bytes(), 431, &small);
}

#[test]
fn headers_over_the_limit_are_refused() {
    let lines = ["A: b"; LIMITS.headers - 1].join("\r\n");
    check(&with(&lines), &format!("{PLAIN} keep-alive"));
    check_refused(with(&format!("{lines}\r\nA: b")), 431);
    check_refused(format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(LIMITS.headers + 1)), 431);
}

#[test]
fn many_headers_are_decoded_if_the_limit_allows_them() {
    let limits = HeadLimits { headers: 1000, head_bytes: 64 * 1024, ..LIMITS };
    for count in [31, 32, 33, 127, 128, 129, 1000] {
        let request = with(&vec!["Name: value"; count - 1].join("\r\n"));
        let (_, head) = decode_in_steps(request.as_bytes(), 4096, &limits).unwrap().unwrap();
        assert_eq!(head.fields.len(), count);
        assert_eq!(head.headers().all("name").filter(|v| *v == b"value").count(), count - 1);
    }
}

#[test]
fn pipelined_requests_are_decoded_one_after_another() {
    let input = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
                 POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\
                 PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nde\r\n1;x\r\nf\r\n0\r\nT: u\r\n\r\n\
                 GET /4 HTTP/1.0\r\n\r\n\
                 GET /unfinished";
    let lines = transcript(input.as_bytes(), &[], &LIMITS, 100);
    let head = |text: &str| format!("{text} query=None host=Some(\"a\") HTTP/1.1");
    let host = "Host=[97]";
    assert_eq!(
        lines,
        [
            format!("{} None keep-alive {host}", head("GET /1 path=/1")),
            String::new(),
            format!("{} Exact(3) keep-alive {host} Content-Length=[51]", head("POST /2 path=/2")),
            "abc".to_owned(),
            format!(
                "{} Chunked keep-alive {host} Transfer-Encoding={:?}",
                head("PUT /3 path=/3"),
                b"chunked"
            ),
            "def".to_owned(),
            "GET /4 path=/4 query=None host=None HTTP/1.0 None".to_owned(),
            String::new(),
            "15 bytes left".to_owned(),
        ]
    );
}
