//! Health: whether the process is alive, and whether it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Door;
use crate::board::groups::Unknown;
use crate::board::live::Standing;
use crate::chat::socket_line::SocketLine;
use crate::message::line::Trouble;
use crate::store::Census;

/// How long the database may take to answer before the server is not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// The process is alive.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The database answers and its migrations are done. A chat platform in trouble is shown and changes nothing: what it
/// sends us is still taken, and what it is owed is kept.
pub(super) async fn ready(State(door): State<Arc<Door>>) -> Response {
    match door.state().await {
        Ok(state) => Json(state).into_response(),
        Err(reason) => not_ready(&reason),
    }
}

impl Door {
    /// How the server is, or why it cannot do its work.
    pub(crate) async fn state(&self) -> Result<Value, String> {
        let standing = self.handler.inventory.standing();
        if standing.differs {
            let said = "another boards.yaml is in force than this process has read; `boardhand reload` reads it again";
            return Err(said.to_owned());
        }
        let asked = self.clock.timeout(READY_WITHIN, async {
            self.store.ready().await?;
            self.store.census().await
        });
        match asked.await {
            Ok(Ok(census)) => {
                let mut problems = problems(&census, &standing, self.artifacts.trouble());
                problems.extend(unknown_groups(self));
                let (trouble, sockets) = (troubles(self), sockets(&self.sockets));
                Ok(json!({
                    "ready": true, "census": census, "problems": problems, "trouble": trouble, "sockets": sockets,
                }))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the database does not answer in time".to_owned()),
        }
    }
}

/// What somebody should look at although the server goes on.
fn problems(census: &Census, standing: &Standing, artifacts: Option<String>) -> Vec<String> {
    let rows = match census.unreadable {
        0 => None,
        1 => Some("1 row cannot be read and is left out; the log names it".to_owned()),
        n => Some(format!("{n} rows cannot be read and are left out; the log names each")),
    };
    let refused = standing
        .refused
        .as_ref()
        .map(|(at, mistakes)| format!("boards.yaml was read at {} and not taken: {mistakes}", at.rfc3339()));
    rows.into_iter().chain(refused).chain(artifacts).collect()
}

/// Groups of the lab in which nobody is, because it is not known who is.
fn unknown_groups(door: &Door) -> impl Iterator<Item = String> {
    let named = door.handler.inventory.now().groups();
    let unknown = door.handler.groups.unknown(&named, door.clock.now());
    unknown.into_iter().map(|Unknown { group, trouble }| {
        format!("it is not known who is in {group} ({trouble}): nobody counts as one of them; the log says what to do")
    })
}

/// Chat platforms that take nothing now, or are not heard, each with what to do.
fn troubles(door: &Door) -> Value {
    let deaf = door.sockets.iter().filter_map(|line| Some((socket_name(line), line.trouble()?)));
    let mute = door.lines.troubles().into_iter().map(|(platform, t)| (platform.as_str().to_owned(), t));
    let troubles = mute.chain(deaf).map(|(name, Trouble { since, error, remedy })| {
        (name, json!({ "since": since.rfc3339(), "error": error, "remedy": remedy }))
    });
    Value::Object(troubles.collect())
}

/// The lines that this server dials.
fn sockets(lines: &[SocketLine]) -> Value {
    let shown = lines.iter().map(|line| {
        let up = line.up();
        let (since, connections) = (up.map(|up| up.since.rfc3339()), up.map(|up| up.connections));
        let state = json!({ "up": up.is_some(), "since": since, "connections": connections });
        (line.platform().as_str().to_owned(), state)
    });
    Value::Object(shown.collect())
}

/// What stands in front of a trouble with hearing a platform, which may have one with telling it too.
fn socket_name(line: &SocketLine) -> String {
    format!("{} (socket)", line.platform().as_str())
}

fn not_ready(reason: &str) -> Response {
    tracing::warn!(reason, "not ready");
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": reason }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_tells_how_many_rows_cannot_be_read() {
        let told = |unreadable| {
            problems(&Census { unreadable, ..Census::default() }, &Standing::default(), None).join("; ")
        };
        assert_eq!(told(0), "");
        assert_eq!(told(1), "1 row cannot be read and is left out; the log names it");
        assert_eq!(told(7), "7 rows cannot be read and are left out; the log names each");
    }
}
