//! Input that nobody thought of.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{LIMITS, transcript};
use crate::h1::{BodyDecoder, BodyLength, LAST_CHUNK, encode_chunk};

const BODY_MAX: u64 = 64;

/// Pieces of requests, good and bad, that random bytes would hardly ever form.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /p?q HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://h/ HTTP/1.0\r\n",
        b"CONNECT h:1 HTTP/1.1\r\n",
        b"Host: h\r\n",
        b"Host:\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\nConnection: upgrade\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"3;a=\"b\"\r\nabc\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"T: u\r\n",
        b" folded\r\n",
        b": ",
        b"\0",
    ];
    prop_oneof![
        4 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..8),
    ]
}

/// A well-formed request, with or without a body.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let headers = vec(("[A-Za-z-]{1,12}x", "[ -~]{0,20}"), 0..4);
    let chunks = vec("[a-z]{1,9}", 0..4);
    (headers, "/[a-z?&=]{0,12}", 0..3, chunks).prop_map(|(headers, target, kind, chunks)| {
        let mut out = format!("POST {target} HTTP/1.1\r\nHost: h\r\n").into_bytes();
        for (name, value) in headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        match kind {
            0 => out.extend_from_slice(b"\r\n"),
            1 => {
                let body = chunks.concat();
                let rest = format!("Content-Length: {}\r\n\r\n{body}", body.len());
                out.extend_from_slice(rest.as_bytes());
            }
            _ => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in &chunks {
                    encode_chunk(&mut out, chunk.as_bytes());
                }
                out.extend_from_slice(LAST_CHUNK);
            }
        }
        out
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(input in vec(any::<u8>(), 0..300)) {
        transcript(&input, &[], &LIMITS, BODY_MAX);
    }

    /// Also: whether and why something is refused does not depend on how it arrives.
    #[test]
    fn arbitrary_requests_mean_the_same_however_they_are_cut(
        fragments in vec(fragment(), 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let input = fragments.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = transcript(&input, &[], &LIMITS, BODY_MAX);
        prop_assert_eq!(transcript(&input, &cuts, &LIMITS, BODY_MAX), whole);
    }

    #[test]
    fn a_stream_of_requests_means_the_same_cut_at_every_byte(requests in vec(request(), 1..4)) {
        let input = requests.concat();
        let whole = transcript(&input, &[], &LIMITS, BODY_MAX);
        prop_assert_eq!(whole.len(), 2 * requests.len() + 1, "{:?}", whole);
        prop_assert_eq!(whole.last().map(String::as_str), Some("0 bytes left"));
        for cut in 0..=input.len() {
            prop_assert_eq!(&transcript(&input, &[cut], &LIMITS, BODY_MAX), &whole);
        }
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&transcript(&input, &every, &LIMITS, BODY_MAX), &whole);
    }

    #[test]
    fn what_is_written_in_chunks_is_read_back(chunks in vec(vec(any::<u8>(), 0..300), 0..6)) {
        let mut out = Vec::new();
        for chunk in &chunks {
            encode_chunk(&mut out, chunk);
        }
        out.extend_from_slice(LAST_CHUNK);
        out.extend_from_slice(b"next");
        let mut body = BodyDecoder::new(BodyLength::Chunked, u64::MAX).unwrap();
        let (mut rest, mut payload) = (&out[..], Vec::new());
        while !body.is_done() {
            let piece = body.decode(rest).unwrap();
            prop_assert!(piece.consumed > 0);
            payload.extend_from_slice(&rest[piece.payload]);
            rest = &rest[piece.consumed..];
        }
        prop_assert_eq!(payload, chunks.concat());
        prop_assert_eq!(rest, b"next");
    }
}
