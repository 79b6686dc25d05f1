//! Commands of whoever runs the lab: messages that were not sent, and who was allowed what. Neither tells a secret.

use serde_json::{Value, json};

use super::asks::person_of;
use super::{Handler, Reaction};
use crate::chat::{Actor, Delivery, Platform};
use crate::clock::shown_seconds;
use crate::command::AuditAsked;
use crate::message::{Note, Phrase};
use crate::store::{Audit, AuditFilter, Decision, Effect, Letter, Result};

/// Most dead letters that one answer lists; the rest is counted.
const LETTERS_MAX: u32 = 20;
/// Most decisions that one answer lists; the next goes on behind them.
const DECISIONS_MAX: u32 = 20;
/// How much of an error, a target or a reason an answer repeats, in characters.
const SHOWN_CHARS_MAX: usize = 200;

impl Handler {
    /// What could not be sent.
    pub(super) async fn dead_letters(&self) -> Result<Reaction> {
        let (letters, total) = self.store.letter_list(LETTERS_MAX).await?;
        let more = total.saturating_sub(letters.len() as u64);
        let facts: Vec<Value> = letters.iter().map(|letter| self.letter_facts(letter)).collect();
        Ok(Reaction::says(Note::new(
            "dead-letters",
            json!({ "letters": facts, "total": total, "more": more }),
        )))
    }

    fn letter_facts(&self, letter: &Letter) -> Value {
        let place = &letter.place;
        json!({
            "number": letter.number,
            "kind": letter.kind,
            "run": letter.run,
            "channel": format!("{}:{}", place.platform.as_str(), place.channel),
            "user": letter.user,
            "error": self.shown(&letter.error),
            "owed_at": letter.owed_at,
            "waited_s": self.clock.now().since(letter.owed_at).as_secs_f64(),
        })
    }

    /// Sends one again, or all; the store says whether there is one.
    pub(super) fn resend(&self, letter: Option<i64>) -> Reaction {
        let facts = json!({ "letter": letter });
        let gone = match letter {
            Some(number) => {
                let reason = Phrase::new("no-letter", json!({ "number": number }));
                Reaction::refused(reason, &[], "/lab deadletters").answer
            }
            None => Note::new("dead-letters", json!({ "letters": [], "total": 0, "more": 0 })),
        };
        Reaction {
            effect: Effect::Resend { letter },
            answer: Note::new("resent", facts),
            instead: vec![("no-such-letter", gone)],
            audit: Audit {
                verb: "resend".into(),
                target: letter.map_or("all".into(), |number| number.to_string()),
                ..Audit::default()
            },
        }
    }

    /// Who was allowed or refused what.
    pub(super) async fn audit_trail(&self, delivery: &Delivery, asked: &AuditAsked) -> Result<Reaction> {
        let people = self.inventory.now().people.clone();
        let (who, target) = match asked.about.as_deref() {
            Some(about) => self.audit_about(delivery, about),
            None => (None, None),
        };
        let filter = AuditFilter {
            actors: who
                .as_ref()
                .map(|who| actor_of(who).map_or(vec![who.clone()], |actor| people.keys(&actor))),
            target: target.clone(),
            since: asked.since.map(|since| self.clock.now() - since),
            refused: asked.refused,
            before: asked.before,
            limit: DECISIONS_MAX,
        };
        let found = self.store.audit_list(&filter).await?;
        let rows: Vec<Value> = found.decisions.iter().map(|decision| self.decision_facts(decision)).collect();
        let next = found.next.map(|before| next_page(asked, before));
        let facts = json!({
            "who": who,
            "about": target,
            "since": filter.since,
            "refused": asked.refused,
            "older": asked.before.is_some(),
            "rows": rows,
            "next": next,
        });
        Ok(Reaction::says(Note::new("audit", facts)))
    }

    /// Whom, as the record writes people, or what: a run, a board, whatever a target begins with.
    fn audit_about(&self, delivery: &Delivery, about: &str) -> (Option<String>, Option<String>) {
        let run = about.strip_prefix('#').unwrap_or(about);
        if !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()) {
            return (None, Some(format!("#{run}")));
        }
        if let Some(person) = person_of(delivery, about) {
            return (Some(person.key()), None);
        }
        if about.contains(':') {
            return (Some(about.to_owned()), None);
        }
        let lab = self.inventory.now();
        let board = lab.boards.keys().find(|id| id.as_str().eq_ignore_ascii_case(about));
        (None, Some(board.map_or(about.to_owned(), ToString::to_string)))
    }

    fn decision_facts(&self, decision: &Decision) -> Value {
        json!({
            "at": decision.at,
            "actor": decision.actor,
            "verb": decision.verb,
            "target": self.shown(&decision.target),
            "allowed": decision.allowed,
            "reason": self.shown(&decision.reason),
        })
    }

    /// What a program or a person wrote, without secrets and bounded.
    pub(crate) fn shown(&self, text: &str) -> String {
        self.redactor.redact(text).chars().take(SHOWN_CHARS_MAX).collect()
    }
}

/// Somebody as the record writes them.
pub(super) fn actor_of(key: &str) -> Option<Actor> {
    let (platform, id) = key.split_once(':')?;
    Some(Actor {
        platform: Platform::from_word(platform)?,
        id: id.to_owned(),
        team: String::new(),
        name: String::new(),
    })
}

/// The line that goes on behind an answer.
fn next_page(asked: &AuditAsked, before: i64) -> String {
    let mut line = String::from("/lab audit");
    if let Some(about) = &asked.about {
        line.push_str(&format!(" {about}"));
    }
    if let Some(since) = asked.since {
        line.push_str(&format!(" {}", exact(since.as_secs())));
    }
    if asked.refused {
        line.push_str(" refused");
    }
    line.push_str(&format!(" before={before}"));
    line
}

/// A time as it can be typed, to the second.
fn exact(seconds: u64) -> String {
    let shown = shown_seconds(seconds).replace(' ', "");
    match crate::command::parse::duration(&shown) {
        Some(read) if read.as_secs() == seconds => shown,
        _ => format!("{seconds}s"),
    }
}
