//! Workers: who drives the boards of remote sites.

use serde_json::{Value, json};

use super::{Handler, Reaction};
use crate::message::Note;
use crate::worker::crew::{Served, Shown};

/// Most workers that one answer lists; the rest is counted.
const ROWS_MAX: usize = 40;

impl Handler {
    /// Every worker, and the sites that none serves.
    pub(super) fn workers(&self) -> Reaction {
        let (lab, shown) = (self.inventory.now(), self.crew.shown());
        let remote = lab.sites.iter().filter(|(_, settings)| settings.remote).map(|(site, _)| site);
        let unserved: Vec<_> = remote.filter(|site| self.crew.served(site) == Served::No).collect();
        let rows: Vec<Value> = shown.iter().take(ROWS_MAX).map(facts).collect();
        let more = shown.len().saturating_sub(ROWS_MAX);
        Reaction::says(Note::new("workers", json!({ "workers": rows, "more": more, "unserved": unserved })))
    }
}

fn facts(shown: &Shown) -> Value {
    let worker = &shown.row.worker;
    json!({
        "id": worker.id,
        "site": worker.site,
        "state": shown.standing.as_str(),
        "on_duty": shown.on_duty,
        "boards": shown.boards,
        "capacity": worker.capacity,
        "version": worker.version,
        "seen_at": shown.row.seen_at,
    })
}
