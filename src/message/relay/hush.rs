//! What a channel is not told, or not yet: boards.yaml says how much of a run it hears, and in which hours nothing by itself.
//! Whatever somebody asked for in a channel has its card there, at once and at any hour.

use super::Shared;
use crate::board::volume::Verbosity;
use crate::chat::{Place, Platform};
use crate::clock::Timestamp;
use crate::message::Note;
use crate::outcome::Verdict;
use crate::run::{Run, RunState};
use crate::store::{End, Owed, OwedKind, RUN_LOG, RunView, StoreError, WATCHED};

/// Whether a channel that is told so much is told this of a run.
pub(super) fn is_told(note: &Note, verbosity: Verbosity) -> bool {
    let needs = match note.template.as_str() {
        "run-leased" | "run-testing" => Verbosity::Verbose,
        "run-finished" | "run-cancelled" => {
            let verdict = note.facts.get("verdict").and_then(|verdict| verdict.as_str());
            verdict.and_then(Verdict::from_word).map_or(Verbosity::Final, Verbosity::of_end)
        }
        // Somebody asked for it, or the channel's lab wants it of every failure.
        RUN_LOG => Verbosity::Failures,
        _ => Verbosity::Milestones,
    };
    verbosity >= needs
}

/// Whether a card that is not there yet is posted, where a channel is told so much.
fn has_card(run: &Run, verbosity: Verbosity) -> bool {
    match &run.state {
        RunState::Finished { outcome, .. } => verbosity >= Verbosity::of_end(outcome.verdict),
        RunState::Queued { .. } | RunState::Active { .. } => verbosity >= Verbosity::Milestones,
    }
}

/// Whether somebody asked for a run in that channel.
fn is_asked_for_in(run: &Run, place: &Place) -> bool {
    let there = (run.origin.platform, &run.origin.channel) == (place.platform, &place.channel);
    there && Platform::CHATS.contains(&run.requested_by.platform)
}

impl Shared {
    /// What becomes of a card that is not there yet, where its channel is not told of it now; `None` where it is posted.
    pub(super) async fn untold(&self, owed: &Owed, place: &Place) -> Result<Option<End>, StoreError> {
        let OwedKind::Card { run, batch: false, campaign: None, message: None, .. } = &owed.kind else {
            return Ok(None);
        };
        // One that may be there already is looked for first.
        if owed.begun_at.is_some() {
            return Ok(None);
        }
        let (verbosity, quiet) = (self.composer.verbosity(place), self.quiet_until(place));
        if verbosity >= Verbosity::Milestones && quiet.is_none() {
            return Ok(None);
        }
        let Some(view) = self.store.run_view(*run).await? else { return Ok(None) };
        if is_asked_for_in(&view.run, place) {
            return Ok(None);
        }
        Ok(match quiet {
            _ if !has_card(&view.run, verbosity) => Some(skipped(&view)),
            Some(at) => Some(End::Later { at, failed: false }),
            None => None,
        })
    }

    /// When a reply of a run is told that its channel does not hear now.
    pub(super) async fn waits_for_morning(
        &self,
        run: i64,
        place: &Place,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(until) = self.quiet_until(place) else { return Ok(None) };
        let view = self.store.run_view(run).await?;
        Ok(view.filter(|view| !is_asked_for_in(&view.run, place)).map(|_| until))
    }

    /// When news are told that their channel does not hear now. What concerns somebody's own board is told them at once;
    /// word of runs that they watch can wait.
    pub(super) fn news_wait(&self, note: &Note, place: &Place) -> Option<Timestamp> {
        let person = place.channel.starts_with(['U', 'W']) || place.channel.starts_with("ou_");
        self.quiet_until(place).filter(|_| !person || note.template == WATCHED)
    }

    fn quiet_until(&self, place: &Place) -> Option<Timestamp> {
        self.composer.quiet_until(place, self.clock.now())
    }
}

fn skipped(view: &RunView) -> End {
    End::Untold { revision: view.generation, last: matches!(view.run.state, RunState::Finished { .. }) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_reply_is_told_from_its_verbosity_on() {
        let least = |template: &str, verdict: Option<&str>| {
            let note = Note::new(template, json!({ "verdict": verdict }));
            let told = Verbosity::WORDS.iter().filter(|(_, verbosity)| is_told(&note, *verbosity));
            told.map(|(word, _)| *word).next_back()
        };
        for (template, verdict, expect) in [
            ("run-testing", None, "verbose"),
            ("run-leased", None, "verbose"),
            ("run-first-failure", Some("failed"), "milestones"),
            ("run-infra-retry", Some("infra"), "milestones"),
            ("run-retried", None, "milestones"),
            ("run-finished", Some("passed"), "final"),
            ("run-cancelled", Some("cancelled"), "final"),
            ("run-cancelled", None, "final"),
            ("run-finished", Some("failed"), "failures"),
            ("run-finished", Some("timed-out"), "failures"),
            ("run-log", None, "failures"),
        ] {
            assert_eq!(least(template, verdict), Some(expect), "{template} {verdict:?}");
        }
    }
}
