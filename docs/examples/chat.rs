//! A chat over WebSocket: `cargo run --release --example chat [ADDR]`, then open
//! <http://127.0.0.1:3000/> in two windows. Each core knows its own members only; what somebody
//! says goes to the other cores as a message.

use std::cell::RefCell;
use std::rc::Rc;

use async_channel::{Receiver, Sender, TrySendError};
use corelane::websocket::{Message, WebSocket, WebSocketUpgrade};
use corelane::{App, Cluster, Exit, Html, Workers};
use futures_lite::FutureExt;

const PAGE: &str = r#"<!doctype html>
<title>Chat</title>
<form><input name="words" autofocus autocomplete="off" placeholder="Say something"></form>
<ul></ul>
<script>
    const socket = new WebSocket(`ws://${location.host}/chat`);
    const list = document.querySelector('ul');
    socket.onmessage = (event) => {
        const line = document.createElement('li');
        line.textContent = event.data;
        list.prepend(line);
    };
    document.querySelector('form').onsubmit = (event) => {
        event.preventDefault();
        socket.send(event.target.words.value);
        event.target.reset();
    };
</script>
"#;

/// How much may wait for a member who reads slowly, before words to them are lost.
const WAITING_MAX: usize = 64;

/// What somebody said, on its way to the other cores.
#[derive(Clone)]
struct Said(String);

/// The members of this core.
#[derive(Clone, Default)]
struct Room(Rc<RefCell<Vec<Sender<String>>>>);

impl Room {
    fn join(&self) -> Receiver<String> {
        let (sender, receiver) = async_channel::bounded(WAITING_MAX);
        self.0.borrow_mut().push(sender);
        receiver
    }

    /// Tells every member of this core; those who have left are forgotten.
    fn tell(&self, words: &str) {
        self.0.borrow_mut().retain(|member| {
            !matches!(member.try_send(words.to_owned()), Err(TrySendError::Closed(_)))
        });
    }

    /// Tells everybody.
    fn say(&self, words: String) {
        self.tell(&words);
        Workers::current().broadcast(&Said(words));
    }
}

/// What a member waits for.
enum Next {
    Heard(String),
    Typed(String),
    Left,
}

async fn take_part(mut socket: WebSocket, room: Room) {
    let inbox = room.join();
    loop {
        let heard = async { inbox.recv().await.map_or(Next::Left, Next::Heard) };
        let typed = async {
            match socket.recv().await {
                Some(Ok(Message::Text(words))) => Next::Typed(words),
                _ => Next::Left,
            }
        };
        match typed.or(heard).await {
            Next::Typed(words) => room.say(words),
            Next::Heard(words) => {
                if socket.send(words).await.is_err() {
                    return;
                }
            }
            Next::Left => return,
        }
    }
}

fn app() -> App {
    let room = Room::default();
    let (other_cores, door) = (room.clone(), room);
    App::new()
        .on_message(move |Said(words)| other_cores.tell(&words))
        .get("/", async || Html(PAGE))
        .get("/chat", async move |upgrade: WebSocketUpgrade| {
            let room = door.clone();
            upgrade.message_max(4096).on_upgrade(async move |socket| take_part(socket, room).await)
        })
}

fn main() -> Exit {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    Cluster::new(app).listen(address).run()
}
