//! Forms with files.

use super::*;
use crate::app::{Multipart, Rejection};

/// More than the server holds of a body.
const FILE: usize = 8 << 20;

fn uploads() -> App {
    async fn measure(mut form: Multipart) -> Result<String, Rejection> {
        let mut all = String::new();
        while let Some(mut field) = form.next_field().await? {
            let (mut size, mut pieces) = (0, 0);
            while let Some(piece) = field.chunk().await? {
                size += piece.len();
                pieces += 1;
                assert!(piece.len() < FILE / 2, "streamed, not collected");
            }
            let many = if pieces > 1 { "pieces" } else { "piece" };
            all.extend([field.name().unwrap_or_default(), &format!(" {size} {many};")]);
        }
        Ok(all)
    }
    App::new().post("/", measure)
}

fn form(file: usize) -> (String, String) {
    let disposition = "Content-Disposition: form-data; name=";
    let body = format!(
        "--XX\r\n{disposition}\"title\"\r\n\r\nhello\r\n\
         --XX\r\n{disposition}\"file\"; filename=\"a.bin\"\r\n\r\n{}\r\n--XX--\r\n",
        "y".repeat(file)
    );
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: multipart/form-data; boundary=XX\r\n\r\n",
        body.len()
    );
    (head, body)
}

fn large_bodies(limits: &mut Limits, _: &mut Timeouts) {
    limits.body_bytes = 2 * FILE as u64;
}

#[test]
fn a_file_is_read_as_it_arrives() {
    let worker = Worker::with(uploads, large_bodies);
    let (head, body) = form(FILE);
    let answer = worker.ask(&(head + &body));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&format!("title 5 piece;file {FILE} pieces;")), "{answer}");
}

#[test]
fn a_file_beyond_the_limit_is_413_and_one_cut_short_harms_nobody() {
    let worker = Worker::with(uploads, |limits, _| limits.body_bytes = 4096);
    let (head, _) = form(FILE);
    let answer = worker.ask(&head);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let (head, body) = form(1000);
    let mut stream = worker.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..500]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    drop(stream);
    let (head, body) = form(10);
    let answer = worker.ask(&(head + &body));
    assert!(answer.ends_with("title 5 piece;file 10 piece;"), "serves on: {answer}");
}
