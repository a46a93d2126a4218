//! Server-sent events: `cargo run --release --example sse [ADDR]`, then open
//! <http://127.0.0.1:3000/>. A browser that loses its connection, because the program is restarted
//! for one, comes back by itself and goes on where it was.

use std::time::Duration;

use corelane::{App, Cluster, Exit, Html, LastEventId, Sse, SseEvent, Workers};
use futures_lite::stream;

const PAGE: &str = r#"<!doctype html>
<title>Ticks</title>
<ul id="ticks"></ul>
<script>
    new EventSource('/ticks').addEventListener('tick', (event) => {
        const line = document.createElement('li');
        line.textContent = event.data;
        document.getElementById('ticks').prepend(line);
    });
</script>
"#;

/// One event per second, from the one after that which the client has seen last.
async fn ticks(LastEventId(last): LastEventId) -> Sse {
    let first = last.and_then(|id| id.parse::<u64>().ok()).map_or(1, |id| id + 1);
    let ticks = stream::unfold(first, async |number| {
        corelane::sleep(Duration::from_secs(1)).await;
        let text = format!("tick {number} from worker {}", Workers::current().own());
        Some((SseEvent::data(text).event("tick").id(number.to_string()), number + 1))
    });
    // The client waits so long before it comes back.
    let hint = stream::once(SseEvent::comment("hello").retry(Duration::from_millis(500)));
    Sse::new(stream::StreamExt::chain(hint, ticks))
}

fn main() -> Exit {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let app = || App::new().get("/", async || Html(PAGE)).get("/ticks", ticks);
    Cluster::new(app).listen(address).run()
}
