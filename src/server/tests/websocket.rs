//! WebSocket, frame by frame.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::app::{Message, WebSocket, WebSocketUpgrade};
use crate::rt::{sleep, spawn_local};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

fn app() -> App {
    App::new()
        .get("/echo", async |upgrade: WebSocketUpgrade| {
            upgrade.message_max(1000).protocols(["chat.v2", "chat.v1"]).on_upgrade(echo)
        })
        .get("/once", async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket: WebSocket| {
                let _first = socket.recv().await;
            })
        })
        .get("/bye", async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket: WebSocket| {
                socket.send("last words").await.unwrap();
                socket.close(4001, "bye").await;
            })
        })
        .get("/panics", async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket: WebSocket| {
                let _first = socket.recv().await;
                panic!("as asked")
            })
        })
        .get("/idle", async |upgrade: WebSocketUpgrade| {
            upgrade.idle_timeout(Duration::from_millis(200)).on_upgrade(echo)
        })
        .get("/open", async |upgrade: WebSocketUpgrade| upgrade.any_origin().on_upgrade(echo))
        .get("/some", async |upgrade: WebSocketUpgrade| {
            upgrade.origins(["https://app.example"]).on_upgrade(echo)
        })
        .post("/echo", async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo))
}

/// The handshake as a browser does it, and what comes of it.
fn knock(worker: &Worker, path: &str, more: &str) -> (TcpStream, String) {
    let mut stream = worker.connect();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let answer = head_of(&mut stream);
    (stream, answer)
}

fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

fn open(worker: &Worker, path: &str) -> TcpStream {
    let (stream, answer) = knock(worker, path, "");
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    stream
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let mut frame = vec![first];
    match payload.len() {
        0..=125 => frame.push(0x80 | u8::try_from(payload.len()).unwrap()),
        length => {
            frame.push(0xfe);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn closing(code: u16, reason: &str) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The next frame of the server's: its first byte and its payload; `None` at the end.
fn next(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    match stream.read(&mut start[..1]).unwrap() {
        0 => return None,
        _ => stream.read_exact(&mut start[1..]).unwrap(),
    }
    let length = match start[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).unwrap();
            usize::try_from(u64::from_be_bytes(length)).unwrap()
        }
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).unwrap();
    Some((start[0], payload))
}

/// The code and the reason of the close that comes next.
fn close_of(stream: &mut TcpStream) -> (u16, String) {
    let (first, payload) = next(stream).expect("a close frame");
    assert_eq!(first, CLOSE, "{payload:?}");
    let code = u16::from_be_bytes([payload[0], payload[1]]);
    (code, String::from_utf8(payload[2..].to_vec()).unwrap())
}

#[test]
fn a_handshake_that_is_none_is_refused() {
    let worker = Worker::new(app);
    let base = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    // What is put in place of which header, and what comes of it.
    let table = [
        ("GET", "1.1", "Connection", Some("keep-alive"), 426, "upgrade: websocket"),
        ("GET", "1.1", "Upgrade", Some("h2c"), 426, "upgrade: websocket"),
        ("GET", "1.1", "Upgrade", None, 426, "upgrade: websocket"),
        ("GET", "1.1", "Sec-WebSocket-Version", Some("8"), 426, "sec-websocket-version: 13"),
        ("GET", "1.1", "Sec-WebSocket-Version", None, 426, "sec-websocket-version: 13"),
        ("GET", "1.1", "Sec-WebSocket-Key", None, 400, "16 bytes in base64"),
        ("GET", "1.1", "Sec-WebSocket-Key", Some("c2hvcnQ="), 400, "16 bytes in base64"),
        ("GET", "1.1", "Sec-WebSocket-Key", Some("no base64 at all !!!!!!!"), 400, "in base64"),
        ("POST", "1.1", "Content-Length", Some("0"), 400, "begins with get"),
        ("GET", "1.0", "Host", Some("h"), 400, "begins with http/1.1"),
        ("GET", "1.1", "Content-Length", Some("2"), 400, "has no body"),
        ("GET", "1.1", "Origin", Some("http://h"), 101, "s3pplmbitxaq9kygzzhzrbk+xoo="),
        ("GET", "1.1", "Origin", Some("http://evil.example"), 403, "another host"),
        ("GET", "1.1", "Origin", Some("null"), 403, "another host"),
    ];
    for (method, version, name, value, status, said) in table {
        let mut stream = worker.connect();
        let usual = base.iter().copied().filter(|(known, _)| *known != name);
        let own = value.map(|value| (name, value)).filter(|_| name != "Host");
        let mut lines = vec![format!("{method} /echo HTTP/{version}"), "Host: h".to_owned()];
        lines.extend(usual.chain(own).map(|(name, value)| format!("{name}: {value}")));
        let request = lines.join("\r\n") + "\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        stream.write_all(b"{}").unwrap();
        let head = head_of(&mut stream);
        let case = format!("{method} {version} {name} {value:?}: {head}");
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{case}");
        let mut body = [0; 200];
        let more = if status == 101 { 0 } else { stream.read(&mut body).unwrap() };
        let body = String::from_utf8_lossy(&body[..more]).to_ascii_lowercase();
        assert!(head.contains(said) || body.contains(said), "{case} {body}");
    }
    let cross = "Origin: https://app.example\r\n";
    for (path, status) in [("/echo", "403"), ("/open", "101"), ("/some", "101")] {
        let (_, answer) = knock(&worker, path, cross);
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{path}: {answer}");
    }
    let (_, answer) = knock(&worker, "/echo", "Sec-WebSocket-Protocol: chat.v1, chat.v2\r\n");
    assert!(answer.contains("sec-websocket-protocol: chat.v2\r\n"), "{answer}");
    let (_, answer) = knock(&worker, "/echo", "Sec-WebSocket-Protocol: other\r\n");
    assert!(!answer.contains("sec-websocket-protocol"), "{answer}");
}

#[test]
fn messages_come_back_whole_whatever_they_were_cut_into() {
    let worker = Worker::new(app);
    let mut stream = open(&worker, "/echo");
    let long = "ü".repeat(500);
    let pieces = [
        frame(TEXT, b"hello"),
        frame(TEXT, b""),
        frame(BINARY, &[0, 255, 1]),
        frame(TEXT, long.as_bytes()),
        // Fragments with a ping between them; the cut is within a letter.
        frame(0x01, &"né".as_bytes()[..2]),
        frame(PING, b"are you there"),
        frame(0x00, &"né".as_bytes()[2..]),
        frame(0x80, b"!"),
        frame(PONG, b"nobody asked"),
    ]
    .concat();
    for chunk in pieces.chunks(3) {
        stream.write_all(chunk).unwrap();
    }
    let expected: [(u8, &[u8]); 6] = [
        (TEXT, b"hello"),
        (TEXT, b""),
        (BINARY, &[0, 255, 1]),
        (TEXT, long.as_bytes()),
        (PONG, b"are you there"),
        (TEXT, "né!".as_bytes()),
    ];
    for (first, payload) in expected {
        assert_eq!(next(&mut stream), Some((first, payload.to_vec())));
    }
    stream.write_all(&closing(1000, "done")).unwrap();
    assert_eq!(close_of(&mut stream), (1000, "done".to_owned()));
    assert_eq!(next(&mut stream), None, "the server ends the connection");
}

#[test]
fn what_came_with_the_handshake_is_not_lost() {
    let worker = Worker::new(app);
    let mut stream = worker.connect();
    let head = format!(
        "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &frame(TEXT, b"early")].concat()).unwrap();
    head_of(&mut stream);
    assert_eq!(next(&mut stream), Some((TEXT, b"early".to_vec())));
}

#[test]
fn whoever_breaks_the_protocol_is_told_which_part_of_it() {
    let worker = Worker::new(app);
    let unmasked = vec![TEXT, 2, b'h', b'i'];
    let bad = [0xc3, 0x28];
    let table = [
        ("unmasked", unmasked, 1002),
        ("a reserved bit", frame(TEXT | 0x40, b"x"), 1002),
        ("a reserved opcode", frame(0x83, b"x"), 1002),
        ("a reserved control opcode", frame(0x8b, b"x"), 1002),
        ("a ping in fragments", frame(0x09, b"x"), 1002),
        ("a ping of 126 bytes", frame(PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a message within another", [frame(0x01, b"a"), frame(TEXT, b"b")].concat(), 1002),
        ("text that is none", frame(TEXT, &bad), 1007),
        ("text that is none, in pieces", [frame(0x01, b"a\xc3"), frame(0x80, b"(")].concat(), 1007),
        ("text that ends in the middle", frame(TEXT, b"\xe2\x82"), 1007),
        ("a large message", frame(TEXT, &[b'x'; 1001]), 1009),
        (
            "a message that grows large",
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 600])].concat(),
            1009,
        ),
        ("a close of one byte", frame(CLOSE, b"x"), 1002),
        ("a close with a code that is not sent", closing(1005, ""), 1002),
        ("a close with a code that is none", closing(999, ""), 1002),
    ];
    for (what, bytes, code) in table {
        let mut stream = open(&worker, "/echo");
        // More than what is wrong: it must not cost the client the answer.
        stream.write_all(&[bytes, frame(TEXT, &[b'y'; 900])].concat()).unwrap();
        assert_eq!(close_of(&mut stream).0, code, "{what}");
    }
    // What is as large as may be.
    let mut stream = open(&worker, "/echo");
    stream.write_all(&frame(TEXT, &[b'x'; 1000])).unwrap();
    assert_eq!(next(&mut stream).unwrap().1.len(), 1000);
}

#[test]
fn every_end_of_a_handler_is_a_close() {
    let worker = Worker::new(app);
    let mut bye = open(&worker, "/bye");
    assert_eq!(next(&mut bye), Some((TEXT, b"last words".to_vec())));
    assert_eq!(close_of(&mut bye), (4001, "bye".to_owned()));
    bye.write_all(&closing(4001, "")).unwrap();
    assert_eq!(next(&mut bye), None);

    let mut once = open(&worker, "/once");
    once.write_all(&frame(TEXT, b"enough")).unwrap();
    assert_eq!(close_of(&mut once), (1000, String::new()));

    let mut panics = open(&worker, "/panics");
    panics.write_all(&frame(TEXT, b"now")).unwrap();
    assert_eq!(close_of(&mut panics), (1011, "the server has failed".to_owned()));
    drop(panics);
    let begun = Instant::now();
    while worker.stats.panics.get() == 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_goes_without_a_word_frees_its_connection() {
    let worker = Worker::new(app);
    let mut stream = open(&worker, "/echo");
    stream.write_all(&frame(TEXT, b"hello")).unwrap();
    next(&mut stream).unwrap();
    assert_eq!(worker.stats.connections.get(), 1);
    drop(stream);
    let begun = Instant::now();
    while worker.stats.connections.get() > 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_drain_says_that_the_server_goes_away() {
    let mut worker = Worker::new(app);
    let mut idle = open(&worker, "/echo");
    let mut busy = open(&worker, "/echo");
    busy.write_all(&frame(TEXT, b"before")).unwrap();
    assert_eq!(next(&mut busy), Some((TEXT, b"before".to_vec())));
    let client = std::thread::spawn(move || {
        for stream in [&mut idle, &mut busy] {
            assert_eq!(close_of(stream), (1001, "the server goes away".to_owned()));
            stream.write_all(&closing(1001, "")).unwrap();
            assert_eq!(next(stream), None);
        }
    });
    assert_eq!(worker.drain().cut, 0);
    client.join().unwrap();
}

#[test]
fn a_silent_client_is_pinged_and_then_given_up() {
    let worker = Worker::new(app);
    let mut stream = open(&worker, "/idle");
    // Whoever answers stays, however long.
    for _ in 0..4 {
        let (first, payload) = next(&mut stream).unwrap();
        assert_eq!(first, PING);
        stream.write_all(&frame(PONG, &payload)).unwrap();
    }
    stream.write_all(&frame(TEXT, b"still here")).unwrap();
    assert_eq!(next(&mut stream), Some((TEXT, b"still here".to_vec())));
    assert_eq!(next(&mut stream).unwrap().0, PING);
    assert_eq!(close_of(&mut stream), (1001, "the client has gone silent".to_owned()));
}

#[test]
fn a_client_that_does_not_read_holds_up_its_sender_and_is_given_up() {
    let settings = |_: &mut Limits, timeouts: &mut Timeouts| {
        timeouts.write_idle = Duration::from_millis(300);
    };
    let sent = Arc::new(std::sync::Mutex::new(None));
    let told = Arc::clone(&sent);
    let app = move || {
        App::new().get("/flood", async move |upgrade: WebSocketUpgrade| {
            let told = Arc::clone(&told);
            upgrade.on_upgrade(async move |mut socket: WebSocket| {
                let piece = Bytes::from(vec![0; 256 * 1024]);
                let mut pieces = 0_u32;
                while socket.send(piece.clone()).await.is_ok() {
                    pieces += 1;
                }
                *told.lock().unwrap() = Some(pieces);
            })
        })
    };
    let worker = Worker::with(app, settings);
    let stream = open(&worker, "/flood");
    let begun = Instant::now();
    let pieces = loop {
        if let Some(pieces) = *sent.lock().unwrap() {
            break pieces;
        }
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    };
    assert!(pieces < 200, "{pieces} pieces of 256 KiB were taken for a client that reads none");
    drop(stream);
}

#[test]
fn a_socket_may_outlive_its_handler_and_talk_to_others() {
    type Room = Rc<RefCell<Vec<WebSocket>>>;
    let app = || {
        let room = Room::default();
        let own = Rc::clone(&room);
        App::new()
            .get("/join", async move |upgrade: WebSocketUpgrade| {
                let room = Rc::clone(&own);
                upgrade.on_upgrade(async move |socket: WebSocket| room.borrow_mut().push(socket))
            })
            .post("/say", async move |words: String| {
                if room.borrow().len() < 2 {
                    return "not yet".to_owned();
                }
                let sockets = std::mem::take(&mut *room.borrow_mut());
                let count = sockets.len();
                drop(spawn_local(async move {
                    for mut socket in sockets {
                        socket.send(Message::from(&*words)).await.unwrap();
                        sleep(Duration::from_millis(1)).await;
                        socket.close(1000, "").await;
                    }
                }));
                count.to_string()
            })
    };
    let worker = Worker::new(app);
    let mut members = [open(&worker, "/join"), open(&worker, "/join")];
    let say = "POST /say HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let begun = Instant::now();
    while !worker.ask(say).ends_with('2') {
        assert!(begun.elapsed() < PATIENCE);
    }
    for member in &mut members {
        assert_eq!(next(member), Some((TEXT, b"hi".to_vec())));
        assert_eq!(close_of(member).0, 1000);
    }
}

/// A handler that sends, and then does something else for so long.
fn sends_and_leaves(messages: &'static [usize]) -> Worker {
    Worker::new(move || {
        App::new().get("/", async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut socket: WebSocket| {
                for length in messages {
                    socket.send(vec![7; *length]).await.unwrap();
                }
                sleep(PATIENCE).await;
            })
        })
    })
}

#[test]
fn what_was_sent_is_on_its_way_whatever_the_handler_does_next() {
    for messages in [&[1, 2][..], &[100_000]] {
        let worker = sends_and_leaves(messages);
        let mut stream = open(&worker, "/");
        stream.set_read_timeout(Some(PATIENCE / 2)).unwrap();
        for length in messages {
            assert_eq!(next(&mut stream).unwrap().1.len(), *length, "{messages:?}");
        }
    }
}

#[test]
fn a_flood_of_pings_is_held_up_when_nobody_reads_the_answers() {
    let worker = Worker::new(app);
    let mut stream = open(&worker, "/echo");
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let pings = frame(PING, &[b'x'; 125]).repeat(8192);
    // 64 MiB are more than all that the kernel keeps for a connection.
    let held_up = (0..64).any(|_| stream.write_all(&pings).is_err());
    assert!(held_up, "all of it was read, and its answers are in memory");
}

#[test]
fn nobody_is_given_up_who_was_not_pinged() {
    let worker = Worker::new(|| {
        App::new().get("/", async |upgrade: WebSocketUpgrade| {
            let upgrade = upgrade.idle_timeout(Duration::from_millis(200));
            upgrade.on_upgrade(async |mut socket: WebSocket| {
                let _first = socket.recv().await;
                // Works for longer than anybody may be silent.
                sleep(Duration::from_millis(300)).await;
                echo(socket).await;
            })
        })
    });
    let mut stream = open(&worker, "/");
    stream.write_all(&frame(TEXT, b"go")).unwrap();
    assert_eq!(next(&mut stream).unwrap().0, PING, "a ping comes first");
}

#[test]
fn who_only_sends_hears_of_the_drain() {
    let mut worker = Worker::new(|| {
        App::new().get("/", async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket: WebSocket| {
                while socket.send("tick").await.is_ok() {
                    sleep(Duration::from_millis(5)).await;
                }
            })
        })
    });
    let mut stream = open(&worker, "/");
    next(&mut stream);
    let client = std::thread::spawn(move || {
        loop {
            let (first, payload) = next(&mut stream).unwrap();
            if first == CLOSE {
                stream.write_all(&frame(CLOSE, &payload)).unwrap();
                return payload;
            }
        }
    });
    assert_eq!(worker.drain().cut, 0);
    assert_eq!(client.join().unwrap()[..2], 1001_u16.to_be_bytes());
}

#[test]
fn a_close_is_answered_at_once() {
    let worker = Worker::new(|| {
        App::new().get("/", async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket: WebSocket| {
                while let Some(Ok(_)) = socket.recv().await {}
                sleep(PATIENCE).await;
            })
        })
    });
    let mut stream = open(&worker, "/");
    stream.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    stream.write_all(&closing(1000, "")).unwrap();
    assert_eq!(next(&mut stream).unwrap().0, CLOSE);
}
