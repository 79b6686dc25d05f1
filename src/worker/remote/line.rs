//! The line from a worker to its server: HTTPS with a bearer token, one request a question. Nothing is decided here but
//! whether asking again may help.

use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::net::{Http, HttpReply, NetError};
use crate::worker::wire::{Piece, PieceTaken, SWITCH_WITHIN, WAIT_MAX};

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How much longer than the wait that was asked for.
const WAIT_MARGIN: Duration = Duration::from_secs(10);
/// Most of what a refusal says that is repeated, in characters.
const SAID_MAX: usize = 500;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// Not now: the server is away, busy, or does not take the token.
    #[error("{0}")]
    Away(String),
    /// This life of the worker is not known, or over.
    #[error("the server does not know this worker any more")]
    Gone,
    /// However often it is asked.
    #[error("{0}")]
    Refused(String),
}

/// Where the server is, and who asks.
pub struct Line {
    http: Http,
    address: String,
    token: SecretString,
    worker: String,
}

impl Line {
    /// To the server at this address, for the worker of this name.
    pub fn new(address: &str, token: SecretString, worker: &str) -> Self {
        let address = address.trim_end_matches('/').to_owned();
        Line { http: Http::new(&[&address]), address, token, worker: worker.to_owned() }
    }

    /// Asks something. The lab of a large site is a long answer.
    pub async fn ask<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> Result<T, Failed> {
        read(self.http.wait_json(&self.url(what), &self.token, &json!(body), WITHIN).await)
    }

    /// Asks for something to happen, and waits for it.
    pub async fn wait<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> Result<T, Failed> {
        let url = format!("{}?wait={}s", self.url(what), WAIT_MAX.as_secs());
        let answer = self.http.wait_json(&url, &self.token, &json!(body), WAIT_MAX + WAIT_MARGIN).await;
        read(answer)
    }

    /// Asks for something that takes a while.
    pub async fn ask_long<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &impl Serialize,
    ) -> Result<T, Failed> {
        let within = SWITCH_WITHIN + WAIT_MARGIN;
        read(self.http.wait_json(&self.url(what), &self.token, &json!(body), within).await)
    }

    /// Carries a piece of a file.
    pub async fn piece(&self, piece: &Piece, data: Vec<u8>) -> Result<PieceTaken, Failed> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("instance", &piece.instance.to_string())
            .append_pair("lease", &piece.lease.to_string())
            .append_pair("fence", &piece.fence.to_string())
            .append_pair("board", piece.board.as_str())
            .append_pair("name", &piece.name)
            .append_pair("begun", &piece.begun.to_string())
            .append_pair("from", &piece.from.to_string())
            .finish();
        let url = format!("{}?{query}", self.url("files"));
        read(self.http.upload(&url, Some(&self.token), "application/octet-stream", data, WITHIN).await)
    }

    fn url(&self, what: &str) -> String {
        format!("{}/api/v1/workers/{}/{what}", self.address, self.worker)
    }
}

/// The title of the problem with which a server knows nothing of a worker's life.
const NO_SUCH_WORKER: &str = "there is no such worker";

fn read<T: DeserializeOwned>(answer: Result<HttpReply, NetError>) -> Result<T, Failed> {
    let reply = answer.map_err(|error| Failed::Away(error.to_string()))?;
    match reply.status {
        200..=299 => serde_json::from_slice(&reply.body)
            .map_err(|error| Failed::Away(format!("the server's answer is not understood: {error}"))),
        // What a proxy says while the server starts is no word of the server's.
        404 if reply.json().is_some_and(|said| said["title"] == NO_SUCH_WORKER) => Err(Failed::Gone),
        404 => Err(Failed::Away(said(&reply, 404))),
        // A token may be put right while the worker runs.
        status @ (401 | 403 | 408 | 425 | 429 | 500..) => Err(Failed::Away(said(&reply, status))),
        status => Err(Failed::Refused(said(&reply, status))),
    }
}

fn said(reply: &HttpReply, status: u16) -> String {
    let problem = reply.json().unwrap_or_default();
    let text =
        |key: &str| problem[key].as_str().unwrap_or_default().chars().take(SAID_MAX).collect::<String>();
    match (text("title"), text("detail")) {
        (title, detail) if !title.is_empty() => format!("{title}: {detail}"),
        _ => format!("the server answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn answered(status: &str, body: String) -> Result<serde_json::Value, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let serves = tokio::spawn(async move {
            let (mut near, _) = listener.accept().await.expect("a client");
            let mut said = vec![0; 4096];
            let _ = near.read(&mut said).await;
            let _ = near.write_all((head + &body).as_bytes()).await;
            let _ = near.shutdown().await;
        });
        let line = Line::new(&address, SecretString::from("token"), "rack-a");
        let answer = line.ask("lab", &json!({})).await;
        serves.abort();
        answer
    }

    #[tokio::test]
    async fn the_lab_of_a_large_site_is_heard() {
        let text = "x".repeat(10 << 20);
        let sent = answered("200 OK", json!({ "text": text }).to_string()).await.expect("it is heard");
        assert_eq!(sent["text"].as_str().map(str::len), Some(10 << 20));
    }

    #[tokio::test]
    async fn only_the_server_says_that_a_worker_is_not_known() {
        let body = |title: &str| json!({ "title": title, "status": 404 }).to_string();
        assert_eq!(answered("404 Not Found", body(NO_SUCH_WORKER)).await, Err(Failed::Gone));
        for foreign in ["404 page not found".to_owned(), body("Not Found")] {
            assert!(matches!(answered("404 Not Found", foreign).await, Err(Failed::Away(_))));
        }
    }
}
