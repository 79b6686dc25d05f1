//! Drains: a board or a site takes nothing new, so that somebody can work on it. What is on it goes on, and whoever has a
//! board of it as their own is told. Maintenance windows of boards.yaml do the same at their times, and are shown with
//! them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::act::audit;
use super::{Handler, Reaction};
use crate::board::{Board, BoardId, Family, Inventory, Site};
use crate::chat::{AnswerVia, Delivery};
use crate::clock::Timestamp;
use crate::command::{grammar, parse};
use crate::lease::{Holder, Lease};
use crate::message::{Note, Phrase};
use crate::store::{Closed, Closing, Drain, Drained, Effect, NewDrain, OF_WORKER, Result, StoreError};

/// Most drains, and most boards of one, that an answer lists; the rest is counted.
const ROWS_MAX: usize = 20;
/// Shortest and longest time for which somebody drains something: what is away for longer has no end, or leaves the file.
const DRAIN_SECS: std::ops::RangeInclusive<u64> = 60..=90 * 24 * 3600;
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 200;

/// What somebody would drain, once the names are told from the rest.
struct Meant {
    of: Drained,
    lasts: Option<Duration>,
    reason: String,
}

impl Handler {
    /// Lets a board or a site take nothing new; without one, shows what does.
    pub(super) async fn drain(
        &self,
        delivery: &Delivery,
        target: Option<&str>,
        lasts: Option<Duration>,
        reason: &str,
    ) -> Result<Reaction> {
        let Some(target) = target else { return self.drains().await };
        let lab = self.inventory.now();
        let meant = match target.starts_with(OF_WORKER) {
            true => self.worker_meant(&lab, target, lasts, reason),
            false => meant(&lab, target, lasts, reason),
        };
        let Meant { of, lasts, reason } = match meant {
            Ok(meant) => meant,
            Err(refusal) => return Ok(*refusal),
        };
        if lasts.is_some_and(|lasts| !DRAIN_SECS.contains(&lasts.as_secs())) {
            let refused = Phrase::new("drain-time", json!({ "most_s": DRAIN_SECS.end() }));
            return Ok(Reaction::refused(refused, &[], format!("/lab drain {}", of.name())));
        }
        let now = delivery.received_at;
        let ends_at = lasts.map(|lasts| now + lasts);
        let leases = self.store.lease_list().await?;
        let of_worker = |lease: &&Lease| of.worker().is_some_and(|worker| self.crew.has(worker, lease));
        let driven = leases.iter().filter(of_worker).map(|lease| lease.board.clone());
        let boards: Vec<BoardId> = of.boards(&lab).map(|board| board.id.clone()).chain(driven).collect();
        let on_it: Vec<&Lease> = leases.iter().filter(|lease| boards.contains(&lease.board)).collect();
        let mut facts = named(&of);
        facts["reason"] = json!(reason);
        facts["until"] = json!(ends_at);
        facts["by"] = json!(delivery.actor);
        facts["at"] = json!(now);
        let tell = on_it.iter().filter_map(|lease| {
            let (Holder::Person(person), true) = (&lease.holder, lease.hold.is_some()) else { return None };
            let mut told = facts.clone();
            told["board"] = json!(lease.board);
            told["held_until"] = json!(lease.expires_at);
            let is_them = person.key() == delivery.actor.key();
            (!is_them).then(|| (AnswerVia::in_person(person), Note::new("drain-held", told)))
        });
        let tell = tell.collect();
        facts["boards"] = json!(boards.len());
        facts["on_it"] = busy(&on_it);
        facts["more"] = json!(on_it.len().saturating_sub(ROWS_MAX));
        let target = format!("{} {reason}", of.name());
        let new = NewDrain { of, reason, ends_at, boards, tell };
        Ok(Reaction {
            answer: Note::new("draining", facts),
            instead: vec![],
            audit: audit("drain", target.trim_end().to_owned()),
            effect: Effect::Drain(Box::new(new)),
        })
    }

    /// Lets it take new work again.
    pub(super) async fn undrain(&self, target: &str) -> Result<Reaction> {
        let lab = self.inventory.now();
        let drains = self.store.drain_list().await?;
        // What drains may have left the lab file.
        let left = drains.iter().find(|drain| drain.of.name().eq_ignore_ascii_case(target));
        let of = match (left, exactly(&lab, target).or_else(|| self.worker_named(target))) {
            (Some(drain), _) => drain.of.clone(),
            (None, Some(of)) => of,
            (None, None) if target.starts_with(OF_WORKER) => return Ok(self.unknown_worker(&lab, target)),
            (None, None) => return Ok(unknown(&lab, target)),
        };
        let boards: Vec<&Board> = of.boards(&lab).collect();
        let mut facts = named(&of);
        // Whatever keeps it from taking new work still.
        let others: Vec<Drain> = drains.into_iter().filter(|drain| drain.of != of).collect();
        let still = boards.first().filter(|_| matches!(of, Drained::Board(_)));
        let still = still.and_then(|board| Closing::at(&lab, &others, self.clock.now()).of(board));
        facts["still"] = json!(still.as_ref().map(closed_facts));
        Ok(Reaction {
            answer: Note::new("undrained", &facts),
            instead: vec![("unchanged", Note::new("not-draining", &facts))],
            audit: audit("undrain", of.name().to_owned()),
            effect: Effect::Undrain { boards: boards.iter().map(|board| board.id.clone()).collect(), of },
        })
    }

    /// What takes nothing new, and what is still on it.
    async fn drains(&self) -> Result<Reaction> {
        let (lab, now) = (self.inventory.now(), self.clock.now());
        let drains = self.store.drain_list().await?;
        let leases = self.store.lease_list().await?;
        let shown = drains.iter().take(ROWS_MAX).map(|drain| {
            let of_worker =
                |lease: &Lease| drain.of.worker().is_some_and(|worker| self.crew.has(worker, lease));
            let about = |lease: &&Lease| {
                lab.boards.get(&lease.board).is_some_and(|b| drain.of.is_about(b)) || of_worker(lease)
            };
            let on_it: Vec<&Lease> = leases.iter().filter(about).collect();
            let mut facts = named(&drain.of);
            facts["reason"] = json!(drain.reason);
            facts["by"] = json!(drain.by);
            facts["at"] = json!(drain.at);
            facts["until"] = json!(drain.ends_at);
            facts["on_it"] = busy(&on_it);
            facts["more"] = json!(on_it.len().saturating_sub(ROWS_MAX));
            facts
        });
        let shown: Vec<Value> = shown.collect();
        let windows = lab.maintenance.iter().take(ROWS_MAX).map(|(name, window)| {
            json!({
                "name": name, "reason": window.reason, "until": window.until(now), "next": window.times.next(now),
                "lasts_s": window.lasts.as_secs_f64(), "boards": window.boards, "sites": window.sites,
            })
        });
        let windows: Vec<Value> = windows.collect();
        let more = (drains.len() + lab.maintenance.len()).saturating_sub(shown.len() + windows.len());
        let facts = json!({ "drains": shown, "windows": windows, "more": more });
        Ok(Reaction::says(Note::new("drains", facts)))
    }

    /// The worker of this name, with [`OF_WORKER`] before it.
    fn worker_named(&self, typed: &str) -> Option<Drained> {
        let id = typed.strip_prefix(OF_WORKER)?;
        let shown = self.crew.shown();
        let worker = shown.iter().find(|shown| shown.row.worker.id.eq_ignore_ascii_case(id))?;
        Some(Drained::Worker(format!("{OF_WORKER}{}", worker.row.worker.id)))
    }

    /// What is meant by words of which the first names a worker.
    fn worker_meant(
        &self,
        lab: &Inventory,
        typed: &str,
        lasts: Option<Duration>,
        reason: &str,
    ) -> std::result::Result<Meant, Box<Reaction>> {
        let words: Vec<&str> = typed.split_whitespace().collect();
        let first = words.first().copied().unwrap_or_default();
        match self.worker_named(first) {
            Some(of) => Ok(then(of, &words[1..], lasts, reason)),
            None => Err(Box::new(self.unknown_worker(lab, first))),
        }
    }

    fn unknown_worker(&self, lab: &Inventory, typed: &str) -> Reaction {
        let shown = self.crew.shown();
        let names: Vec<String> =
            shown.iter().map(|shown| format!("{OF_WORKER}{}", shown.row.worker.id)).collect();
        match grammar::near(typed, names.iter().map(String::as_str)) {
            Some(near) => {
                let reason = Phrase::new("no-worker", json!({ "name": typed }));
                Reaction::refused(reason, &[near.to_owned()], format!("/lab drain {near}"))
            }
            None => match names.is_empty() {
                true => unknown(lab, typed),
                false => {
                    let reason = Phrase::new("no-worker", json!({ "name": typed }));
                    Reaction::refused(reason, &[], "/lab workers".to_owned())
                }
            },
        }
    }

    /// Why a board takes nothing new now, where it does not.
    pub(super) async fn closed(&self, board: &Board) -> std::result::Result<Option<Closed>, StoreError> {
        let drains = self.store.drain_list().await?;
        Ok(Closing::at(&self.inventory.now(), &drains, self.clock.now()).of(board))
    }
}

/// Why a board takes nothing new, for people.
pub(crate) fn closed_facts(closed: &Closed) -> Value {
    let (kind, name) = &closed.of;
    json!({ "kind": kind, "name": name, "reason": closed.reason, "until": closed.until, "by": closed.by })
}

/// Told when nothing is on what drains any more, and when its time is over.
pub(crate) fn drain_note(template: &str, drain: &Drain, now: Timestamp) -> (AnswerVia, Note) {
    let mut facts = named(&drain.of);
    facts["reason"] = json!(drain.reason);
    facts["until"] = json!(drain.ends_at);
    facts["took_s"] = json!(now.since(drain.at).as_secs_f64());
    (AnswerVia::in_person(&drain.by), Note::new(template, facts))
}

fn named(of: &Drained) -> Value {
    json!({ "kind": of.kind(), "name": of.name() })
}

/// Who has boards that drain.
fn busy(leases: &[&Lease]) -> Value {
    let row = |lease: &&Lease| {
        let until = lease.hold.as_ref().map(|_| lease.expires_at);
        json!({ "id": lease.board, "holder": lease.holder, "until": until })
    };
    leases.iter().take(ROWS_MAX).map(row).collect()
}

/// The board or site of that name and nothing else.
fn exactly(lab: &Inventory, name: &str) -> Option<Drained> {
    let board = lab.boards.keys().find(|board| board.as_str().eq_ignore_ascii_case(name));
    let site = || lab.sites.keys().find(|site| site.as_str().to_lowercase() == name.to_lowercase());
    board.cloned().map(Drained::Board).or_else(|| site().cloned().map(Drained::Site))
}

/// The families of all that these words would drain, where they name something.
pub(super) fn families_of(lab: &Inventory, typed: &str) -> Vec<String> {
    let Ok(Meant { of, .. }) = meant(lab, typed, None, "") else { return vec![] };
    let families: BTreeSet<&Family> = of.boards(lab).map(|board| &board.family).collect();
    families.into_iter().map(ToString::to_string).collect()
}

/// What is meant by words of which the first name a board or a site: the longest name that there is, then perhaps a time,
/// then why.
fn meant(
    lab: &Inventory,
    typed: &str,
    lasts: Option<Duration>,
    reason: &str,
) -> std::result::Result<Meant, Box<Reaction>> {
    let words: Vec<&str> = typed.split_whitespace().collect();
    let longest = (1..=words.len()).rev().find_map(|n| Some((exactly(lab, &words[..n].join(" "))?, n)));
    let Some((of, n)) = longest else {
        return Err(Box::new(unknown(lab, typed)));
    };
    Ok(then(of, &words[n..], lasts, reason))
}

/// After a name perhaps a time, then why.
fn then(of: Drained, words: &[&str], lasts: Option<Duration>, reason: &str) -> Meant {
    let (mut rest, mut lasts) = (words, lasts);
    if let (None, Some((first, behind))) = (lasts, rest.split_first())
        && let Some(time) = parse::duration(first)
    {
        (lasts, rest) = (Some(time), behind);
    }
    let said = rest.iter().copied().chain(reason.split_whitespace()).collect::<Vec<_>>().join(" ");
    Meant { of, lasts, reason: said.chars().take(REASON_CHARS_MAX).collect() }
}

fn unknown(lab: &Inventory, typed: &str) -> Reaction {
    let names = || lab.boards.keys().map(BoardId::as_str).chain(lab.sites.keys().map(Site::as_str));
    let first = typed.split_whitespace().next().unwrap_or_default();
    let near = grammar::near(typed, names()).or_else(|| grammar::near(first, names()));
    let next = near.map_or_else(|| "/lab boards".to_owned(), |near| format!("/lab drain {near}"));
    let reason = Phrase::new("no-board-or-site", json!({ "name": typed }));
    Reaction::refused(reason, &near.map(str::to_owned).into_iter().collect::<Vec<_>>(), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::lab_file;

    #[test]
    fn whatever_families_are_on_a_site_are_drained_with_it() {
        let board = |id: &str, family: &str| {
            format!(
                "  - {{board_id: {id}, soc_family: {family}, board_ip: 10.0.0.1, lab_location: Lab, telnet_port: 2{id}}}\n"
            )
        };
        let text = "boards:\n".to_owned() + &board("1", "socB") + &board("2", "socA") + &board("3", "socB");
        let lab = lab_file::parse("boards.yaml", &text, &|_| None).inventory.expect("a lab");
        let check = |typed: &str, expect: &[&str]| assert_eq!(families_of(&lab, typed), expect, "{typed}");
        check("lab 2h a new fan", &["socA", "socB"]);
        check("2", &["socA"]);
        check("nothing", &[]);
    }

    #[test]
    fn the_longest_name_is_meant_then_a_time_then_why() {
        let text = "boards: [{board_id: lab, soc_family: s, board_ip: 10.0.0.1, lab_location: Lab Site A},
    {board_id: b, soc_family: s, board_ip: 10.0.0.2, lab_location: Lab}]\n";
        let lab = lab_file::parse("boards.yaml", text, &|_| None).inventory.expect("a lab");
        let check = |typed: &str, expect: &str| {
            let said = match meant(&lab, typed, None, "") {
                Ok(Meant { of, lasts, reason }) => {
                    let lasts = lasts.map_or("-".into(), |lasts| lasts.as_secs().to_string());
                    format!("{} {}|{lasts}|{reason}", of.kind(), of.name())
                }
                Err(_) => "nothing".into(),
            };
            assert_eq!(said, expect, "{typed}");
        };
        check("b", "board b|-|");
        check("B 2h a new fan", "board b|7200|a new fan");
        check("b needs 2h of rest", "board b|-|needs 2h of rest");
        check("lab site a 90m moving the rack", "site Lab Site A|5400|moving the rack");
        check("Lab Site", "board lab|-|Site");
        check("c 2h", "nothing");
        let long = meant(&lab, &format!("b {}", "x".repeat(REASON_CHARS_MAX + 1)), None, "");
        assert_eq!(long.ok().expect("a board").reason.len(), REASON_CHARS_MAX);
    }
}
