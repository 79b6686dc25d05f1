//! Warnings that many boards share: one line for each family, not one for each board. Pure.

use std::collections::BTreeMap;

use super::problem::{Mark, Problems, listed};

/// How many boards a warning names before it counts.
const NAMED_MAX: usize = 3;

/// What is the matter with some of a family's boards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Note {
    /// Their power switch's certificate is taken as it comes.
    Insecure { family: String },
    /// They have a `pdu_host` and nobody says how to speak to it.
    NoDriver { family: String },
    /// They have no switch, and a plan of theirs switches power.
    NoSwitch { plan: String, family: String },
}

/// The warnings so far.
#[derive(Default)]
pub(super) struct Notes(BTreeMap<Note, (Mark, Vec<String>)>);

impl Notes {
    /// Adds a board to a note. Without a board nothing is added: the family's settings are only being read.
    pub(super) fn add(&mut self, note: Note, at: Mark, board: Option<&str>) {
        if let Some(board) = board {
            let (first, boards) = self.0.entry(note).or_insert((at, Vec::new()));
            *first = at.min(*first);
            boards.push(board.to_owned());
        }
    }

    /// Turns the notes into warnings.
    pub(super) fn tell(self, problems: &mut Problems) {
        for (note, (at, boards)) in self.0 {
            let names = listed(&boards, NAMED_MAX);
            let has = if boards.len() == 1 { "has" } else { "have" };
            let (message, suggestion) = match note {
                Note::Insecure { .. } => (
                    format!(
                        "the certificate of the power switch of {names} is not checked: who stands in between \
                         reads its password"
                    ),
                    Some("let this machine trust the device's certificate, and drop `insecure`".to_owned()),
                ),
                Note::NoDriver { family } => (
                    format!("{names} {has} pdu_host but no power driver, so no power switch"),
                    Some(format!(
                        "add under `families:` the line `{family}: {{power: {{driver: command, on: [your-pdu-tool, \
                         \"{{{{ host }}}}\", \"{{{{ outlet }}}}\", on], off: [your-pdu-tool, \"{{{{ host }}}}\", \
                         \"{{{{ outlet }}}}\", off]}}}}`"
                    )),
                ),
                Note::NoSwitch { plan, .. } => (
                    format!("plan \"{plan}\" switches power, but {names} {has} no power switch"),
                    Some("name a power driver".to_owned()),
                ),
            };
            problems.warning(at, message, suggestion);
        }
    }
}
