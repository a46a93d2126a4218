//! What is accepted and what is refused, in tables; answers byte for byte; and arbitrary input.

mod answers;
mod arbitrary;
mod heads;
mod replies;

use std::fmt::Write;

use super::{BodyDecoder, Decoded, HeadDecoder, HeadLimits, Refusal};
use crate::message::Head;

const LIMITS: HeadLimits = HeadLimits { request_line_bytes: 200, head_bytes: 1000, headers: 10 };

/// Decodes the head with which `input` begins; the bytes arrive `step` at a time.
fn decode_in_steps(
    input: &[u8],
    step: usize,
    limits: &HeadLimits,
) -> Result<Option<(Decoded, Head)>, Refusal> {
    let (mut decoder, mut head) = (HeadDecoder::default(), Head::default());
    let mut end = 0;
    loop {
        end = input.len().min(end + step);
        if let Some(decoded) = decoder.decode(&input[..end], limits, &mut head)? {
            return Ok(Some((decoded, head)));
        }
        if end == input.len() {
            return Ok(None);
        }
    }
}

/// Everything a request says, in one line.
fn describe(decoded: &Decoded, head: &Head) -> String {
    let asked = decoded.asked;
    let query = head.query.map(|query| head.text(query));
    let host = head.authority.map(|host| head.text(host));
    let (target, path) = (head.text(head.target), head.text(head.path));
    let mut text = format!("{} {target} path={path} query={query:?} host={host:?}", head.method);
    write!(text, " {:?} {:?}", head.version, decoded.length).unwrap();
    for (said, word) in [
        (asked.keep_alive, " keep-alive"),
        (asked.upgrade, " upgrade"),
        (decoded.expects_continue, " continue"),
    ] {
        text += if said { word } else { "" };
    }
    text
}

/// Every request in `input`, heads described and bodies as they are; the bytes arrive cut at
/// `cuts`. The last entry says how it ended.
fn transcript(input: &[u8], cuts: &[usize], limits: &HeadLimits, body_max: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut buffer, mut decoder, mut head) = (Vec::new(), HeadDecoder::default(), Head::default());
    let mut body: Option<(BodyDecoder, Vec<u8>)> = None;
    let mut from = 0;
    for to in cuts.iter().copied().chain([input.len()]) {
        buffer.extend_from_slice(&input[from..to]);
        from = to;
        loop {
            let progress = match &mut body {
                None => read_head(&mut buffer, &mut decoder, &mut head, limits, body_max),
                Some((decoder, payload)) => read_body(&mut buffer, decoder, payload),
            };
            match progress {
                Ok(Progress::Stuck) => break,
                Ok(Progress::Piece) => {}
                Ok(Progress::Head(line, decoder)) => {
                    lines.push(line);
                    body = Some((decoder, Vec::new()));
                }
                Ok(Progress::Body(payload)) => {
                    lines.push(String::from_utf8_lossy(&payload).into_owned());
                    body = None;
                }
                Err(refusal) => {
                    lines.push(refusal.to_string());
                    return lines;
                }
            }
        }
    }
    lines.push(format!("{} bytes left", if body.is_none() { buffer.len() } else { 0 }));
    lines
}

enum Progress {
    Stuck,
    Piece,
    Head(String, BodyDecoder),
    Body(Vec<u8>),
}

fn read_head(
    buffer: &mut Vec<u8>,
    heads: &mut HeadDecoder,
    head: &mut Head,
    limits: &HeadLimits,
    body_max: u64,
) -> Result<Progress, Refusal> {
    let Some(decoded) = heads.decode(buffer, limits, head)? else { return Ok(Progress::Stuck) };
    buffer.drain(..decoded.consumed);
    let body = BodyDecoder::new(decoded.length, body_max)?;
    let mut line = describe(&decoded, head);
    for (name, value) in head.headers().iter() {
        write!(line, " {name}={value:?}").unwrap();
    }
    Ok(Progress::Head(line, body))
}

fn read_body(
    buffer: &mut Vec<u8>,
    decoder: &mut BodyDecoder,
    payload: &mut Vec<u8>,
) -> Result<Progress, Refusal> {
    let piece = decoder.decode(buffer)?;
    assert_eq!(piece.done, decoder.is_done());
    payload.extend_from_slice(&buffer[piece.payload.clone()]);
    buffer.drain(..piece.consumed);
    Ok(match (piece.done, piece.consumed) {
        (true, _) => Progress::Body(std::mem::take(payload)),
        (false, 0) => Progress::Stuck,
        (false, _) => Progress::Piece,
    })
}
