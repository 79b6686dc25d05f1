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

    /// Asks something.
    pub async fn ask<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> Result<T, Failed> {
        let answer = self.http.post_json(&self.url(what), Some(&self.token), &json!(body), WITHIN).await;
        read(answer)
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
