//! Campaigns in the store: a step is written once, under the version that was read; what is asked ends what it started.

use boardhand::board::BoardId;
use boardhand::campaign::{Asked, Campaign, LIVE_MAX, Phase, Plan, Planned, State, Terms};
use boardhand::chat::Place;
use boardhand::message::Note;
use boardhand::outcome::Verdict;
use boardhand::store::{
    CampaignEffect, Committed, Effect, End, MessageEnd, NewRun, Owed, OwedKind, TidyFrom, Told,
};

use super::lab::{Lab, at, channel, effected, li, number, outcome, spec};
use super::store_tests;

store_tests! {
    a_step_is_written_once_and_tells_nobody_where_it_comes_too_late,
    what_is_asked_is_guarded_by_its_state_and_ends_what_waits,
    what_a_step_of_the_same_commit_starts_ends_with_its_campaign,
    the_same_is_begun_once_and_two_never_work_against_each_other,
    what_was_over_long_ago_is_forgotten_and_its_runs_stay,
    a_plan_is_read_once_however_often_campaigns_are_listed,
    one_that_cannot_be_read_keeps_no_other_from_beginning,
    a_button_that_is_drawn_on_an_older_state_does_nothing,
    a_campaigns_card_comes_with_its_first_run_and_follows_the_campaign_alone,
}

fn plan() -> Plan {
    let planned = || (0..3).map(|target| Planned { target, spec: spec() }).collect();
    Plan {
        name: "rollout".into(),
        build: "build-1".into(),
        targets: vec!["a".into(), "b".into(), "c".into()],
        runs: planned(),
        rollback: planned(),
        terms: Terms::default(),
        cards: vec![channel()],
    }
}

fn told() -> Note {
    Note::new("campaign-steered", serde_json::json!({}))
}

async fn campaign(lab: &Lab, effect: CampaignEffect) -> Committed {
    lab.commit(Effect::Campaign(Box::new(effect))).await
}

async fn begun(lab: &Lab) -> Campaign {
    let committed =
        campaign(lab, CampaignEffect::Begin { plan: plan(), origin: channel(), once: None }).await;
    lab.store.campaign_view(number(&committed.answer)).await.expect("read").expect("there").campaign
}

fn child(lab: &Lab, place: usize) -> (Phase, usize, NewRun) {
    let once = Some(format!("campaign:1:forward:{place}"));
    (Phase::Forward, place, NewRun { once, cards: vec![], ..lab.new_run() })
}

async fn a_step_is_written_once_and_tells_nobody_where_it_comes_too_late(lab: &Lab) {
    let first = begun(lab).await;
    let then = Campaign { version: first.version + 1, ..first.clone() };
    let step = |places: &[usize]| CampaignEffect::Step {
        then: then.clone(),
        starts: places.iter().map(|place| child(lab, *place)).collect(),
        told: Some(Note::new("campaign-wave", serde_json::json!({}))),
    };
    assert_eq!(effected(&campaign(lab, step(&[0, 1])).await), "done");
    let late = lab.intake(Effect::Campaign(Box::new(step(&[2]))));
    assert_eq!(effected(&lab.store.commit(late).await.expect("committed")), "unchanged");
    let view = lab.store.campaign_view(first.number).await.expect("read").expect("there");
    assert_eq!((view.children.len(), view.campaign.version), (2, 1));
    let owed = lab.store.message_due(at(5), 10).await.expect("messages");
    assert!(owed.is_empty(), "{owed:?}");
}

async fn what_is_asked_is_guarded_by_its_state_and_ends_what_waits(lab: &Lab) {
    let first = begun(lab).await;
    let then = Campaign { version: 1, ..first.clone() };
    campaign(lab, CampaignEffect::Step { then, starts: vec![child(lab, 0)], told: None }).await;
    let ask = |asked| CampaignEffect::Ask {
        number: first.number,
        seen: None,
        asked,
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        // What it started ends with it, whoever may end nothing of others.
        theirs: Some(vec!["slack:U0NOBODY".into()]),
        told: told(),
    };
    assert_eq!(effected(&campaign(lab, ask(Asked::Resume)).await), "unchanged");
    assert_eq!(effected(&campaign(lab, ask(Asked::Pause)).await), "done");
    assert_eq!(effected(&campaign(lab, ask(Asked::Cancel)).await), "done");
    let view = lab.store.campaign_view(first.number).await.expect("read").expect("there");
    assert_eq!((view.campaign.state, view.children[0].verdict), (State::Cancelled, Some(Verdict::Cancelled)));
    assert_eq!(lab.store.campaign_list(None).await.expect("read"), []);
    assert_eq!(lab.store.campaign_list(Some(5)).await.expect("read"), [view]);
}

async fn what_a_step_of_the_same_commit_starts_ends_with_its_campaign(lab: &Lab) {
    let first = begun(lab).await;
    let then = Campaign { version: 1, ..first.clone() };
    let step = CampaignEffect::Step { then, starts: vec![child(lab, 0), child(lab, 1)], told: None };
    let cancel = CampaignEffect::Ask {
        number: first.number,
        seen: None,
        asked: Asked::Cancel,
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        theirs: None,
        told: told(),
    };
    let commit = |effect| lab.store.commit(lab.intake(effect));
    let campaign = |effect| commit(Effect::Campaign(Box::new(effect)));
    // While the first is on its way to the disk, the others queue, and are committed together.
    let (before, step, cancel, after) = tokio::join!(
        commit(Effect::Start(vec![lab.new_run()])),
        campaign(step),
        campaign(cancel),
        commit(Effect::Start(vec![lab.new_run()])),
    );
    let numbers: Vec<i64> = [&before, &after]
        .iter()
        .map(|started| number(&started.as_ref().expect("committed").answer))
        .collect();
    assert_eq!(numbers, [1, 4], "each has its own");
    assert_eq!(effected(&step.expect("committed")), "done");
    assert_eq!(effected(&cancel.expect("committed")), "done");
    let view = lab.store.campaign_view(first.number).await.expect("read").expect("there");
    let verdicts: Vec<_> = view.children.iter().map(|child| child.verdict).collect();
    assert_eq!((view.campaign.state, verdicts), (State::Cancelled, vec![Some(Verdict::Cancelled); 2]));
}

/// Begins one of that name and build; gives what came of it and a number.
async fn begin(lab: &Lab, name: &str, build: &str, once: Option<&str>) -> (String, i64) {
    let plan = Plan { name: name.into(), build: build.into(), ..plan() };
    let once = once.map(str::to_owned);
    let committed = campaign(lab, CampaignEffect::Begin { plan, origin: channel(), once }).await;
    (effected(&committed).to_owned(), number(&committed.answer))
}

fn said(effected: &str, number: i64) -> (String, i64) {
    (effected.to_owned(), number)
}

async fn the_same_is_begun_once_and_two_never_work_against_each_other(lab: &Lab) {
    assert_eq!(begin(lab, "rollout", "build-1", Some("ci-1")).await, said("done", 1));
    assert_eq!(begin(lab, "rollout", "build-1", Some("ci-1")).await, said("already-started", 1));
    assert_eq!(begin(lab, "rollout", "build-1", None).await, said("in-the-way", 1));
    assert_eq!(begin(lab, "rollout", "build-2", None).await, said("done", 2), "it names no boards");
    let mut on_boards = plan();
    on_boards.build = "build-3".into();
    on_boards.runs[0].spec.selector.board = Some(BoardId::new("soc-a-001"));
    let effect = CampaignEffect::Begin { plan: on_boards, origin: channel(), once: None };
    assert_eq!(effected(&campaign(lab, effect).await), "in-the-way");
    for n in 2..LIVE_MAX {
        assert_eq!(begin(lab, &format!("other-{n}"), "build-1", None).await.0, "done");
    }
    assert_eq!(begin(lab, "one-more", "build-1", None).await.0, "too-many");
}

async fn what_was_over_long_ago_is_forgotten_and_its_runs_stay(lab: &Lab) {
    let first = begun(lab).await;
    let then = first.moved_to(State::Running);
    let mut starts = vec![child(lab, 0)];
    starts[0].2.cards = vec![channel()];
    campaign(lab, CampaignEffect::Step { then, starts, told: None }).await;
    let cancel = |number| CampaignEffect::Ask {
        number,
        seen: None,
        asked: Asked::Cancel,
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        theirs: None,
        told: told(),
    };
    let tidied = async || {
        let outdated = super::tidy::before(lab, 1).await;
        lab.store.tidy(&outdated, TidyFrom::default(), 250).await.expect("tidy");
        let left = lab.store.campaign_list(Some(9)).await.expect("read");
        left.iter().map(|view| view.campaign.number).collect::<Vec<_>>()
    };
    assert_eq!(tidied().await, [1], "it goes on");
    assert_eq!(effected(&campaign(lab, cancel(1)).await), "done");
    assert_eq!(tidied().await, [1], "the newest stays, so that its number does not come again");
    let second = begun(lab).await;
    assert_eq!(tidied().await, [second.number]);
    assert!(lab.store.run_view(1).await.expect("read").is_some());
    assert_eq!(effected(&campaign(lab, cancel(1)).await), "unchanged");
}

async fn a_plan_is_read_once_however_often_campaigns_are_listed(lab: &Lab) {
    let first = begun(lab).await;
    let live = lab.store.campaign_list(None).await.expect("read");
    let dir = lab.dir.as_ref().expect("a lab of its own").path();
    crate::lab::look::tamper(dir, "UPDATE campaigns SET plan = '{'").await;
    assert_eq!(lab.store.campaign_list(None).await.expect("read"), live);
    assert_eq!(live[0].campaign, first);
}

async fn one_that_cannot_be_read_keeps_no_other_from_beginning(lab: &Lab) {
    assert_eq!(begin(lab, "rollout", "build-1", None).await, said("done", 1));
    lab.commit(Effect::Start(vec![lab.new_run()])).await;
    let dir = lab.dir.as_ref().expect("a lab of its own").path();
    crate::lab::look::tamper(dir, "UPDATE campaigns SET plan = '{'; UPDATE events SET facts = '{'").await;
    assert_eq!(begin(lab, "rollout", "build-2", None).await, said("done", 2));
    assert_eq!(begin(lab, "rollout", "build-2", None).await, said("in-the-way", 2));
    let live = lab.store.campaign_list(None).await.expect("read");
    assert_eq!(live.iter().map(|view| view.campaign.number).collect::<Vec<_>>(), [2]);
    let steps = lab.store.run_steps(1, 0, 5).await.expect("read");
    assert_eq!(
        steps.iter().map(|step| (step.kind.as_str(), step.stage.as_deref())).collect::<Vec<_>>(),
        [("accepted", None)]
    );
}

async fn a_button_that_is_drawn_on_an_older_state_does_nothing(lab: &Lab) {
    let first = begun(lab).await;
    let ask = |seen, asked| CampaignEffect::Ask {
        number: first.number,
        seen: Some(seen),
        asked,
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        theirs: None,
        told: told(),
    };
    assert_eq!(effected(&campaign(lab, ask(0, Asked::Pause)).await), "done");
    assert_eq!(effected(&campaign(lab, ask(0, Asked::Resume)).await), "unchanged");
    assert_eq!(effected(&campaign(lab, ask(1, Asked::Resume)).await), "done");
    assert_eq!(effected(&campaign(lab, ask(1, Asked::Pause)).await), "unchanged");
}

/// What is owed about cards: campaign, run and revision of each, and whether it is over.
async fn cards(lab: &Lab) -> Vec<(Option<i64>, i64, i64, bool)> {
    let owed = lab.store.message_due(at(5), 10).await.expect("messages");
    let card = |owed: &Owed| match &owed.kind {
        OwedKind::Card { run, campaign, revision, last, .. } => Some((*campaign, *run, *revision, *last)),
        OwedKind::Reply { .. } | OwedKind::Answer { .. } => None,
    };
    owed.iter().filter_map(card).collect()
}

async fn a_campaigns_card_comes_with_its_first_run_and_follows_the_campaign_alone(lab: &Lab) {
    let first = begun(lab).await;
    assert_eq!(cards(lab).await, [], "nothing runs yet");
    let then = first.moved_to(State::Running);
    let mut starts = vec![child(lab, 0), child(lab, 1)];
    starts[0].2.cards = vec![channel()];
    campaign(lab, CampaignEffect::Step { then, starts, told: None }).await;
    assert_eq!(cards(lab).await, [(Some(1), 1, 1, false)]);
    let owed = lab.store.message_due(at(5), 10).await.expect("messages").remove(0);
    let sent = End::Sent { message: "170.0".into(), revision: 1 };
    lab.store.message_end(&[MessageEnd { id: owed.id, end: sent }], at(5)).await.expect("written");
    let card = Place { thread: Some("170.0".into()), ..channel() };
    assert_eq!(lab.store.run_of_thread(&card).await.expect("read"), Some(Told::Campaign(1)));
    // A change of the run that it stands under is none of its own.
    let cancel =
        Effect::Cancel { run: 1, by: li(), outcome: outcome(Verdict::Cancelled, "cancelled"), note: told() };
    lab.commit(cancel).await;
    assert_eq!(lab.store.message_due(at(5), 10).await.expect("messages"), []);
    lab.store.campaign_redraw(1, at(5)).await.expect("written");
    assert_eq!(cards(lab).await, [(Some(1), 1, 2, false)]);
    let cancel = CampaignEffect::Ask {
        number: 1,
        seen: None,
        asked: Asked::Cancel,
        outcome: outcome(Verdict::Cancelled, "cancelled"),
        theirs: None,
        told: told(),
    };
    campaign(lab, cancel).await;
    let owed = lab.store.message_due(at(5), 10).await.expect("messages");
    assert_eq!(cards(lab).await, [(Some(1), 1, 3, true)]);
    let replies = owed.iter().filter_map(|owed| match &owed.kind {
        OwedKind::Reply { place, note, .. } => Some((place.thread.clone(), note.template.clone())),
        OwedKind::Card { .. } | OwedKind::Answer { .. } => None,
    });
    assert_eq!(replies.collect::<Vec<_>>(), [(Some("170.0".to_owned()), "campaign-steered".to_owned())]);
}
