//! Answers as a client reads them, in tables; fed whole, byte by byte, and cut anywhere.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::h1::reply::{Malformed, ReplyDecoder, ReplyHead};
use crate::h1::{AskedMethod, LAST_CHUNK, encode_chunk};

/// Reads every answer in `input`, which arrives cut at `cuts`: each head with its body, and how it
/// ended. The server closes at the end.
fn transcript(input: &[u8], cuts: &[usize], asked: AskedMethod) -> Vec<String> {
    let (mut decoder, mut buffer, mut body) = (ReplyDecoder::default(), Vec::new(), Vec::new());
    let mut lines = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([input.len()]) {
        buffer.extend_from_slice(&input[from..to]);
        from = to;
        while !buffer.is_empty() {
            let piece = match decoder.decode(&buffer, asked) {
                Ok(piece) => piece,
                Err(Malformed { reason }) => {
                    lines.push(format!("malformed: {reason}"));
                    return lines;
                }
            };
            body.extend_from_slice(&buffer[piece.payload]);
            buffer.drain(..piece.consumed);
            match piece.done {
                Some(head) => lines.push(describe(head, &std::mem::take(&mut body))),
                None if piece.consumed == 0 => break,
                None => {}
            }
        }
    }
    let idle = decoder.is_idle();
    match decoder.end() {
        Some(head) => lines.push(describe(head, &body)),
        None if !idle => lines.push("cut off".to_owned()),
        None => {}
    }
    lines
}

fn describe(head: ReplyHead, body: &[u8]) -> String {
    let keep = if head.keep_alive { "keep" } else { "close" };
    format!("{} {keep} {}", head.status, String::from_utf8_lossy(body))
}

/// However the bytes come.
fn check(input: &[u8], asked: AskedMethod, expected: &[&str]) {
    let text = String::from_utf8_lossy(input);
    assert_eq!(transcript(input, &[], asked), expected, "{text:?}");
    let each: Vec<usize> = (1..input.len()).collect();
    assert_eq!(transcript(input, &each, asked), expected, "byte by byte: {text:?}");
}

fn check_malformed(input: &str, about: &str) {
    let lines = transcript(input.as_bytes(), &[], AskedMethod::Other);
    let [line] = &lines[..] else { panic!("{input:?} is {lines:?}") };
    assert!(line.starts_with("malformed: ") && line.contains(about), "{input:?}: {line}");
    check(input.as_bytes(), AskedMethod::Other, &[line]);
}

#[test]
fn delimits_answers_as_their_heads_say() {
    let table: [(&str, &[&str]); 15] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", &["200 keep hello"]),
        ("HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", &["200 keep "]),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", &["200 keep hi"]),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi",
            &["200 keep hi"],
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", &["200 close until the end"]),
        ("HTTP/1.1 200 OK\r\n\r\n", &["200 close "]),
        (
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nA: b\r\n\r\n",
            &["404 keep hi"],
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
            &["200 keep x"],
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nzzz", &["200 close zzz"]),
        (
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
            &["204 keep ", "304 keep "],
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            &["200 keep x"],
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", &["101 close "]),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na\
             HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb\
             HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nc",
            &["200 keep a", "200 keep b", "500 keep c"],
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", &["cut off"]),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 2",
            &["200 keep hello", "cut off"],
        ),
    ];
    for (input, expected) in table {
        check(input.as_bytes(), AskedMethod::Other, expected);
    }
}

#[test]
fn keeps_the_connection_as_version_and_options_say() {
    let table = [
        ("1.1", "", "keep"),
        ("1.1", "Connection: close\r\n", "close"),
        ("1.1", "Connection: x, CLOSE\r\n", "close"),
        ("1.0", "", "close"),
        ("1.0", "Connection: Keep-Alive\r\n", "keep"),
        ("1.0", "Connection: keep-alive, close\r\n", "close"),
    ];
    for (version, option, keep) in table {
        let input = format!("HTTP/{version} 200 OK\r\n{option}Content-Length: 1\r\n\r\nx");
        check(input.as_bytes(), AskedMethod::Other, &[&format!("200 {keep} x")]);
    }
}

#[test]
fn the_method_says_whether_there_is_a_body() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    check(head, AskedMethod::Head, &["200 keep "]);
    check(b"HTTP/1.1 200 OK\r\n\r\n", AskedMethod::Head, &["200 keep "]);
    check(head, AskedMethod::Connect, &["200 close "]);
    check(b"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx", AskedMethod::Connect, &["403 keep x"]);
    let mut decoder = ReplyDecoder::default();
    assert!(decoder.decode(head, AskedMethod::Head).unwrap().done.is_some());
    assert!(
        decoder.decode(head, AskedMethod::Other).unwrap().done.is_none(),
        "a head that is known says something else to another method"
    );
}

#[test]
fn refuses_what_is_no_answer() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (input, about) in [
        ("hello".to_owned(), "begins"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned(), "begins"),
        ("HTTP/2 200\r\n\r\n".to_owned(), "begins"),
        ("HTTP/1.7 200 OK\r\n\r\n".to_owned(), "malformed"),
        ("HTTP/1.1 2000 OK\r\n\r\n".to_owned(), "malformed"),
        ("HTTP/1.1 099 OK\r\n\r\n".to_owned(), "below 100"),
        (format!("{ok}A b: c\r\n\r\n"), "malformed"),
        (format!("{ok}A: \0\r\n\r\n"), "malformed"),
        (format!("{ok}Content-Length: x\r\n\r\n"), "Content-Length"),
        (format!("{ok}Content-Length:\r\n\r\n"), "Content-Length"),
        (format!("{ok}Content-Length: -1\r\n\r\n"), "Content-Length"),
        (format!("{ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), "two values"),
        (format!("{ok}Content-Length: 1, 2\r\n\r\n"), "two values"),
        (format!("{ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "both"),
        (format!("{ok}Transfer-Encoding: chunked, gzip\r\n\r\n"), "last"),
        (format!("{ok}Transfer-Encoding: chunked\r\n\r\nx\r\n"), "chunk size"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "HTTP/1.0"),
        (format!("{ok}{}\r\n", "A: b\r\n".repeat(129)), "more headers"),
        (format!("{ok}A: {}\r\n\r\n", "b".repeat(70_000)), "longer"),
        (format!("HTTP/1.1 100 C\r\n\r\n{ok}A: {}\r\n\r\n", "b".repeat(70_000)), "longer"),
    ] {
        check_malformed(&input, about);
    }
}

#[test]
fn a_head_that_comes_again_costs_no_memory_and_says_the_same() {
    let (mut decoder, mut memory) = (ReplyDecoder::default(), None);
    for date in ["1", "1", "2", "2"] {
        let input = format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 1\r\n\r\nx");
        let piece = decoder.decode(input.as_bytes(), AskedMethod::Other).unwrap();
        assert_eq!((piece.consumed, piece.done.unwrap().status), (input.len(), 200));
        let now = decoder.memory();
        assert_eq!(*memory.get_or_insert(now), now);
    }
}

/// Pieces of answers, good and bad.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"H",
        b"\0",
    ];
    prop_oneof![
        8 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..20),
        1 => vec(any::<u8>(), 1..20).prop_map(|data| {
            let mut body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            encode_chunk(&mut body, &data);
            body.extend_from_slice(LAST_CHUNK);
            body
        }),
    ]
}

proptest! {
    #[test]
    fn answers_do_not_depend_on_how_they_are_cut(
        fragments in vec(fragment(), 0..10),
        cuts in vec(any::<proptest::sample::Index>(), 0..8),
        head in any::<bool>(),
    ) {
        let input = fragments.concat();
        let asked = if head { AskedMethod::Head } else { AskedMethod::Other };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = transcript(&input, &[], asked);
        prop_assert_eq!(transcript(&input, &cuts, asked), whole.clone());
        let each: Vec<usize> = (1..input.len()).collect();
        prop_assert_eq!(transcript(&input, &each, asked), whole);
    }
}
