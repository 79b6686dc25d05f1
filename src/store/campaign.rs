//! Campaigns as they are read and made. Plain data; what follows for one is `campaign`'s.

use crate::campaign::{Asked, Campaign, Child, Phase, Plan};
use crate::chat::{Actor, Place};
use crate::clock::Timestamp;
use crate::message::Note;
use crate::outcome::Outcome;
use crate::store::NewRun;

/// A campaign with its runs.
#[derive(Debug, Clone, PartialEq)]
pub struct CampaignView {
    /// The campaign.
    pub campaign: Campaign,
    /// Who asked for it.
    pub by: Actor,
    /// Where it is told.
    pub origin: Place,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The runs that it started.
    pub children: Vec<Child>,
}

/// What a delivery changes about campaigns.
#[derive(Debug, Clone)]
pub enum CampaignEffect {
    /// A new one of whoever asks; the store gives it its number.
    Begin {
        /// What it does.
        plan: Plan,
        /// Where it is told.
        origin: Place,
        /// What a machine asked for it under; the same again begins none.
        once: Option<String>,
    },
    /// Somebody asks something of one.
    Ask {
        /// Which.
        number: i64,
        /// Since when it was in the state that was seen, where a button was pressed: one that is drawn on an older state
        /// does nothing.
        seen: Option<i64>,
        /// What.
        asked: Asked,
        /// How a run of it ends that waits, where those end with it.
        outcome: Outcome,
        /// Of what people repeated, only that ends with it which was asked for under one of these; all of it where there is
        /// none. What it started itself ends always.
        theirs: Option<Vec<String>>,
        /// What is told in the thread of its card.
        told: Note,
    },
    /// Something is told in the thread of its card.
    Tell {
        /// Which.
        number: i64,
        /// What.
        told: Note,
    },
    /// What follows from how its runs are. Where it has changed since it was read, nothing happens, and nobody is told. Its
    /// cards are posted with the first run that it starts.
    Step {
        /// The campaign as it is then; its version is one more than the one that was read.
        then: Campaign,
        /// What is started, by phase and place, each with its run.
        starts: Vec<(Phase, usize, NewRun)>,
        /// What is told in the thread of its card.
        told: Option<Note>,
    },
}
