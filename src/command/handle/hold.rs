//! Boards that people have as their own: asked for, kept for longer, given back, by word and by button. What is said here
//! is looked at again by the store; a button names the lease that it was drawn for, so that one that is out of date does
//! nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::act::audit;
use super::hours::InsteadOf;
use super::{Handler, Reaction, closed_facts, put_right};
use crate::board::plan::PowerAction;
use crate::board::{Board, BoardId, Family, Site};
use crate::chat::Delivery;
use crate::clock::{Timestamp, shown_duration};
use crate::command::grammar::{self, Role};
use crate::command::permits;
use crate::command::policy::{About, Asked, Permission};
use crate::command::{Click, Command, Verb};
use crate::id::LeaseId;
use crate::lease::scheduler::{as_run, wish_queued};
use crate::lease::{Holder, Lease, Reservation};
use crate::message::compose::hold_facts;
use crate::message::waiting::foreseen_facts;
use crate::message::{Note, Phrase};
use crate::run::RunSpec;
use crate::store::{Audit, BoardRow, Effect, Health, LeaseView, Result};

/// How much longer somebody keeps a board who does not say.
const EXTEND_BY: Duration = Duration::from_secs(3600);

/// How long somebody who asks for a board waits for the scheduler's first look, and how often it is looked for.
const QUEUE_READ_WITHIN: Duration = Duration::from_secs(1);
const QUEUE_LOOK: Duration = Duration::from_millis(5);

/// What somebody means who says what board they want or have.
pub(super) enum Target {
    Board(Box<Board>),
    Family(Family),
}

impl Handler {
    /// Takes a board for the one who asks: at once when it is free and nobody waits for it, else in their turn.
    pub(super) async fn reserve(
        &self,
        delivery: &Delivery,
        (target, site): (&str, Option<&str>),
        lasts: Option<Duration>,
        (reason, or_wait): (&str, bool),
    ) -> Result<Reaction> {
        let (family, board) = match self.target_named(delivery, target) {
            Ok(Target::Board(board)) => (board.family.clone(), Some(*board)),
            Ok(Target::Family(family)) => (family, None),
            Err(refusal) => return Ok(*refusal),
        };
        if let Some(refusal) = self.driven_elsewhere(&family, board.as_ref()) {
            return Ok(refusal);
        }
        let lasts = lasts.unwrap_or(self.inventory.now().reservations.default);
        if let Some(refusal) = self.too_long(delivery, "reserve", target, lasts) {
            return Ok(refusal);
        }
        let named = board.as_ref().map(|board| &board.id);
        let row = match named {
            Some(board) => self.store.board_list().await?.into_iter().find(|row| row.id == *board),
            None => None,
        };
        let lease = row.as_ref().and_then(|row| row.lease.as_ref());
        if let Some(lease) = lease.filter(|lease| lease.is_held_by(&delivery.actor)) {
            return Ok(Reaction::says(self.yours(delivery, lease)));
        }
        let wish = Reservation {
            id: LeaseId::new(&self.ids, delivery.received_at),
            by: delivery.actor.clone(),
            family,
            board: named.cloned(),
            lasts,
            reason: reason.to_owned(),
            asked_at: delivery.received_at,
            place: i64::MAX,
        };
        let before = self.wishes(delivery).await?.into_iter().find(|before| wish.is_the_same(before));
        let replaced = before.as_ref().map_or(InsteadOf::Nothing, |before| InsteadOf::Place(before.id));
        let hours = match self.hours_with(delivery, lasts, replaced).await? {
            Ok(hours) => hours,
            Err(refusal) => return Ok(*refusal),
        };
        let is_known = self.queue_is_read().await && !self.inventory.standing().differs;
        let site = self.site_named(site);
        let closed = match &board {
            Some(board) => self.closed(board).await?,
            None => None,
        };
        // Whoever may drain a board is who works on it while it does.
        let anyway = closed.is_some() && self.is_operator(delivery);
        let lab = self.inventory.now();
        let (foreseen, mut choices, drains_seen) = {
            let (mut queue, now) = (self.queue.lock(), self.clock.now());
            let standing = before.as_ref().and_then(|before| queue.standing(as_run(before.id), now));
            let foreseen = standing.unwrap_or_else(|| queue.foresee(wish_queued(wish.clone(), &lab), now));
            let choices = queue.choices(wish_queued(wish.clone(), &lab), site.as_ref());
            (foreseen, choices, (!anyway).then(|| self.queue.drains_seen()))
        };
        // Nobody is given a quarantined board in the queue; who asks for it by its name wants to look at it, and hears why.
        let out = row.as_ref().and_then(out_of_service);
        let is_theirs = |row: &BoardRow| anyway || closed.is_none() && row.health == Health::Quarantined;
        let broken = row.filter(|row| row.lease.is_none() && is_theirs(row)).map(|row| row.id);
        // The scheduler grants nothing either while another lab file is in force.
        if choices.is_empty() {
            choices.extend(broken);
        }
        // Whoever is in line has their turn there; nobody ever has it for a board that drains.
        if before.is_some() && !anyway || !is_known {
            choices.clear();
        }
        let mut waits = foreseen_facts(&foreseen);
        let asked = json!({
            "wanted": named.map_or(wish.family.as_str(), BoardId::as_str), "lasts_s": lasts.as_secs_f64(), "reason": reason,
            "lease": before.as_ref().map_or(wish.id, |before| before.id),
        });
        extend_with(&mut waits, asked);
        let queued = Note::new("reserve-queued", waits);
        let target = format!(
            "{} {} {reason}",
            named.map_or(wish.family.as_str(), BoardId::as_str),
            shown_duration(lasts)
        );
        let at_once = choices.into_iter().map(|board| {
            let mut reserved = self.reserved(delivery, &board, lasts, reason);
            reserved.facts.insert("hours".into(), hours.clone());
            reserved.facts.insert("out".into(), json!(out));
            (board, reserved)
        });
        let at_once = at_once.collect();
        let most = self.inventory.now().reservations.most;
        let with = |name: &str| {
            let mut note = queued.clone();
            note.facts.insert(name.to_owned(), json!(true));
            note.facts.insert("most".into(), json!(most));
            note
        };
        Ok(Reaction {
            answer: queued.clone(),
            instead: vec![
                ("already-waiting", with("already")),
                ("too-many", with("too_many")),
                ("not-theirs", with("not_taken")),
                ("queued", queued),
            ],
            audit: audit("reserve", target.trim_end().to_owned()),
            effect: Effect::Reserve { wish, at_once, or_wait, most, drains_seen, instance: self.instance },
        })
    }

    /// The site of that name, where there is one.
    fn site_named(&self, name: Option<&str>) -> Option<Site> {
        let lab = self.inventory.now();
        let mut sites = lab.boards.values().map(|board| &board.site);
        name.and_then(|name| sites.find(|site| site.as_str().eq_ignore_ascii_case(name))).cloned()
    }

    /// Whether the scheduler has read the change log once: before, every board looks free. That takes it a moment after
    /// the start of the server.
    async fn queue_is_read(&self) -> bool {
        let read = async {
            while self.queue.read_to().is_none() {
                self.clock.sleep(QUEUE_LOOK).await;
            }
        };
        self.clock.timeout(QUEUE_READ_WITHIN, read).await.is_ok()
    }

    /// Lets somebody keep their board for longer.
    pub(super) async fn extend(
        &self,
        delivery: &Delivery,
        board: Option<&str>,
        by: Option<Duration>,
    ) -> Result<Reaction> {
        let lease = match self.their_lease(delivery, board, "extend").await? {
            Ok(lease) => lease,
            Err(refusal) => return Ok(*refusal),
        };
        self.extended(delivery, &lease, by.unwrap_or(EXTEND_BY), None).await
    }

    /// Whether whoever asks is an operator.
    pub(super) fn is_operator(&self, delivery: &Delivery) -> bool {
        permits::role(delivery, &self.groups_of(delivery), &self.inventory.now()) >= Some(Role::Operator)
    }

    /// `from` is until when the board was theirs when the button was drawn that they press.
    async fn extended(
        &self,
        delivery: &Delivery,
        lease: &Lease,
        by: Duration,
        from: Option<Timestamp>,
    ) -> Result<Reaction> {
        let closed = match self.inventory.now().board(lease.board.as_str()) {
            Some(board) => self.closed(board).await?,
            None => None,
        };
        // Somebody waits to work on it.
        if let Some(closed) = closed.filter(|_| !self.is_operator(delivery)) {
            let mut facts = closed_facts(&closed);
            facts["board"] = json!(lease.board);
            facts["held_until"] = json!(lease.expires_at);
            return Ok(Reaction::says(Note::new("extend-drains", facts)));
        }
        let longest = self.longest(delivery);
        let mut facts = self.facts_of(delivery, lease);
        let asked_until = lease.ends_at().max(delivery.received_at) + by;
        let is_cut = asked_until > lease.granted_at + longest;
        let more = asked_until.min(lease.granted_at + longest).since(lease.ends_at());
        let hours = match self.hours_with(delivery, more, InsteadOf::Nothing).await? {
            Ok(hours) => hours,
            Err(refusal) => return Ok(*refusal),
        };
        extend_with(&mut facts, json!({ "longest_s": longest.as_secs_f64(), "cut": is_cut, "hours": hours }));
        Ok(Reaction {
            answer: Note::new("hold-extended", &facts),
            instead: vec![
                ("at-most", Note::new("hold-at-most", &facts)),
                ("already-extended", Note::new("hold-already-extended", &facts)),
                ("not-theirs", Note::new("hold-gone", json!({ "board": lease.board }))),
            ],
            audit: audit("extend", format!("{} {}", lease.board, shown_duration(by))),
            effect: Effect::Extend {
                board: lease.board.clone(),
                fence: Some(lease.fence),
                by,
                longest,
                from,
            },
        })
    }

    /// Gives a board back, or a place in line.
    pub(super) async fn release(&self, delivery: &Delivery, target: Option<&str>) -> Result<Reaction> {
        let mut wishes = self.wishes(delivery).await?.into_iter();
        let leases = self.store.lease_list().await?;
        let (board, family) = match target.map(|target| (target, self.target_named(delivery, target))) {
            None => (None, None),
            Some((_, Ok(Target::Board(board)))) => (Some(board.id), None),
            Some((_, Ok(Target::Family(family)))) => (None, Some(family)),
            // Somebody may have a board still that has left boards.yaml.
            Some((name, Err(refusal))) => match leases.iter().find(|lease| is_held_as(lease, name)) {
                Some(lease) => (Some(lease.board.clone()), None),
                None => return Ok(*refusal),
            },
        };
        let wish = wishes.find(|wish| match (&board, &family) {
            (Some(board), _) => wish.board.as_ref() == Some(board),
            (None, Some(family)) => wish.family == *family && wish.board.is_none(),
            (None, None) => true,
        });
        let lab = self.inventory.now();
        let is_meant = |lease: &&Lease| match (&board, &family) {
            (Some(board), _) => lease.board == *board,
            (None, Some(family)) => lab.boards.get(&lease.board).is_some_and(|board| board.family == *family),
            (None, None) => true,
        };
        let held: Vec<&Lease> = leases.iter().filter(|lease| lease.hold.is_some()).filter(is_meant).collect();
        let theirs: Vec<&Lease> =
            held.iter().copied().filter(|lease| lease.is_held_by(&delivery.actor)).collect();
        // What they have, then what they wait for; somebody else's board is taken only by its name.
        Ok(match (theirs.as_slice(), wish, held.as_slice()) {
            ([lease], ..) => self.released(delivery, lease).await?,
            ([], Some(wish), _) => unreserved(delivery, &wish),
            ([], None, [lease]) if board.is_some() => self.released(delivery, lease).await?,
            ([], None, _) => not_held(board.as_ref(), &leases),
            (many, ..) => which(many, "release"),
        })
    }

    /// Gives back what a program names by its id: this lease or place in line, and no other of the same board.
    pub(super) async fn release_this(
        &self,
        delivery: &Delivery,
        id: LeaseId,
        undone: Vec<String>,
    ) -> Result<Reaction> {
        let mut reaction = match self.store.lease_view(id).await? {
            Some(LeaseView::Waiting(wish)) => unreserved(delivery, &wish),
            Some(LeaseView::Lease(lease, None)) if lease.hold.is_some() => {
                self.released(delivery, &lease).await?
            }
            Some(LeaseView::Lease(lease, None)) => not_held(Some(&lease.board), &[*lease.clone()]),
            Some(LeaseView::Lease(..)) | None => not_held(None, &[]),
        };
        if let Effect::Unreserve { undoes, .. } | Effect::Release { undoes, .. } = &mut reaction.effect {
            *undoes = undone;
        }
        Ok(reaction)
    }

    /// What whoever asks waits for.
    pub(super) async fn wishes(&self, delivery: &Delivery) -> Result<Vec<Reservation>> {
        let mut wishes = self.store.reservation_list().await?;
        wishes.retain(|wish| wish.by.key() == delivery.actor.key());
        Ok(wishes)
    }

    /// The families of the boards that whoever asks has.
    pub(super) async fn families_held(&self, delivery: &Delivery) -> Result<Vec<String>> {
        let (lab, leases) = (self.inventory.now(), self.store.lease_list().await?);
        let held = leases.iter().filter(|lease| lease.is_held_by(&delivery.actor));
        let families = held.filter_map(|lease| lab.board(lease.board.as_str())).map(|board| &board.family);
        Ok(families.map(ToString::to_string).collect())
    }

    /// Whether somebody else has the board of that name, also one that is in no file any more.
    pub(super) async fn is_held_by_other(&self, delivery: &Delivery, name: &str) -> Result<bool> {
        let leases = self.store.lease_list().await?;
        Ok(leases.iter().any(|lease| is_held_as(lease, name) && !lease.is_held_by(&delivery.actor)))
    }

    async fn released(&self, delivery: &Delivery, lease: &Lease) -> Result<Reaction> {
        let rows = self.store.board_list().await?;
        let out = rows.iter().find(|row| row.id == lease.board).and_then(out_of_service);
        let facts = self.facts_of(delivery, lease);
        let theirs = lease.is_held_by(&delivery.actor);
        let taken = || {
            let mut facts = facts.clone();
            extend_with(&mut facts, json!({ "taken_by": delivery.actor }));
            Note::new("hold-over", facts)
        };
        let mut said = json!({ "board": lease.board, "holder": lease.holder });
        extend_with(&mut said, json!({ "theirs": theirs, "out": out }));
        Ok(Reaction {
            answer: Note::new("hold-released", &said),
            instead: vec![("not-theirs", Note::new("hold-gone", json!({ "board": lease.board })))],
            audit: audit("release", lease.board.to_string()),
            effect: Effect::Release {
                board: lease.board.clone(),
                fence: Some(lease.fence),
                others: (!theirs).then(taken),
                rest: LeaseId::new(&self.ids, delivery.received_at),
                undoes: vec![],
            },
        })
    }

    /// A button about a board that somebody has.
    pub(super) async fn click_hold(&self, delivery: &Delivery, click: &Click) -> Result<Reaction> {
        if let (Verb::Notify, Some(board)) = (click.verb, &click.board) {
            let command = Command::Notify { target: board.to_string() };
            return self.command(delivery, command).await;
        }
        if matches!(click.verb, Verb::PowerAnyway | Verb::Leave) {
            return Box::pin(self.click_over(delivery, click)).await;
        }
        let Some(lease) = self.lease_of_button(click).await? else {
            return Ok(Reaction::says(Note::new("hold-gone", json!({ "board": click.board }))));
        };
        let lease = &lease;
        let theirs = lease.is_held_by(&delivery.actor);
        let switch = match click.verb {
            Verb::PowerCycle => Some(PowerAction::Cycle),
            Verb::PowerOff => Some(PowerAction::Off),
            _ => None,
        };
        let command = switch.clone().map(|action| Command::Power { board: lease.board.to_string(), action });
        let asked = command.as_ref().map_or(Asked::Click(click.verb), Asked::Command);
        let family = self.family_known_as(lease.board.as_str());
        let family = family.as_ref().map(Family::as_str);
        let because =
            match self.permission_about(asked, delivery, About { own_run: false, own_board: theirs, family })
            {
                Permission::Allowed { because } => because,
                Permission::Denied(denial) => {
                    return Ok(self.denied(delivery, click.verb.as_str(), lease.board.to_string(), &denial));
                }
            };
        let mut reaction = match (click.verb, switch, self.inventory.now().board(lease.board.as_str())) {
            (Verb::Extend, ..) if theirs => self.extended(delivery, lease, EXTEND_BY, click.at).await?,
            (Verb::Release, ..) => self.released(delivery, lease).await?,
            (Verb::Nudge, ..) if !theirs => self.nudged(delivery, lease),
            (Verb::Accept, ..) => self.accepted_offer(delivery, lease).await?,
            (_, Some(action), Some(board)) => self.switch(delivery, board, action, None).await?,
            _ => Reaction::says(Note::new("hold-gone", json!({ "board": lease.board }))),
        };
        if !matches!(reaction.effect, Effect::None) {
            reaction.audit.allowed = true;
            reaction.audit.reason = because;
        }
        Ok(reaction)
    }

    /// Whether a command is about the board that whoever gives it has; giving back what nobody else has is.
    pub(super) async fn is_about_own_board(&self, delivery: &Delivery, command: &Command) -> Result<bool> {
        let (name, gives_back) = match command {
            Command::Power { board, .. } => (board, false),
            Command::Release { lease: Some(lease), .. } => {
                return Ok(match self.store.lease_view(*lease).await? {
                    Some(LeaseView::Waiting(wish)) => wish.by.key() == delivery.actor.key(),
                    Some(LeaseView::Lease(lease, _)) => lease.is_held_by(&delivery.actor),
                    None => true,
                });
            }
            Command::Release { target: Some(target), .. } => (target, true),
            Command::Release { target: None, .. } => return Ok(true),
            _ => return Ok(false),
        };
        let is_named = |board: &BoardId| board.as_str().eq_ignore_ascii_case(name);
        let leases = self.store.lease_list().await?;
        let held = leases.iter().find(|lease| is_held_as(lease, name));
        if !gives_back || held.is_some_and(|lease| lease.is_held_by(&delivery.actor)) {
            return Ok(held.is_some_and(|lease| lease.is_held_by(&delivery.actor)));
        }
        let waits = self.wishes(delivery).await?;
        Ok(held.is_none() || waits.iter().any(|wish| wish.board.as_ref().is_some_and(is_named)))
    }

    /// The board that a run of whoever asks names, where it is their own.
    pub(super) async fn own_board(&self, delivery: &Delivery, spec: &RunSpec) -> Result<Option<Lease>> {
        let Some(board) = spec.selector.board.as_ref().filter(|_| spec.boards == 1) else { return Ok(None) };
        let leases = self.store.lease_list().await?;
        Ok(leases.into_iter().find(|lease| lease.board == *board && lease.is_held_by(&delivery.actor)))
    }

    /// The one lease that somebody means of those that they have.
    pub(super) async fn their_lease(
        &self,
        delivery: &Delivery,
        board: Option<&str>,
        verb: &str,
    ) -> Result<std::result::Result<Lease, Box<Reaction>>> {
        let board = match board.map(|name| self.board_named(delivery, name)) {
            None => None,
            Some(Ok(board)) => Some(board.id),
            Some(Err(refusal)) => return Ok(Err(refusal)),
        };
        let leases = self.store.lease_list().await?;
        let meant = |lease: &&Lease| {
            lease.is_held_by(&delivery.actor) && board.as_ref().is_none_or(|board| *board == lease.board)
        };
        let theirs: Vec<&Lease> = leases.iter().filter(meant).collect();
        Ok(match theirs.as_slice() {
            [lease] => Ok((*lease).clone()),
            [] => Err(Box::new(not_held(board.as_ref(), &leases))),
            many => Err(Box::new(which(many, verb))),
        })
    }

    /// How long whoever asks may have a board in all.
    fn longest(&self, delivery: &Delivery) -> Duration {
        let lab = self.inventory.now();
        match permits::role(delivery, &self.groups_of(delivery), &lab) {
            Some(Role::Admin) => lab.reservations.admin,
            Some(Role::Operator) => lab.reservations.operator,
            Some(Role::User) | None => lab.reservations.user,
        }
    }

    pub(super) fn too_long(
        &self,
        delivery: &Delivery,
        verb: &str,
        target: &str,
        lasts: Duration,
    ) -> Option<Reaction> {
        let longest = self.longest(delivery);
        if lasts <= longest {
            return None;
        }
        let reason = format!(
            "you may have a board for {} at most, and {} is longer",
            shown_duration(longest),
            shown_duration(lasts)
        );
        let next = format!("/lab {verb} {target} {}", shown_duration(longest));
        let audit = Audit { reason, ..audit(verb, format!("{target} {}", shown_duration(lasts))) };
        let facts = json!({ "longest_s": longest.as_secs(), "asked_s": lasts.as_secs() });
        Some(Reaction { audit, ..Reaction::refused(Phrase::new("held-too-long", facts), &[], next) })
    }

    /// A refusal where no board that is meant is driven from here.
    pub(super) fn driven_elsewhere(&self, family: &Family, board: Option<&Board>) -> Option<Reaction> {
        let lab = self.inventory.now();
        let all_remote = match board {
            Some(board) => lab.is_remote(board),
            None => lab.boards_of(family).all(|board| lab.is_remote(board)),
        };
        let name = board.map_or(family.as_str(), |board| board.id.as_str());
        all_remote.then(|| {
            let reason = Phrase::new("remote-board", json!({ "board": name, "site": null }));
            Reaction::refused(reason, &[], format!("/lab boards {family}"))
        })
    }

    /// A board or a family by its name.
    pub(super) fn target_named(
        &self,
        delivery: &Delivery,
        name: &str,
    ) -> std::result::Result<Target, Box<Reaction>> {
        let lab = self.inventory.now();
        if let Some(family) = lab.families.keys().find(|family| family.as_str().eq_ignore_ascii_case(name)) {
            return Ok(Target::Family(family.clone()));
        }
        if let Some(board) = lab.boards.values().find(|board| board.id.as_str().eq_ignore_ascii_case(name)) {
            return Ok(Target::Board(Box::new(board.clone())));
        }
        let known = lab.families.keys().map(|f| f.as_str()).chain(lab.boards.keys().map(|b| b.as_str()));
        let near = grammar::near(name, known).map(str::to_owned);
        let next = near.as_ref().and_then(|near| put_right(delivery, &[(name.to_owned(), near.clone())]));
        Err(Box::new(Reaction::refused(
            Phrase::new("no-family-or-board", json!({ "name": name })),
            &near.into_iter().collect::<Vec<_>>(),
            next.unwrap_or_else(|| "/lab boards".to_owned()),
        )))
    }

    /// What is said when a board is somebody's at once; the store adds the fence.
    pub(super) fn reserved(
        &self,
        delivery: &Delivery,
        board: &BoardId,
        lasts: Duration,
        reason: &str,
    ) -> Note {
        let lab = self.inventory.now();
        let until = delivery.received_at + lasts;
        Note::new("reserved", hold_facts(board, lab.board(board.as_str()), &delivery.actor, until, reason))
    }

    /// What is said to somebody who asks for what they have.
    pub(super) fn yours(&self, delivery: &Delivery, lease: &Lease) -> Note {
        let mut facts = self.facts_of(delivery, lease);
        extend_with(&mut facts, json!({ "already": true }));
        Note::new("reserved", facts)
    }

    pub(super) fn facts_of(&self, delivery: &Delivery, lease: &Lease) -> Value {
        let lab = self.inventory.now();
        let by = match &lease.holder {
            Holder::Person(by) => by,
            Holder::Run { .. } | Holder::Check(_) => &delivery.actor,
        };
        let reason = lease.hold.as_ref().map(|hold| hold.reason.as_str()).unwrap_or_default();
        let mut facts =
            hold_facts(&lease.board, lab.board(lease.board.as_str()), by, lease.expires_at, reason);
        extend_with(&mut facts, json!({ "fence": lease.fence, "lease": lease.id }));
        facts
    }
}

/// What is said to whoever wants to change a board that is somebody else's.
pub(super) fn hold_in_the_way(template: &str, lease: &Lease) -> Note {
    let hold = lease.hold.as_ref();
    Note::new(
        template,
        json!({
            "board": lease.board, "fence": lease.fence, "reason": "held", "holder": lease.holder,
            "until": hold.map(|_| lease.expires_at), "why": hold.map(|hold| &hold.reason),
        }),
    )
}

/// Whether somebody has the board of that name.
fn is_held_as(lease: &Lease, name: &str) -> bool {
    lease.hold.is_some() && lease.board.as_str().eq_ignore_ascii_case(name)
}

fn unreserved(delivery: &Delivery, wish: &Reservation) -> Reaction {
    let wanted = wish.board.as_ref().map_or(wish.family.as_str(), BoardId::as_str);
    let facts = json!({ "wanted": wanted });
    let theirs = wish.by.key() == delivery.actor.key();
    let taken = || Note::new("unreserved", json!({ "wanted": wanted, "taken_by": delivery.actor }));
    Reaction {
        answer: Note::new("unreserved", &facts),
        instead: vec![("not-theirs", Note::new("unreserved", json!({ "wanted": wanted, "gone": true })))],
        audit: audit("release", wanted.to_owned()),
        effect: Effect::Unreserve { reservation: wish.id, others: (!theirs).then(taken), undoes: vec![] },
    }
}

/// A refusal to somebody who does not have what they mean.
pub(super) fn not_held(board: Option<&BoardId>, leases: &[Lease]) -> Reaction {
    let Some(board) = board else {
        return Reaction::refused(Phrase::new("nothing-held", json!({})), &[], "/lab boards");
    };
    let holder = leases.iter().find(|lease| lease.board == *board).map(|lease| &lease.holder);
    match holder {
        Some(Holder::Run { number, .. }) => {
            let reason = Phrase::new("run-has-board", json!({ "number": number, "board": board }));
            Reaction::refused(reason, &[], format!("/lab cancel {number}"))
        }
        Some(Holder::Person(by)) => {
            let reason = Phrase::new("not-yours", json!({ "board": board, "by": by }));
            Reaction::refused(reason, &[], format!("/lab board {board}"))
        }
        Some(Holder::Check(_)) | None => Reaction::refused(
            Phrase::new("nobody-has-board", json!({ "board": board })),
            &[],
            format!("/lab reserve {board}"),
        ),
    }
}

/// A refusal to somebody who has several boards and names none.
fn which(leases: &[&Lease], verb: &str) -> Reaction {
    let names: Vec<&str> = leases.iter().map(|lease| lease.board.as_str()).collect();
    let next = format!("/lab {verb} {}", names[0]);
    Reaction::refused(Phrase::new("say-which-board", json!({ "boards": names })), &[], next)
}

fn extend_with(facts: &mut Value, more: Value) {
    if let (Some(facts), Value::Object(more)) = (facts.as_object_mut(), more) {
        facts.extend(more);
    }
}

/// Why a board is out of service, where it is.
fn out_of_service(row: &BoardRow) -> Option<String> {
    (row.health == Health::Quarantined).then(|| row.reason.clone())
}
