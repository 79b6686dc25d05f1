//! Handles a command: parse, policy, and then the effect for the store with the answer that goes with it. Reads the
//! store, never writes it: what comes out is an [`Intake`] for the door to commit.
//!
//! `start` begins runs, `act` changes running things, `batch` several of them at once, `hold` is about boards that people
//! have as their own, `asks` about those that they would have, `over` about power cycles of those that others have,
//! `log` shows console logs, `watch` is about word of runs, `link` about people on two platforms,
//! `digest` about all of the lab, `read` answers questions,
//! `compare` one about two runs, `build` is about builds,
//! `admin` those of whoever runs the lab, `drain` what takes nothing new.

mod act;
mod admin;
mod asks;
mod batch;
mod build;
mod campaign;
mod compare;
mod drain;
mod digest;
mod hold;
mod home;
mod hours;
mod link;
mod log;
mod over;
mod read;
pub mod schedules;
mod start;
mod watch;
mod workers;

pub(crate) use self::drain::{closed_facts, drain_note};
pub(crate) use self::link::linked;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::schedules::agenda;
use super::form::{self, Filled};
use super::parse::{self, Surface};
use super::permits;
use super::policy::{About, Asked, Denial, Denies, Permission};
use super::{Click, Command, RunRef, RunTest, Verb, WatchRef};
use crate::board::groups::{Groups, Unknown, is_group};
use crate::board::{Family, LiveInventory};
use crate::chat::{Actor, AnswerVia, Delivery, Intent, Place, Platform};
use crate::clock::Clock;
use crate::id::{Ids, InstanceId};
use crate::lease::scheduler::SharedQueue;
use crate::message::compose::Composer;
use crate::message::log_file::LogFiles;
use crate::message::relay::Lines;
use crate::message::{Note, Phrase};
use crate::outcome::redact::Redactor;
use crate::store::{Audit, Effect, Intake, Result, RunView, Store, Told};
use crate::worker::crew::Crew;

/// Older words than this are answered and not obeyed: platforms repeat for hours what was not taken, and a run that
/// nobody waits for any more is worse than none.
pub const STALE_AFTER: Duration = Duration::from_secs(30 * 60);

/// Most admins that a refusal names, and most groups whose members are not known.
const ADMINS_MAX: usize = 3;
/// How long an order waits for the first answer of who is in the lab's groups: platforms want theirs within 3 s.
const GROUPS_WITHIN: Duration = Duration::from_millis(1500);

/// Turns deliveries into intents for the store. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Handler {
    /// What is known.
    pub store: Arc<dyn Store>,
    /// The lab.
    pub inventory: LiveInventory,
    /// Who waits for what.
    pub queue: SharedQueue,
    /// Facts of runs.
    pub composer: Arc<Composer>,
    /// Who is in the groups that the lab names.
    pub groups: Groups,
    /// Which channels the bot is not in.
    pub lines: Lines,
    /// Console logs, for those who want to read a piece of one.
    pub logs: LogFiles,
    /// The chat platforms that take messages.
    pub connected: Vec<Platform>,
    /// Takes secrets out of what admins look through.
    pub redactor: Arc<Redactor>,
    /// Time.
    pub clock: Clock,
    /// Ids of new runs.
    pub ids: Ids,
    /// This process, which drives the boards that people take.
    pub instance: InstanceId,
    /// The workers of remote sites.
    pub crew: Crew,
}

/// What a command comes to: its effect and its answers.
pub(super) struct Reaction {
    effect: Effect,
    answer: Note,
    instead: Vec<(&'static str, Note)>,
    audit: Audit,
}

impl Reaction {
    /// An answer without an effect.
    fn says(answer: Note) -> Self {
        Reaction { effect: Effect::None, answer, instead: vec![], audit: Audit::default() }
    }

    /// A refusal: why, what was near, what to type next.
    fn refused(reason: Phrase, near: &[String], next: impl Into<String>) -> Self {
        let next = next.into();
        Reaction::says(Note::new("refused", json!({ "reason": reason, "near": near, "next": next })))
    }
}

impl Handler {
    /// What a delivery comes to.
    pub async fn handle(&self, delivery: Delivery) -> Result<Intake> {
        let (platform, typed_as) = (delivery.actor.platform, delivery.actor.key());
        let in_person = AnswerVia::in_person(&delivery.actor);
        let delivery = self.as_one_person(delivery);
        self.until_groups_are_asked(&delivery).await;
        let mut reaction = match &delivery.intent {
            Intent::Text(text) => self.text(&delivery, text).await?,
            Intent::Click(click) if click.board.is_some() => {
                Box::pin(self.click_hold(&delivery, click)).await?
            }
            Intent::Click(click) => self.click(&delivery, click.clone()).await?,
            Intent::Command(command) => self.command(&delivery, (**command).clone()).await?,
            Intent::Build(asked) => Box::pin(self.build_finished(&delivery, asked)).await?,
            Intent::OtherClick => Reaction::says(Note::new("stale-click", json!({}))),
            Intent::Form(filled) => self.form(&delivery, filled).await?,
        };
        if !reaction.audit.verb.is_empty() && typed_as != delivery.actor.key() {
            reaction.audit.reason.push_str(&format!("; asked as {typed_as}"));
        }
        let shows = delivery.shown_in_ack();
        let changes = !matches!(reaction.effect, Effect::None);
        let in_ack = match &delivery.intent {
            // What is wrong is said in the form.
            Intent::Form(_) => !changes,
            // A form stands in its place, or the door answers.
            Intent::Text(_) if delivery.trigger.is_some() && form::is_offered(&reaction.answer) => true,
            _ => delivery.is_answered_in_ack(),
        };
        // Feishu shows nothing to one person in a chat; a question of theirs comes to them.
        let theirs = over::is_question(&reaction.answer) || link::is_private(&reaction.answer);
        let asks_them = platform == Platform::Feishu && theirs && !delivery.is_from_page();
        let answer_via = match in_ack && !asks_them {
            true => None,
            false if asks_them && !delivery.direct => Some(in_person),
            false => Some(delivery.answer_via.clone()),
        };
        // A machine that asked in vain asks again once somebody has mended what was wrong, under the same key; so does
        // somebody with a form.
        let asks_again = delivery.is_from_machine() || matches!(delivery.intent, Intent::Form(_));
        let remembered = !asks_again || changes;
        Ok(Intake {
            shows,
            key: delivery.key,
            platform,
            remembered,
            actor: delivery.actor,
            received_at: delivery.received_at,
            effect: reaction.effect,
            answer: reaction.answer,
            instead: reaction.instead,
            answer_via,
            audit: reaction.audit,
            source: delivery.source,
        })
    }

    /// What is said of a delivery that can never be handled, because a row that it is about cannot be read or written.
    pub fn broken(&self, delivery: Delivery) -> Intake {
        let (in_ack, shows) = (delivery.is_answered_in_ack(), delivery.shown_in_ack());
        let remembered = !delivery.is_from_machine();
        Intake {
            shows,
            answer: Note::new("internal-error", json!({ "reference": delivery.key })),
            platform: delivery.actor.platform,
            remembered,
            key: delivery.key,
            actor: delivery.actor,
            received_at: delivery.received_at,
            effect: Effect::None,
            instead: vec![],
            answer_via: (!in_ack).then_some(delivery.answer_via),
            audit: Audit::default(),
            source: delivery.source,
        }
    }

    async fn text(&self, delivery: &Delivery, text: &str) -> Result<Reaction> {
        let said_before = delivery.sent_at.map(|at| delivery.received_at.since(at));
        if said_before.is_some_and(|ago| ago > STALE_AFTER) {
            return Ok(Reaction::says(Note::new(
                "said-long-ago",
                json!({ "said_at": delivery.sent_at, "text": text }),
            )));
        }
        let surface = if text.trim_start().starts_with('/') { Surface::Slash } else { Surface::Mention };
        match parse::parse(text, delivery.place.thread.is_some(), surface) {
            Ok(command) => self.command(delivery, command).await,
            Err(problem) => {
                let answer = Note::new("unknown-command", problem.facts());
                Ok(self.may_not_start(delivery, &answer).unwrap_or_else(|| Reaction::says(answer)))
            }
        }
    }

    /// What is said to whoever would get a form, and may start nothing with it.
    fn may_not_start(&self, delivery: &Delivery, answer: &Note) -> Option<Reaction> {
        let asked = Command::RunTest(RunTest::default());
        match self.permission(Asked::Command(&asked), delivery, (false, None)) {
            Permission::Denied(denial) if form::is_offered(answer) => {
                Some(self.denied(delivery, command_name(&asked), String::new(), &denial))
            }
            _ => None,
        }
    }

    /// The form that starts a run, filled in: the same command as if it had been typed.
    async fn form(&self, delivery: &Delivery, filled: &Filled) -> Result<Reaction> {
        match form::read(filled) {
            Ok(request) => self.command(delivery, Command::RunTest(request)).await,
            Err(problem) => Ok(Reaction::says(Note::new("unknown-command", problem.facts()))),
        }
    }

    async fn command(&self, delivery: &Delivery, command: Command) -> Result<Reaction> {
        let run = match &command {
            Command::Run(run) | Command::Why(run) | Command::Cancel(run) | Command::Retry { run, .. } => {
                if *run == RunRef::Thread
                    && let Some(Told::Batch(first)) = self.store.run_of_thread(&delivery.place).await?
                {
                    return self.in_batch(delivery, &command, first).await;
                }
                match self.find(delivery, *run).await? {
                    Ok(view) => Some(view),
                    Err(refusal) => return Ok(*refusal),
                }
            }
            Command::Hold { run, .. }
            | Command::Log { run, .. }
            | Command::Watch { target: Some(WatchRef::Run(run)) }
            | Command::Unwatch { target: WatchRef::Run(run) } => match self.find(delivery, *run).await? {
                Ok(view) => Some(view),
                Err(refusal) => return Ok(*refusal),
            },
            _ => None,
        };
        let (own_campaign, mut families) = Box::pin(self.campaign_meant(delivery, &command)).await?;
        let own_run =
            run.as_ref().is_some_and(|view| self.is_same(&view.run.requested_by, delivery)) || own_campaign;
        let own_board = self.is_about_own_board(delivery, &command).await?;
        families.extend(self.families_meant(delivery, &command, run.as_ref()).await?);
        let about = About { own_run, own_board, family: None };
        let because = match self.permission_for(Asked::Command(&command), delivery, about, &families) {
            Permission::Allowed { because } => because,
            Permission::Denied(denial) => {
                let target = target(&command, run.as_ref());
                let denied = self.denied(delivery, command_name(&command), target, &denial);
                return Ok(link::in_vain(&command, denied));
            }
        };
        let mut reaction = match (command, run) {
            (Command::RunTest(request), _) => Box::pin(self.run_test(delivery, request)).await?,
            (Command::Boards { filter }, _) => self.boards(filter.as_deref()).await?,
            (Command::Board { board }, _) => self.board(delivery, &board).await?,
            (Command::Runs { mine }, _) => self.runs(delivery, mine).await?,
            (Command::Builds { family }, _) => self.builds(family.as_deref()).await?,
            (Command::Compare(asked), _) => Box::pin(self.compare(delivery, &asked)).await?,
            (Command::Power { board, action }, _) => self.power(delivery, &board, action).await?,
            (Command::Quarantine { board, reason }, _) => {
                Box::pin(self.quarantine(delivery, &board, &reason)).await?
            }
            (Command::Return { board }, _) => self.return_to_service(delivery, &board),
            (Command::Drain { target, lasts, reason }, _) => {
                Box::pin(self.drain(delivery, target.as_deref(), lasts, &reason)).await?
            }
            (Command::Undrain { target }, _) => Box::pin(self.undrain(&target)).await?,
            (Command::Reserve { target, lasts, reason, waits, site }, _) => {
                Box::pin(self.reserve(delivery, (&target, site.as_deref()), lasts, (&reason, waits))).await?
            }
            (Command::Hold { lasts, .. }, Some(view)) => {
                Box::pin(self.hold(delivery, &view, lasts, None)).await?
            }
            (Command::Log { lines, .. }, Some(view)) => Box::pin(self.log(delivery, &view, lines)).await?,
            (Command::Digest, _) => Box::pin(self.digest()).await?,
            (Command::Link { code, sure }, _) => self.link(delivery, code.as_deref(), sure),
            (Command::Unlink { person }, _) => self.unlink(delivery, person.as_deref()),
            (Command::Workers, _) => self.workers(),
            (Command::Watch { target }, view) => {
                Box::pin(self.watch(delivery, target.as_ref(), view.as_ref(), false)).await?
            }
            (Command::Unwatch { target }, view) => {
                Box::pin(self.watch(delivery, Some(&target), view.as_ref(), true)).await?
            }
            (Command::Notify { target }, _) => Box::pin(self.notify(delivery, &target)).await?,
            (Command::Nudge { board }, _) => Box::pin(self.nudge(delivery, &board)).await?,
            (Command::Handover { board, person }, _) => {
                Box::pin(self.hand_over(delivery, &board, &person)).await?
            }
            (Command::Extend { board, by }, _) => {
                Box::pin(self.extend(delivery, board.as_deref(), by)).await?
            }
            (Command::Release { lease: Some(lease), undoes, .. }, _) => {
                Box::pin(self.release_this(delivery, lease, undoes)).await?
            }
            (Command::Release { target, .. }, _) => {
                Box::pin(self.release(delivery, target.as_deref())).await?
            }
            (Command::Reload, _) => self.reload(delivery),
            (Command::DeadLetters, _) => Box::pin(self.dead_letters()).await?,
            (Command::Resend { letter }, _) => self.resend(letter),
            (Command::Audit(asked), _) => Box::pin(self.audit_trail(delivery, &asked)).await?,
            (Command::Campaign { which: Some(name), what, own: Some(own), .. }, _) => {
                Box::pin(self.begin_campaign(delivery, (&name, &own), what.as_deref())).await?
            }
            (Command::Campaign { which, what, seen, .. }, _) => {
                Box::pin(self.campaign(delivery, which.as_deref(), (what.as_deref(), seen))).await?
            }
            (Command::Schedules { name: Some(name), paused: Some(paused) }, _) => {
                Box::pin(self.pause_schedule(delivery, &name, paused)).await?
            }
            (Command::OwnSchedule { name, document }, _) => self.own_schedule(name, document),
            (Command::Schedules { name, .. }, _) => {
                Box::pin(self.schedules(delivery, name.as_deref())).await?
            }
            (Command::Help { topic }, _) => help(topic.as_deref()),
            (Command::Run(_), Some(view)) => self.run(&view),
            (Command::Why(_), Some(view)) => self.why(&view),
            (Command::Cancel(_), Some(view)) => self.cancel(delivery, &view),
            (Command::Retry { other_board, .. }, Some(view)) => {
                Box::pin(self.retry(delivery, &view, other_board, None)).await?
            }
            (
                Command::Run(_)
                | Command::Why(_)
                | Command::Cancel(_)
                | Command::Retry { .. }
                | Command::Hold { .. }
                | Command::Log { .. },
                None,
            ) => no_such_run(None),
        };
        if !matches!(reaction.effect, Effect::None) {
            reaction.audit.allowed = true;
            reaction.audit.reason = because;
        }
        Ok(reaction)
    }

    /// A button: the same commands, checked in the same way, with the card's generation as its only extra.
    async fn click(&self, delivery: &Delivery, click: Click) -> Result<Reaction> {
        let run = RunRef::Number(click.run);
        let command = match click.verb {
            Verb::Retry => Command::Retry { run, other_board: false },
            Verb::RetryElsewhere => Command::Retry { run, other_board: true },
            Verb::Cancel => Command::Cancel(run),
            Verb::Why => Command::Why(run),
            Verb::PowerCycle => return self.click_power_cycle(delivery, click).await,
            Verb::Hold => return Box::pin(self.click_keep(delivery, &click)).await,
            Verb::Return => return Box::pin(self.click_return(delivery, click)).await,
            Verb::Log => return Box::pin(self.click_log(delivery, &click)).await,
            // A board's buttons, drawn without their board.
            Verb::Extend
            | Verb::Release
            | Verb::PowerOff
            | Verb::PowerAnyway
            | Verb::Leave
            | Verb::Nudge
            | Verb::Notify
            | Verb::Accept => {
                return Ok(Reaction::says(Note::new("stale-click", json!({}))));
            }
            Verb::CampaignPause
            | Verb::CampaignResume
            | Verb::CampaignContinue
            | Verb::CampaignRollback
            | Verb::CampaignCancel => Command::Campaign {
                which: Some(click.run.to_string()),
                what: click.verb.of_campaign().map(|asked| asked.as_str().to_owned()),
                seen: Some(click.generation),
                own: None,
            },
            Verb::CancelAll | Verb::WhyAll => return self.batch(delivery, click.verb, click.run).await,
        };
        if let (Verb::Retry | Verb::RetryElsewhere, Ok(view)) = (click.verb, self.find(delivery, run).await?)
        {
            let other_board = click.verb == Verb::RetryElsewhere;
            let own_run = self.is_same(&view.run.requested_by, delivery);
            return Ok(
                match self.permission(
                    Asked::Click(click.verb),
                    delivery,
                    (own_run, Some(&view.run.spec.family)),
                ) {
                    Permission::Denied(denial) => {
                        self.denied(delivery, click.verb.as_str(), format!("#{}", click.run), &denial)
                    }
                    Permission::Allowed { because } => {
                        let once = format!("{}:{}", click.run, click.generation);
                        let mut reaction =
                            Box::pin(self.retry(delivery, &view, other_board, Some(once))).await?;
                        reaction.audit.allowed = true;
                        reaction.audit.reason = because;
                        reaction
                    }
                },
            );
        }
        self.command(delivery, command).await
    }

    /// Hold on a card: as the command, with the card's generation.
    async fn click_keep(&self, delivery: &Delivery, click: &Click) -> Result<Reaction> {
        let view = match self.find(delivery, RunRef::Number(click.run)).await? {
            Ok(view) => view,
            Err(refusal) => return Ok(*refusal),
        };
        let own_run = self.is_same(&view.run.requested_by, delivery);
        match self.permission(Asked::Click(click.verb), delivery, (own_run, Some(&view.run.spec.family))) {
            Permission::Denied(denial) => {
                Ok(self.denied(delivery, click.verb.as_str(), format!("#{}", click.run), &denial))
            }
            Permission::Allowed { because } => {
                let mut reaction = Box::pin(self.hold(delivery, &view, None, Some(click))).await?;
                if !matches!(reaction.effect, Effect::None) {
                    reaction.audit.allowed = true;
                    reaction.audit.reason = because;
                }
                Ok(reaction)
            }
        }
    }

    /// Whether the one who acts may.
    fn permission(
        &self,
        asked: Asked<'_>,
        delivery: &Delivery,
        (own_run, family): (bool, Option<&Family>),
    ) -> Permission {
        let family = family.map(Family::as_str);
        self.permission_about(asked, delivery, About { own_run, own_board: false, family })
    }

    fn permission_about(&self, asked: Asked<'_>, delivery: &Delivery, about: About<'_>) -> Permission {
        permits::permitted(asked, delivery, &self.groups_of(delivery), &self.inventory.now(), about)
    }

    /// The groups of the lab that whoever acts is known to be in.
    pub(super) fn groups_of(&self, delivery: &Delivery) -> Vec<String> {
        self.groups.of(&self.inventory.now().people.keys(&delivery.actor), self.clock.now())
    }

    /// Waits a moment, right after the start or a reload, until it was asked once who is in the groups of the lab.
    async fn until_groups_are_asked(&self, delivery: &Delivery) {
        let named = self.inventory.now().groups();
        if !named.is_empty() && Platform::CHATS.contains(&delivery.actor.platform) {
            // Later, nobody is in what is not known, and that is told.
            let _ = self.clock.timeout(GROUPS_WITHIN, self.groups.asked_once(&named)).await;
        }
    }

    /// A delivery of somebody who is linked to another id: whichever they use, they are one requester.
    fn as_one_person(&self, mut delivery: Delivery) -> Delivery {
        let lab = self.inventory.now();
        delivery.foreign &= !lab.permissions.workspaces.contains(&delivery.actor.team);
        delivery.actor = lab.people.counts_as(&delivery.actor);
        delivery
    }

    /// Whether whoever is behind a delivery may do this, as everything stands now.
    pub async fn may(&self, delivery: Delivery, command: &Command) -> bool {
        let delivery = self.as_one_person(delivery);
        self.until_groups_are_asked(&delivery).await;
        self.permission_about(Asked::Command(command), &delivery, About::default()).is_allowed()
    }

    /// Whether somebody is the one who acts, also by an id that they used before it was linked.
    fn is_same(&self, somebody: &Actor, delivery: &Delivery) -> bool {
        self.inventory.now().people.counts_as(somebody).key() == delivery.actor.key()
    }

    /// Whether the one who acts may, for each of these families.
    fn permission_for(
        &self,
        asked: Asked<'_>,
        delivery: &Delivery,
        about: About<'_>,
        families: &[String],
    ) -> Permission {
        let of = |family| self.permission_about(asked, delivery, About { family, ..about });
        let mut each = families.iter().map(|family| of(Some(family)));
        each.find(|permission| !permission.is_allowed())
            .unwrap_or_else(|| of(families.first().map(String::as_str)))
    }

    /// The families of what a command would change, where it names a run, a board, a site, a schedule or a family that
    /// there is.
    async fn families_meant(
        &self,
        delivery: &Delivery,
        command: &Command,
        run: Option<&RunView>,
    ) -> Result<Vec<String>> {
        let lab = self.inventory.now();
        Ok(match command {
            Command::Drain { target: Some(target), .. } | Command::Undrain { target } => {
                drain::families_of(&lab, target)
            }
            Command::Extend { board: None, .. } => self.families_held(delivery).await?,
            Command::Schedules { name: Some(name), .. } => {
                let agenda = agenda(&lab, self.store.schedule_list().await?);
                let known = agenda.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
                self.families_started(known.map(|entry| entry.schedule.run.as_str()))
            }
            Command::OwnSchedule { name, document } => {
                // Whoever makes one anew, or removes it, must reach what it starts as well.
                let agenda = agenda(&lab, self.store.schedule_list().await?);
                let known = agenda.iter().find(|entry| entry.name.eq_ignore_ascii_case(name));
                let mut families = self.families_started(known.map(|entry| entry.schedule.run.as_str()));
                if known.is_none() && document.is_none() {
                    // One that cannot be read any more.
                    families.push(String::new());
                }
                let run = document.as_ref().and_then(|document| document.get("run")?.as_str());
                families.extend(self.families_started(run));
                families
            }
            Command::Release { target: Some(target), .. } => match self.family_meant(command, run) {
                Some(family) => vec![family],
                // Of a board that has left boards.yaml nobody knows the family: whoever reaches some of them only does not reach it.
                None if self.is_held_by_other(delivery, target).await? => vec![String::new()],
                None => vec![],
            },
            _ => self.family_meant(command, run).into_iter().collect(),
        })
    }

    /// The family of what a command would change, where it names a run, a board or a family that there is.
    fn family_meant(&self, command: &Command, run: Option<&RunView>) -> Option<String> {
        let named = match command {
            Command::RunTest(asked) => &asked.target,
            Command::Power { board, .. }
            | Command::Quarantine { board, .. }
            | Command::Return { board }
            | Command::Extend { board: Some(board), .. }
            | Command::Nudge { board }
            | Command::Handover { board, .. } => board,
            Command::Reserve { target, .. }
            | Command::Notify { target }
            | Command::Release { target: Some(target), .. } => target,
            _ => return run.map(|view| view.run.spec.family.to_string()),
        };
        let lab = self.inventory.now();
        let families = lab.families.keys().map(|family| (family.as_str(), family));
        let mut known = families.chain(lab.boards.values().map(|board| (board.id.as_str(), &board.family)));
        known.find(|(name, _)| name.eq_ignore_ascii_case(named)).map(|(_, family)| family.to_string())
    }

    /// The family of that name, or of the board of that name.
    fn family_known_as(&self, name: &str) -> Option<Family> {
        let lab = self.inventory.now();
        let board = lab.boards.values().find(|board| board.id.as_str().eq_ignore_ascii_case(name));
        let family = || lab.families.keys().find(|family| family.as_str().eq_ignore_ascii_case(name));
        board.map(|board| &board.family).or_else(family).cloned()
    }

    /// A refusal by policy, on record; the person is spoken to, the record names them.
    fn denied(&self, delivery: &Delivery, verb: &str, target: String, denial: &Denial) -> Reaction {
        let lab = self.inventory.now();
        let here = |admin: &String| admin.starts_with("slack:") && delivery.place.platform == Platform::Slack;
        let admins = lab.roles.admin.iter().filter(|admin| *admin != "*" && !is_group(admin));
        let admins = admins.take(ADMINS_MAX).map(|admin| json!({ "id": admin, "here": here(admin) }));
        let facts = json!({
            "verb": verb,
            "reason": denial.said,
            "rule": denial.rule.as_str(),
            "needs": denial.needs.as_str(),
            "admins": admins.collect::<Vec<_>>(),
            "unknown": self.unknown_to(denial),
        });
        let audit = Audit { verb: verb.into(), target, allowed: false, reason: denial.reason.clone() };
        Reaction { audit, ..Reaction::says(Note::new("denied", facts)) }
    }

    /// Groups whose members are not known now, where being in one could have changed the decision.
    fn unknown_to(&self, denial: &Denial) -> Vec<Value> {
        if denial.rule == Denies::Channel {
            return vec![];
        }
        let named = self.inventory.now().groups();
        let unknown = self.groups.unknown(&named, self.clock.now());
        let facts = |Unknown { group, trouble }| json!({ "group": group, "trouble": trouble });
        unknown.into_iter().take(ADMINS_MAX).map(facts).collect()
    }

    /// The run that is meant, or what to say when there is none.
    async fn find(
        &self,
        delivery: &Delivery,
        run: RunRef,
    ) -> Result<std::result::Result<RunView, Box<Reaction>>> {
        let number = match run {
            RunRef::Number(number) => Some(number),
            RunRef::Thread => match self.store.run_of_thread(&delivery.place).await? {
                Some(Told::Run(number)) => Some(number),
                Some(Told::Batch(_) | Told::Campaign(_)) | None => None,
            },
        };
        let view = match number {
            Some(number) => self.store.run_view(number).await?,
            None => None,
        };
        Ok(view.ok_or_else(|| Box::new(no_such_run(number))))
    }
}

/// What was typed with one of these words put right, where that can be said.
fn put_right(delivery: &Delivery, words: &[(String, String)]) -> Option<String> {
    match &delivery.intent {
        Intent::Text(text) => parse::put_right(text, words),
        Intent::Click(_) | Intent::OtherClick | Intent::Command(_) | Intent::Form(_) | Intent::Build(_) => {
            None
        }
    }
}

/// The known name that is nearest, if one is near.
fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    super::grammar::near(word, known).map(str::to_owned).into_iter().collect()
}

fn no_such_run(number: Option<i64>) -> Reaction {
    match number {
        Some(number) => {
            Reaction::refused(Phrase::new("no-run", json!({ "number": number })), &[], "/lab runs")
        }
        None => Reaction::refused(Phrase::new("no-run-of-thread", json!({})), &[], "/lab runs"),
    }
}

/// What a command is about, for the audit log; bounded by the parser.
fn target(command: &Command, run: Option<&RunView>) -> String {
    match (command, run) {
        (_, Some(view)) => format!("#{}", view.run.number),
        (Command::RunTest(request), None) => format!("{} {}", request.target, request.build),
        (Command::Power { board, action }, None) => format!("{board} {}", action.as_str()),
        (Command::Board { board } | Command::Return { board } | Command::Quarantine { board, .. }, None) => {
            board.clone()
        }
        (
            Command::Reserve { target, .. } | Command::Notify { target } | Command::Undrain { target },
            None,
        ) => target.clone(),
        (Command::Drain { target, .. }, None) => target.clone().unwrap_or_default(),
        (Command::Campaign { which, what, .. }, None) => {
            [which.as_deref(), what.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        (Command::Schedules { name, .. }, None) => name.clone().unwrap_or_default(),
        (Command::OwnSchedule { name, .. }, None) => name.clone(),
        (Command::Nudge { board } | Command::Handover { board, .. }, None) => board.clone(),
        (Command::Unlink { person }, None) => person.clone().unwrap_or_default(),
        (Command::Extend { board: target, .. } | Command::Release { target, .. }, None) => {
            target.clone().unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn command_name(command: &Command) -> &'static str {
    super::grammar::row(command.form()).name()
}

fn help(topic: Option<&str>) -> Reaction {
    Reaction::says(Note::new("help", super::grammar::help_facts(topic)))
}

impl Delivery {
    /// Whether a program waits for the answer, and nobody else.
    fn is_from_machine(&self) -> bool {
        matches!(self.actor.platform, Platform::Jenkins | Platform::Api)
    }

    /// Whether somebody at a page of this server said or pressed it: they read the answer there, and can be asked again.
    fn is_from_page(&self) -> bool {
        let said = matches!(self.intent, Intent::Text(_) | Intent::Click(_) | Intent::OtherClick);
        said && self.answer_via.url.is_none() && self.answer_via.place.channel.is_empty()
    }

    /// Whether the acknowledgement's body is the answer. A slash command of Slack comes with a URL of its own and is
    /// words; a click in Feishu is answered by a few words over the card; a program waits for it. Everything else is
    /// acknowledged with nothing, its answer is an owed message.
    pub fn is_answered_in_ack(&self) -> bool {
        match (&self.intent, self.place.platform) {
            _ if self.is_from_page() => true,
            // Wherever it wants its run to be told.
            (Intent::Command(_), _) if self.is_from_machine() => true,
            (Intent::Click(_) | Intent::OtherClick, Platform::Feishu) => true,
            (Intent::Click(_) | Intent::OtherClick, _) => false,
            (Intent::Text(_), _) => self.answer_via.url.is_some(),
            // An entry of a message's menu.
            (Intent::Command(_) | Intent::Form(_), Platform::Slack) => false,
            (Intent::Command(_) | Intent::Form(_) | Intent::Build(_), _) => true,
        }
    }

    /// The card that the acknowledgement shows anew: in Feishu, the one that was clicked.
    fn shown_in_ack(&self) -> Option<Place> {
        let click = matches!(self.intent, Intent::Click(_) | Intent::OtherClick)
            && self.place.platform == Platform::Feishu;
        click.then(|| self.answer_via.place.clone())
    }
}
