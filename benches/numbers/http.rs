//! Both other sides of the server's HTTP: people's signed slash commands over kept-alive connections, and a Slack
//! that takes every call and keeps nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::routing::post;
use boardhand::chat::slack::signature;
use boardhand::clock::Clock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What requests are signed with.
pub(crate) const SECRET: &str = "bench-signing-secret";
/// The token of programs.
pub(crate) const TOKEN: &str = "a-token-for-benchmarks";

/// A slash command as Slack posts it, signed now: the bytes of the whole request.
pub(crate) fn slash_command(clock: &Clock, path: &str, command: &str, text: &str, trigger: &str) -> Vec<u8> {
    let body: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", "xyzz0WbapA4vBCDEFasx0q6G")
        .append_pair("team_id", "T1DC2JH3J")
        .append_pair("team_domain", "testteamnow")
        .append_pair("channel_id", "C0SOCCI")
        .append_pair("channel_name", "soc-ci")
        .append_pair("user_id", "U2CERLKJA")
        .append_pair("user_name", "roadrunner")
        .append_pair("command", command)
        .append_pair("text", text)
        .append_pair("api_app_id", "A123456")
        .append_pair("is_enterprise_install", "false")
        .append_pair(
            "response_url",
            "https://hooks.slack.com/commands/T1DC2JH3J/397700885554/96rGlfmibIGlgcZRskXaIFfN",
        )
        .append_pair("trigger_id", trigger)
        .finish();
    let at = clock.now().as_secs();
    let signed = signature::sign(SECRET, at, body.as_bytes());
    format!(
        "POST {path} HTTP/1.1\r\nHost: boardhand\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         X-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signed}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A program's question, as the bytes of a whole request.
pub(crate) fn question(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: boardhand\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").into_bytes()
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Connection {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Connection { stream, buffer: Vec::new() }
    }

    /// Sends one request and reads its whole answer; gives the status.
    pub(crate) async fn call(&mut self, request: &[u8]) -> u16 {
        self.ask(request).await;
        self.answered().await
    }

    /// Sends one request.
    pub(crate) async fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect("the server reads");
    }

    /// Reads the whole answer; gives the status.
    pub(crate) async fn answered(&mut self) -> u16 {
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the server answers");
            assert!(read > 0, "the server hung up");
            if let Some(status) = answer(&self.buffer) {
                return status;
            }
        }
    }
}

/// The status, once the whole answer is there.
fn answer(bytes: &[u8]) -> Option<u16> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is text");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().expect("a length"))
    });
    let whole = bytes.len() >= head + 4 + length.expect("answers have a length");
    whole.then(|| text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status"))
}

/// Starts a Slack that accepts everything; gives the address of its API.
pub(crate) async fn slack_sink() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/api/", listener.local_addr().expect("address"));
    let posts = Arc::new(AtomicU64::new(0));
    let take = move |_: Json<Value>| {
        let ts = format!("1700000000.{:06}", posts.fetch_add(1, Ordering::Relaxed));
        async move { Json(json!({ "ok": true, "ts": ts, "channel": "C0SOCCI", "messages": [] })) }
    };
    let app = axum::Router::new().route("/api/{method}", post(take));
    tokio::spawn(axum::serve(listener, app).into_future());
    url
}
