//! The reloader: reads the lab file again while the server runs. The file is taken whole or not at all: one with a
//! mistake changes nothing, and whoever asked hears why. Runs that are on boards keep the lab that they began with; what
//! waits for a board that nothing in the new file can be is ended and told.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::bench::Bench;
use super::runner::Lab;
use super::steps::{Agent, LOOK_ANYWAY, Step};
use super::stranded;
use crate::board::difference::{Also, Difference, difference};
use crate::board::{BoardId, Inventory};
use crate::clock::Monotonic;
use crate::doorbell::Bell;
use crate::id::MessageId;
use crate::message::Note;
use crate::store::StoreError;

/// Most names that an answer gives per kind of change.
pub const NAMED_MAX: usize = 10;
/// Longest list of mistakes that is told, in bytes; what is cut is said.
pub const MISTAKES_BYTES_MAX: usize = 2_000;
/// How long after a reload runs are looked at once more that nothing can serve: one that was being accepted under the
/// lab before is committed by then.
const STRANDED_AGAIN: Duration = Duration::from_secs(5);
/// How often after that: a run that was on a board may come back to the queue for another attempt.
const STRANDED_EVERY: Duration = Duration::from_secs(60);

/// Where the lab file is.
#[async_trait]
pub trait LabSource: Send + Sync {
    /// Reads it and checks it whole; every mistake at once, with line and column, where there is one.
    async fn read(&self) -> Result<Inventory, String>;
}

/// What reading the lab file again came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The file's mistakes: nothing was changed.
    pub refused: Option<String>,
    /// Boards that the file has now.
    pub boards: usize,
    /// What is different; boards that left end their runs first, and what changed counts from the next lease on.
    pub different: Difference,
    /// Whether the file is, byte for byte, the one that was in force.
    pub same: bool,
    /// Runs that were ended, since nothing can serve them any more.
    pub ended: Vec<i64>,
}

impl Reloaded {
    /// What an answer says of it.
    pub fn note(&self) -> Note {
        match &self.refused {
            Some(mistakes) => Note::new("reload-refused", json!({ "mistakes": mistakes })),
            None => Note::new("reload-done", self.facts()),
        }
    }

    fn facts(&self) -> Value {
        let named = |boards: &[String]| {
            json!({ "boards": boards.iter().take(NAMED_MAX).collect::<Vec<_>>(),
                    "more": boards.len().saturating_sub(NAMED_MAX) })
        };
        let part = |also: &Also| {
            json!({ "part": also.part.as_str(), "names": also.names.iter().take(NAMED_MAX).collect::<Vec<_>>(),
                    "more": also.names.len().saturating_sub(NAMED_MAX) })
        };
        let Difference { added, removed, changed, also } = &self.different;
        json!({
            "boards": self.boards,
            "same": self.same,
            "nothing": self.different.is_nothing(),
            "added": named(added),
            "removed": named(removed),
            "changed": named(changed),
            "also": also.iter().map(part).collect::<Vec<_>>(),
            "ended": self.ended,
        })
    }
}

/// Reads the lab file again, one reload at a time. Cheap to clone.
#[derive(Clone)]
pub struct Reloader {
    lab: Arc<Lab>,
    source: Arc<dyn LabSource>,
    /// When stranded runs are looked for again; never before the first reload, since the start has looked.
    turn: Arc<Mutex<Option<Monotonic>>>,
}

impl Reloader {
    /// A reloader of this lab from that file.
    pub fn new(lab: Arc<Lab>, source: Arc<dyn LabSource>) -> Self {
        Reloader { lab, source, turn: Arc::default() }
    }

    /// Reads the file and puts it in force.
    pub async fn reload(&self) -> Result<Reloaded, StoreError> {
        let mut turn = self.turn.lock().await;
        let now = self.lab.clock.now();
        let inventory = match self.source.read().await {
            Ok(inventory) => inventory,
            Err(mistakes) => {
                let mistakes = cut(&mistakes);
                tracing::error!(mistakes, "boards.yaml was not taken; the lab is as it was");
                self.lab.inventory.refuse(now, &mistakes);
                return Ok(Reloaded { refused: Some(mistakes), ..Reloaded::default() });
            }
        };
        let before = self.lab.inventory.now();
        let mut reloaded = Reloaded {
            refused: None,
            boards: inventory.boards.len(),
            different: difference(&before, &inventory),
            same: before.hash == inventory.hash,
            ended: vec![],
        };
        let boards: Vec<BoardId> = inventory.boards.keys().cloned().collect();
        self.lab.store.board_register(&boards, now).await?;
        if let Err(error) = self.lab.redactor.learn(&inventory.secrets()) {
            tracing::error!(%error, "new passwords cannot be taken out of what boards print");
        }
        let hash = inventory.hash.clone();
        // The database first: what it does not take changes nothing, and this process gives no board away by a lab file
        // that the database does not name.
        self.lab.persist(|| self.lab.store.lab_put(&hash)).await?;
        self.lab.inventory.replace(inventory);
        self.lab.doorbell.ring(Bell::Scheduler);
        reloaded.ended = self.end_stranded().await?;
        *turn = Some(self.lab.clock.monotonic() + STRANDED_AGAIN);
        let Reloaded { different: Difference { added, removed, changed, also }, ended, .. } = &reloaded;
        let also: Vec<String> = also.iter().map(|also| also.line(NAMED_MAX)).collect();
        tracing::info!(?added, ?removed, ?changed, ?also, ?ended, hash, "boards.yaml is in force");
        Ok(reloaded)
    }

    async fn end_stranded(&self) -> Result<Vec<i64>, StoreError> {
        let Lab { store, composer, .. } = &*self.lab;
        let Bench { inventory, clock, doorbell, .. } = &*self.lab.bench;
        let ended = stranded::end(store, &inventory.now(), composer, clock).await?;
        if !ended.is_empty() {
            doorbell.ring(Bell::Scheduler);
            doorbell.ring(Bell::Relay);
        }
        Ok(ended)
    }

    /// Looks once more, when it is time.
    async fn look_again(&self) -> Result<(), StoreError> {
        let mut turn = self.turn.lock().await;
        if turn.is_some_and(|at| at <= self.lab.clock.monotonic()) {
            self.end_stranded().await?;
            *turn = Some(self.lab.clock.monotonic() + STRANDED_EVERY);
        }
        Ok(())
    }
}

#[async_trait]
impl Agent for Reloader {
    fn name(&self) -> &'static str {
        "reloader"
    }

    fn bell(&self) -> Option<Bell> {
        Some(Bell::Reloader)
    }

    async fn step(&mut self) -> Result<Step, StoreError> {
        let asked = self.lab.store.reload_due().await?;
        if !asked.is_empty() {
            let note = self.reload().await?.note();
            let ids: Vec<MessageId> = asked.iter().map(|asked| asked.id).collect();
            self.lab.store.reload_done(&ids, &note, self.lab.clock.now()).await?;
            self.lab.doorbell.ring(Bell::Relay);
        }
        self.look_again().await?;
        let anyway = self.lab.clock.monotonic() + LOOK_ANYWAY;
        let turn = *self.turn.lock().await;
        Ok(Step::Idle { until: turn.map_or(anyway, |turn| turn.min(anyway)) })
    }
}

/// The first mistakes; a note of what is not shown.
fn cut(mistakes: &str) -> String {
    if mistakes.len() <= MISTAKES_BYTES_MAX {
        return mistakes.trim_end().to_owned();
    }
    let shown = &mistakes[..mistakes.floor_char_boundary(MISTAKES_BYTES_MAX)];
    let shown = shown.rsplit_once('\n').map_or(shown, |(lines, _)| lines);
    let more = mistakes[shown.len()..].trim().lines().count();
    format!("{shown}\n… {more} more lines; `boardhand check` shows all")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_mistakes_is_cut_between_lines_and_says_so() {
        let line = "boards.yaml:1:1: error: it is wrong\n";
        let fits = line.repeat(MISTAKES_BYTES_MAX / line.len());
        assert_eq!(cut(&fits), fits.trim_end());
        let long = cut(&line.repeat(200));
        assert!(long.len() <= MISTAKES_BYTES_MAX + 60 && long.ends_with("shows all"), "{long}");
        assert!(cut(&"x".repeat(MISTAKES_BYTES_MAX + 1)).contains("… 1 more lines"));
    }
}
