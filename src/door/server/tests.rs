//! The server over real sockets, with limits short enough to wait for or so long that only what is tested can end a
//! connection.

use std::net::SocketAddr;

use axum::extract::State;
use axum::routing::{get, post};
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const PATIENT: Limits = Limits { connections: 64, head_within: HOUR, body_within: HOUR, lives: HOUR };
const SHORT: Duration = Duration::from_millis(50);
const ALIVE: &str = "GET /healthz HTTP/1.1\r\nhost: lab\r\n\r\n";

/// A door, and what a handler that was told to wait waits for.
struct Rig {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    server: JoinHandle<()>,
    held: Arc<Held>,
}

#[derive(Default)]
struct Held {
    begun: Notify,
    go: Notify,
}

async fn hold(State(held): State<Arc<Held>>) -> &'static str {
    held.begun.notify_one();
    held.go.notified().await;
    "done\n"
}

/// The same, parked.
async fn park(parking: axum::Extension<Parking>, held: State<Arc<Held>>) -> &'static str {
    let _parked = parking.park().expect("room");
    hold(held).await
}

/// Says something only when it is asked again.
async fn later(again: Option<axum::Extension<AskedAgain>>, held: State<Arc<Held>>) -> Response {
    if again.is_some() {
        return "done\n".into_response();
    }
    let State(held) = held;
    Later::after(async move {
        held.begun.notify_one();
        held.go.notified().await;
    })
}

/// Its first half at once, its second when it is told to go.
async fn stream(State(held): State<Arc<Held>>) -> impl IntoResponse {
    let second = stream::once(async move {
        held.go.notified().await;
        Ok::<_, Infallible>("ended\n")
    });
    let body = stream::once(async { Ok("begun\n") }).chain(second);
    (axum::Extension(Lasting), Body::from_stream(body))
}

impl Rig {
    async fn start(limits: Limits) -> Rig {
        let held = Arc::new(Held::default());
        let routes = Router::new()
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/echo", post(|body: Bytes| async { body }))
            .route("/hold", get(hold))
            .route("/park", get(park))
            .route("/later", get(later))
            .route("/stream", get(stream))
            .with_state(held.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("address");
        let (closing, closed) = watch::channel(false);
        let server = tokio::spawn(serve(listener, routes, limits, Clock::system(), closed));
        Rig { address, closing, server, held }
    }

    /// A connection that has sent this.
    async fn sent(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        stream.write_all(bytes.as_bytes()).await.expect("write");
        stream
    }

    async fn is_alive(&self) -> bool {
        let mut stream = self.sent(ALIVE).await;
        heard(&mut stream, "alive\n").await.starts_with("HTTP/1.1 200 ")
    }

    /// Ends the server; it must not wait for any client.
    async fn close(self) {
        self.closing.send_replace(true);
        within(self.server).await.expect("no panic");
    }
}

async fn within<F: Future>(work: F) -> F::Output {
    Clock::system().timeout(SOON, work).await.expect("it happens in time")
}

/// What comes until this text has come.
async fn heard(stream: &mut TcpStream, until: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(until) {
        let read = within(stream.read(&mut buffer)).await.expect("read");
        assert!(read > 0, "the connection ended after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    text
}

/// What comes until the connection ends, however it ends.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = within(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_slow_head_and_an_idle_connection_are_closed() {
    let rig = Rig::start(Limits { head_within: SHORT, ..PATIENT }).await;
    assert_eq!(rest(rig.sent("").await).await, "", "it never said anything");
    assert_eq!(rest(rig.sent("GET /healthz HTTP/1.1\r\nhost: la").await).await, "", "half a head");
    let mut kept = rig.sent(ALIVE).await;
    heard(&mut kept, "alive\n").await;
    assert_eq!(rest(kept).await, "", "nothing came after an answer");
    assert!(rig.is_alive().await);
    rig.close().await;
}

#[tokio::test]
async fn what_has_nothing_to_say_yet_is_asked_again_after_its_wait() {
    let rig = Rig::start(PATIENT).await;
    let mut waits = rig.sent("GET /later?x&w%61it=1s HTTP/1.1\r\nhost: lab\r\n\r\n").await;
    within(rig.held.begun.notified()).await;
    assert!(rig.is_alive().await);
    rig.held.go.notify_one();
    let answer = heard(&mut waits, "done\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    // Who does not say for how long is not asked again, and waits for nothing.
    let mut at_once = rig.sent("GET /later HTTP/1.1\r\nhost: lab\r\n\r\n").await;
    assert!(heard(&mut at_once, "\r\n\r\n").await.starts_with("HTTP/1.1 202 "));
    rig.close().await;
}

#[tokio::test]
async fn a_slow_body_is_told_so_and_closed() {
    let rig = Rig::start(Limits { body_within: SHORT, ..PATIENT }).await;
    let slow = rig.sent("POST /echo HTTP/1.1\r\nhost: lab\r\ncontent-length: 10\r\n\r\nhalf").await;
    let answer = rest(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
    rig.close().await;
}

#[tokio::test]
async fn a_head_and_a_body_are_taken_up_to_their_bounds() {
    let rig = Rig::start(PATIENT).await;
    let post = |length: usize, body: String| {
        format!(
            "POST /echo HTTP/1.1\r\nhost: lab\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let full = "x".repeat(BODY_BYTES_MAX);
    let answer = rest(rig.sent(&post(BODY_BYTES_MAX, full)).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("xxx"), "a body at the bound");
    let answer = rest(rig.sent(&post(BODY_BYTES_MAX + 1, String::new())).await).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains("a request may have 256 KiB at most"), "{answer}");

    let head = |length: usize| {
        let line = "GET /healthz HTTP/1.1\r\nhost: lab\r\nconnection: close\r\nx: ";
        format!("{line}{}\r\n\r\n", "x".repeat(length - line.len() - 4))
    };
    let answer = rest(rig.sent(&head(HEAD_BYTES_MAX / 2)).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = rest(rig.sent(&head(HEAD_BYTES_MAX * 2)[..HEAD_BYTES_MAX]).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    rig.close().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::start(PATIENT).await;
    let echo = |body: &str| format!("POST /echo HTTP/1.1\r\nhost: lab\r\ncontent-length: 5\r\n\r\n{body}");
    let mut stream = rig.sent(&[echo("one--"), ALIVE.to_owned(), echo("two--")].concat()).await;
    let answers = heard(&mut stream, "two--").await;
    let order: Vec<_> = ["one--", "alive", "two--"].iter().map(|word| answers.find(word)).collect();
    assert!(order.is_sorted() && order[0].is_some(), "{answers}");
    rig.close().await;
}

#[tokio::test]
async fn clients_that_hold_connections_for_nothing_lock_nobody_out() {
    let rig = Rig::start(Limits { connections: 4, ..PATIENT }).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(rig.sent("POST /echo HTTP/1.1\r\nhost: lab\r\ncontent-length: 10\r\n\r\nhalf").await);
    }
    assert!(rig.is_alive().await);
    for stream in held.drain(..16) {
        assert_eq!(rest(stream).await, "", "it made room");
    }
    rig.close().await;
}

#[tokio::test]
async fn a_new_client_is_refused_only_when_every_connection_serves() {
    let rig = Rig::start(Limits { connections: 2, ..PATIENT }).await;
    let mut serving = Vec::new();
    for _ in 0..2 {
        serving.push(rig.sent("GET /hold HTTP/1.1\r\nhost: lab\r\n\r\n").await);
        within(rig.held.begun.notified()).await;
    }
    let mut refused = TcpStream::connect(rig.address).await.expect("connect");
    assert!(heard(&mut refused, "try again\n").await.starts_with("HTTP/1.1 503 "));
    rig.held.go.notify_waiters();
    for stream in &mut serving {
        heard(stream, "done\n").await;
    }
    assert!(rig.is_alive().await, "an answered connection makes room");
    rig.close().await;
}

#[tokio::test]
async fn who_is_parked_takes_no_place_from_anybody() {
    let limits = Limits { connections: 2, ..PATIENT };
    let rig = Rig::start(limits).await;
    let mut parked = Vec::new();
    for _ in 0..5 {
        parked.push(rig.sent("GET /park HTTP/1.1\r\nhost: lab\r\n\r\n").await);
        within(rig.held.begun.notified()).await;
    }
    // There is room for two more, and those make room for each other as ever.
    let served = rig.sent("GET /hold HTTP/1.1\r\nhost: lab\r\n\r\n").await;
    within(rig.held.begun.notified()).await;
    assert!(rig.is_alive().await);
    let waits = rig.sent("").await;
    assert!(rig.is_alive().await);
    assert_eq!(rest(waits).await, "");
    // One that has left is parked no more, nor counted.
    drop(parked.remove(0));
    rig.held.go.notify_waiters();
    for mut connection in parked.into_iter().chain([served]) {
        heard(&mut connection, "done\n").await;
    }
    assert!(rig.is_alive().await);
    rig.close().await;
}

#[tokio::test]
async fn a_file_on_its_way_makes_room_for_nobody() {
    let rig = Rig::start(Limits { connections: 2, ..PATIENT }).await;
    let mut slow = rig.sent("GET /stream HTTP/1.1\r\nhost: lab\r\n\r\n").await;
    heard(&mut slow, "begun\n").await;
    for _ in 0..5 {
        assert!(rig.is_alive().await, "of two connections the other makes room");
    }
    rig.held.go.notify_one();
    heard(&mut slow, "ended\n").await;
    let _others = [rig.sent("").await, rig.sent("").await];
    assert!(!rest(slow).await.contains("begun"), "once its file is out it makes room");
    rig.close().await;
}

#[tokio::test]
async fn a_connection_lives_only_so_long() {
    let rig = Rig::start(Limits { lives: SHORT, ..PATIENT }).await;
    assert_eq!(rest(rig.sent("").await).await, "");
    rig.close().await;
}

#[tokio::test]
async fn closing_waits_for_what_is_served_and_for_nothing_else() {
    let rig = Rig::start(PATIENT).await;
    let mut idle = rig.sent(ALIVE).await;
    heard(&mut idle, "alive\n").await;
    let others = [
        rig.sent("").await,
        rig.sent("GET /healthz HTTP/1.1\r\nhost: la").await,
        rig.sent("POST /echo HTTP/1.1\r\nhost: lab\r\ncontent-length: 10\r\n\r\nhalf").await,
    ];
    let served = rig.sent("GET /hold HTTP/1.1\r\nhost: lab\r\n\r\n").await;
    within(rig.held.begun.notified()).await;
    rig.closing.send_replace(true);
    for stream in others.into_iter().chain([idle]) {
        assert_eq!(rest(stream).await, "");
    }
    rig.held.go.notify_waiters();
    assert!(rest(served).await.ends_with("done\n"));
    rig.close().await;
}
