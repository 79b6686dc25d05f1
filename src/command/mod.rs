//! Commands: what a person or machine wants, parsed. The closed set of everything the bot can do.
//!
//! `grammar` is the one table of verbs; `parse` turns text into a [`Command`], `document` JSON, `form` a filled form; `policy` says who may, `standing`
//! what a token lets its holder; `handle` turns
//! an allowed command into an effect for the store. Only `handle` reads the store.

pub mod document;
pub mod form;
pub mod grammar;
pub mod handle;
pub mod parse;
pub mod permits;
pub mod policy;
pub mod problem;
pub mod standing;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::board::plan::PowerAction;
use crate::board::{BoardId, is_name};
use crate::campaign::{Asked, Definition};
use crate::clock::Timestamp;
use crate::id::LeaseId;
use crate::run::Priority;

/// Everything the bot can do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `/run-test`.
    RunTest(RunTest),
    /// `/lab boards [family]`.
    Boards {
        /// Only this family or site.
        filter: Option<String>,
    },
    /// `/lab board <id>`.
    Board {
        /// The board's name as typed.
        board: String,
    },
    /// `/lab runs [mine]`.
    Runs {
        /// Only the asker's.
        mine: bool,
    },
    /// `/lab run <#>`.
    Run(RunRef),
    /// `/lab why <#>`.
    Why(RunRef),
    /// `/lab compare [#|build] [#|build] [soc]`.
    Compare(Compare),
    /// `/lab builds [soc]`.
    Builds {
        /// Only this family, as typed.
        family: Option<String>,
    },
    /// `/lab cancel <#>`.
    Cancel(RunRef),
    /// `/lab retry <#>`.
    Retry {
        /// The run to repeat.
        run: RunRef,
        /// Avoid its last board.
        other_board: bool,
    },
    /// `/lab power <board> on|off|cycle|status`.
    Power {
        /// The board's name as typed.
        board: String,
        /// What to do.
        action: PowerAction,
    },
    /// `/lab quarantine <board> <reason>`.
    Quarantine {
        /// The board's name as typed.
        board: String,
        /// Why, as typed.
        reason: String,
    },
    /// `/lab return <board>`.
    Return {
        /// The board's name as typed.
        board: String,
    },
    /// `/lab drain [board|site] [2h] [reason]`.
    Drain {
        /// A board or a site, as typed, with whatever was typed behind it where nobody has told them apart: names of sites
        /// have spaces. What drains now where there is none.
        target: Option<String>,
        /// For how long.
        lasts: Option<Duration>,
        /// Why, as typed.
        reason: String,
    },
    /// `/lab undrain <board|site>`.
    Undrain {
        /// A board or a site, as typed.
        target: String,
    },
    /// `/lab reserve <board|soc> [2h] [reason]`.
    Reserve {
        /// A family or a board, as typed.
        target: String,
        /// For how long.
        lasts: Option<Duration>,
        /// What for, as typed.
        reason: String,
        /// Whether they wait where it is not free; people do.
        waits: bool,
        /// The site where they would have it, where one of a family is free there.
        site: Option<String>,
    },
    /// `/lab extend [board] [1h]`.
    Extend {
        /// The board's name as typed; the one that they have where there is none.
        board: Option<String>,
        /// How much longer.
        by: Option<Duration>,
    },
    /// `/lab release [board|soc]`.
    Release {
        /// A board, or what they wait for, as typed; the one that they have where there is none.
        target: Option<String>,
        /// Which lease of it, or place in line, and no other, where a program names it.
        lease: Option<LeaseId>,
        /// Keys of deliveries that asked for it and whose answer nobody got: with this they are as if they had never
        /// come.
        undoes: Vec<String>,
    },
    /// `/lab hold [#] [30m]`.
    Hold {
        /// The run whose board is meant.
        run: RunRef,
        /// For how long.
        lasts: Option<Duration>,
    },
    /// `/lab log <#> [lines]`.
    Log {
        /// The run.
        run: RunRef,
        /// So many of its last lines, in the answer; the whole of it in its thread where there is none.
        lines: Option<u32>,
    },
    /// `/lab watch [#|soc]`.
    Watch {
        /// What; where nobody says, what they watch.
        target: Option<WatchRef>,
    },
    /// `/lab unwatch <#|soc>`.
    Unwatch {
        /// What.
        target: WatchRef,
    },
    /// `/lab digest`.
    Digest,
    /// `/lab link [code] [yes]`.
    Link {
        /// What was given on the other platform; a new one is given where there is none.
        code: Option<String>,
        /// Whether they say that they are whom they were asked about.
        sure: bool,
    },
    /// `/lab unlink [person]`.
    Unlink {
        /// Whom an admin parts from whoever they are one with; whoever asks where there is none.
        person: Option<String>,
    },
    /// `/lab workers`.
    Workers,
    /// `/lab notify <board|soc>`.
    Notify {
        /// A family or a board, as typed.
        target: String,
    },
    /// `/lab nudge <board>`.
    Nudge {
        /// The board's name as typed.
        board: String,
    },
    /// `/lab handover <board> <person>`.
    Handover {
        /// The board's name as typed.
        board: String,
        /// Who, as the platform writes somebody who was picked from its list.
        person: String,
    },
    /// `/lab reload`.
    Reload,
    /// `/lab deadletters`.
    DeadLetters,
    /// `/lab resend <number|all>`.
    Resend {
        /// Which; `None` for all.
        letter: Option<i64>,
    },
    /// `/lab audit [who|board|#] [2h] [refused]`.
    Audit(AuditAsked),
    /// `/lab campaign [name|#] [build|pause|resume|continue|rollback|cancel]`.
    Campaign {
        /// A definition, or the number of one that was begun, as typed.
        which: Option<String>,
        /// A build, or what is asked, as typed.
        what: Option<String>,
        /// Since when it was in the state that a pressed button was drawn on.
        seen: Option<i64>,
        /// What it does, where a program says that itself: nothing that can be typed.
        own: Option<Box<Definition>>,
    },
    /// Makes a schedule that is no one of boards.yaml, or removes it: nothing that can be typed.
    OwnSchedule {
        /// Its name.
        name: String,
        /// Its keys, as boards.yaml has them; `None` removes it.
        document: Option<Map<String, Value>>,
    },
    /// `/lab schedules [name] [pause|resume]`.
    Schedules {
        /// Only this one, as typed.
        name: Option<String>,
        /// Whether it is paused, or goes on; `None` where somebody looks at it.
        paused: Option<bool>,
    },
    /// `/lab help [verb]`.
    Help {
        /// Only this verb.
        topic: Option<String>,
    },
}

/// What is asked of a campaign, in either language.
pub(crate) fn campaign_asked(word: &str) -> Option<Asked> {
    let english =
        grammar::CAMPAIGN_ZH.iter().find(|(zh, _)| *zh == word).map_or(word, |(_, english)| english);
    Asked::ALL.into_iter().find(|asked| asked.as_str().eq_ignore_ascii_case(english))
}

/// What `/run-test` asks for, as typed: names are not looked up yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunTest {
    /// A family or a board.
    pub target: String,
    /// The build's id.
    pub build: String,
    /// `suite=`.
    pub suite: Option<String>,
    /// `priority=`.
    pub priority: Option<Priority>,
    /// `rev=`.
    pub revision: Option<String>,
    /// `tag=k:v`, repeatable.
    pub tags: BTreeMap<String, String>,
    /// `on=`.
    pub on: Option<String>,
    /// `timeout=`.
    pub timeout: Option<Duration>,
    /// `boards=`.
    pub boards: Option<u32>,
    /// `x3`.
    pub repeat: Option<u32>,
    /// Everything else, as typed.
    pub params: BTreeMap<String, String>,
    /// Where a program wants its end told.
    pub callback: Option<String>,
}

/// What `/lab audit` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditAsked {
    /// A person, a board or a run, as typed.
    pub about: Option<String>,
    /// How far back.
    pub since: Option<Duration>,
    /// Only what was refused.
    pub refused: bool,
    /// Only what stands before this one.
    pub before: Option<i64>,
}

/// What `/lab compare` asks for, as typed: names are not looked up yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compare {
    /// What is compared: two, the older first; or fewer, where the rest is understood.
    pub of: Vec<Which>,
    /// Only on this family.
    pub family: Option<String>,
    /// `suite=`.
    pub suite: Option<String>,
}

/// A side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// `#42`.
    Run(i64),
    /// The newest run of a build.
    Build(String),
}

/// Which run is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunRef {
    /// `#42`.
    Number(i64),
    /// The run in whose thread this was said.
    Thread,
}

/// What somebody would be told of, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchRef {
    /// A run.
    Run(RunRef),
    /// A family.
    Family(String),
}

/// A pressed button: what its value carries. The server checks everything again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Click {
    /// What the button does.
    pub verb: Verb,
    /// The run on whose card it stands; on a batch's, its first; on a campaign's, the campaign. 0 where it is about a board
    /// that somebody has.
    pub run: i64,
    /// The card's revision when it was drawn; on a campaign's, since when it was in its state; the fence of the lease where it is about a board that somebody has.
    pub generation: i64,
    /// The board that somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardId>,
    /// The instant that the button is about, where it is about one: when the attempt began that it ends, until when the
    /// board was theirs that they keep for longer, when the question was asked that it answers.
    pub at: Option<Timestamp>,
}

/// What a button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// A new run of the same.
    Retry,
    /// A new run of the same on another board.
    RetryElsewhere,
    /// End the run.
    Cancel,
    /// Power-cycle the run's board.
    PowerCycle,
    /// Why is it waiting.
    Why,
    /// End every run of the batch.
    CancelAll,
    /// Why the runs of the batch are waiting.
    WhyAll,
    /// Put the board of the run's attempt back into service; the generation is the attempt's number.
    Return,
    /// Keep the board that they have for longer.
    Extend,
    /// Give the board that they have back.
    Release,
    /// Switch the board off that they have.
    PowerOff,
    /// Power-cycle the board that somebody else has: the answer to a question that named the holder.
    PowerAnyway,
    /// Leave the board that somebody else has as it is.
    Leave,
    /// Keep the run's board as it is.
    Hold,
    /// Ask whoever has the board whether they need it.
    Nudge,
    /// Tell me when the board is free.
    Notify,
    /// Take the board that was offered.
    Accept,
    /// Show the console log of the run's last attempt in its thread.
    Log,
    /// Start nothing more of the campaign for now.
    CampaignPause,
    /// Let the campaign go on.
    CampaignResume,
    /// Let the campaign go on although too few passed.
    CampaignContinue,
    /// Put back what the campaign reached.
    CampaignRollback,
    /// End the campaign, and what it started.
    CampaignCancel,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 23] = [
        Verb::Retry,
        Verb::RetryElsewhere,
        Verb::Cancel,
        Verb::PowerCycle,
        Verb::Why,
        Verb::CancelAll,
        Verb::WhyAll,
        Verb::Return,
        Verb::Extend,
        Verb::Release,
        Verb::PowerOff,
        Verb::PowerAnyway,
        Verb::Leave,
        Verb::Hold,
        Verb::Nudge,
        Verb::Notify,
        Verb::Accept,
        Verb::Log,
        Verb::CampaignPause,
        Verb::CampaignResume,
        Verb::CampaignContinue,
        Verb::CampaignRollback,
        Verb::CampaignCancel,
    ];

    /// The word in a button's id, and in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Retry => "retry",
            Verb::RetryElsewhere => "retry-elsewhere",
            Verb::Cancel => "cancel",
            Verb::PowerCycle => "power-cycle",
            Verb::Why => "why",
            Verb::CancelAll => "cancel-all",
            Verb::WhyAll => "why-all",
            Verb::Return => "return",
            Verb::Extend => "extend",
            Verb::Release => "release",
            Verb::PowerOff => "power-off",
            Verb::PowerAnyway => "power-anyway",
            Verb::Leave => "leave",
            Verb::Hold => "hold",
            Verb::Nudge => "nudge",
            Verb::Notify => "notify",
            Verb::Accept => "accept",
            Verb::Log => "log",
            Verb::CampaignPause => "campaign-pause",
            Verb::CampaignResume => "campaign-resume",
            Verb::CampaignContinue => "campaign-continue",
            Verb::CampaignRollback => "campaign-rollback",
            Verb::CampaignCancel => "campaign-cancel",
        }
    }

    /// What it asks of a campaign, where it is about one.
    pub fn of_campaign(self) -> Option<Asked> {
        Some(match self {
            Verb::CampaignPause => Asked::Pause,
            Verb::CampaignResume => Asked::Resume,
            Verb::CampaignContinue => Asked::Continue,
            Verb::CampaignRollback => Asked::Rollback,
            Verb::CampaignCancel => Asked::Cancel,
            _ => return None,
        })
    }

    /// The verb of that word.
    pub fn from_word(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|v| v.as_str() == word)
    }
}

impl Click {
    /// The button's value: `retry:42:7`, or `power-cycle:42:7:1767323045678000` where it is about an instant, or
    /// `release:@soc-a-003:17` where it is about a board that somebody has.
    pub fn value(&self) -> String {
        let about = self.board.as_ref().map_or(self.run.to_string(), |board| format!("@{board}"));
        let value = format!("{}:{about}:{}", self.verb.as_str(), self.generation);
        self.at.map_or(value.clone(), |at| format!("{value}:{}", at.as_micros()))
    }

    /// Reads a button's value.
    pub fn parse(value: &str) -> Option<Click> {
        let mut parts = value.splitn(4, ':');
        let verb = Verb::from_word(parts.next()?)?;
        let about = parts.next()?;
        let generation = parts.next()?.parse().ok().filter(|n| *n >= 0)?;
        let at = match parts.next() {
            Some(at) => Some(Timestamp::from_micros(at.parse().ok()?)),
            None => None,
        };
        if let Some(board) = about.strip_prefix('@') {
            let board = Some(BoardId::new(board)).filter(|board| is_name(board.as_str()))?;
            return Some(Click { verb, run: 0, generation, at, board: Some(board) });
        }
        let run = about.parse().ok().filter(|n| *n > 0)?;
        Some(Click { verb, run, generation, at, board: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verb, run, generation, instant and board.
    type Parts<'a> = (Verb, i64, i64, Option<i64>, Option<&'a str>);

    #[track_caller]
    fn check(value: &str, expect: Option<Parts<'_>>) {
        let click = Click::parse(value);
        let got = click.as_ref().map(|click| {
            let board = click.board.as_ref().map(BoardId::as_str);
            (click.verb, click.run, click.generation, click.at.map(Timestamp::as_micros), board)
        });
        assert_eq!(got, expect, "{value}");
        assert_eq!(click.map(|click| click.value()), expect.map(|_| value.to_owned()));
    }

    #[test]
    fn a_buttons_value_says_what_it_is_about_and_reads_back() {
        check("retry:42:7", Some((Verb::Retry, 42, 7, None, None)));
        check("power-cycle:42:7:5", Some((Verb::PowerCycle, 42, 7, Some(5), None)));
        check("release:@soc-a-003:17", Some((Verb::Release, 0, 17, None, Some("soc-a-003"))));
        check("extend:@soc-a-003:17:5", Some((Verb::Extend, 0, 17, Some(5), Some("soc-a-003"))));
        for odd in [
            "",
            "retry",
            "retry:0:1",
            "retry:1:-1",
            "retry:1:1:x",
            "extend:@:1",
            "extend:@a b:1",
            "nonsense:1:1",
        ] {
            check(odd, None);
        }
    }
}
