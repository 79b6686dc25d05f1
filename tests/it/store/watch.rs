//! Who is told of runs by direct message: with the outcome, once, and no more than one may watch.

use boardhand::board::Family;
use boardhand::chat::{Actor, Badge, Place, Platform};
use boardhand::id::MessageId;
use boardhand::message::Note;
use boardhand::outcome::Verdict;
use boardhand::run::Decision;
use boardhand::store::{
    AtRest, BadgeRow, CardLink, DigestRow, Effect, End, LinkAsked, LinkRow, MessageEnd, NewRun, OwedKind,
    Settle, WATCHED, WATCHES_MAX, Watched,
};
use serde_json::json;

use super::lab::{T0, at, effected, li, outcome};
use super::{Lab, store_tests};

store_tests! {
    an_end_is_told_to_whoever_watches_the_run_or_its_family,
    a_family_is_told_of_what_went_wrong_alone,
    nobody_watches_more_than_they_may_nor_what_has_ended,
    what_is_not_watched_any_more_is_not_told,
    who_has_two_ids_watches_as_one,
    a_digest_is_kept_as_it_stands,
    what_has_happened_in_a_time_is_added_up,
    a_message_shows_what_became_of_its_runs,
    a_card_is_found_by_its_address_where_it_has_one,
    threads_of_runs_that_go_on_are_found,
    who_types_a_code_in_time_is_one_with_whoever_was_given_it,
}

fn bo() -> Actor {
    Actor { platform: Platform::Feishu, id: "ou_bo".into(), team: String::new(), name: String::new() }
}

/// Somebody with one id alone is told of it.
async fn watch(lab: &Lab, by: Actor, of: Watched) -> String {
    let ids = vec![by.key()];
    commit(lab, by, Effect::Watch { of, ids }).await
}

async fn unwatch(lab: &Lab, by: Actor, of: Watched) -> String {
    let ids = vec![by.key()];
    commit(lab, by, Effect::Unwatch { of, ids }).await
}

async fn commit(lab: &Lab, by: Actor, effect: Effect) -> String {
    let mut intake = lab.intake(effect);
    intake.actor = by;
    effected(&lab.store.commit(intake).await.expect("commit")).to_owned()
}

/// A run on a board ends so.
async fn end(lab: &Lab, (id, lease): (boardhand::id::RunId, &boardhand::run::LeaseRef), verdict: Verdict) {
    let note = Note::new("run-finished", json!({ "verdict": verdict.as_str(), "run": { "number": 1 } }));
    let settle = lab.settle(lease, id, outcome(verdict, "x"), Decision::Finish);
    lab.store.run_settle(&Settle { notes: vec![note], ..settle }).await.map(drop).expect("settle");
}

/// Who is owed word, and whether of a family's run.
async fn told(lab: &Lab) -> Vec<(String, bool)> {
    let owed = lab.store.message_due(at(60), 100).await.expect("due");
    let answers = owed.into_iter().filter_map(|owed| match owed.kind {
        OwedKind::Answer { via, note } if note.template == WATCHED => {
            assert!(via.is_open() && via.place.thread.is_none(), "{via:?}");
            Some((via.place.channel, note.facts["of_family"] == json!(true)))
        }
        _ => None,
    });
    let mut told: Vec<_> = answers.collect();
    told.sort();
    told
}

async fn an_end_is_told_to_whoever_watches_the_run_or_its_family(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    assert_eq!(watch(lab, li(), Watched::Run(number)).await, "done");
    assert_eq!(watch(lab, li(), Watched::Run(number)).await, "unchanged");
    assert_eq!(watch(lab, bo(), Watched::Family(Family::new("socA"))).await, "done");
    assert_eq!(watch(lab, bo(), Watched::Family(Family::new("socB"))).await, "done");
    assert_eq!(told(lab).await, []);
    end(lab, (id, &lease), Verdict::Failed).await;
    assert_eq!(told(lab).await, [("U0LI".to_owned(), false), ("ou_bo".to_owned(), true)]);
    assert_eq!(lab.store.watch_list(&[li().key()]).await.expect("list"), []);
    assert_eq!(lab.store.watch_list(&[bo().key()]).await.expect("list").len(), 2);
}

async fn a_family_is_told_of_what_went_wrong_alone(lab: &Lab) {
    let [board] = lab.boards().await;
    let (_, id, lease) = lab.running(&board).await;
    watch(lab, bo(), Watched::Family(Family::new("socA"))).await;
    end(lab, (id, &lease), Verdict::Passed).await;
    assert_eq!(told(lab).await, []);
}

async fn nobody_watches_more_than_they_may_nor_what_has_ended(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    end(lab, (id, &lease), Verdict::Passed).await;
    assert_eq!(watch(lab, li(), Watched::Run(number)).await, "already-finished");
    assert_eq!(watch(lab, li(), Watched::Run(77)).await, "no-such-run");
    for n in 0..WATCHES_MAX {
        let family = Watched::Family(Family::new(format!("soc{n}")));
        assert_eq!(watch(lab, li(), family).await, "done");
    }
    let family = |name: &str| Watched::Family(Family::new(name));
    assert_eq!(watch(lab, li(), family("more")).await, "too-many");
    assert_eq!(watch(lab, li(), family("soc0")).await, "unchanged");
    assert_eq!(watch(lab, bo(), family("more")).await, "done");
}

async fn what_is_not_watched_any_more_is_not_told(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    watch(lab, li(), Watched::Run(number)).await;
    assert_eq!(unwatch(lab, bo(), Watched::Run(number)).await, "unchanged");
    assert_eq!(unwatch(lab, li(), Watched::Run(number)).await, "done");
    end(lab, (id, &lease), Verdict::Failed).await;
    assert_eq!(told(lab).await, []);
}

async fn who_has_two_ids_watches_as_one(lab: &Lab) {
    let (of, ids) = (Watched::Family(Family::new("socA")), vec![li().key(), bo().key()]);
    assert_eq!(watch(lab, bo(), of.clone()).await, "done");
    assert_eq!(watch(lab, li(), of.clone()).await, "done");
    // They are one from now on.
    assert_eq!(lab.store.watch_list(&ids).await.expect("list"), std::slice::from_ref(&of));
    let other = Watched::Family(Family::new("socB"));
    assert_eq!(watch(lab, bo(), other.clone()).await, "done");
    let again = Effect::Watch { of: other, ids: ids.clone() };
    assert_eq!(commit(lab, li(), again).await, "unchanged");
    let off = || Effect::Unwatch { of: of.clone(), ids: ids.clone() };
    assert_eq!(commit(lab, li(), off()).await, "done");
    assert_eq!(commit(lab, bo(), off()).await, "unchanged");
    assert_eq!(lab.store.watch_list(&ids).await.expect("list").len(), 1);
}

async fn a_digest_is_kept_as_it_stands(lab: &Lab) {
    let row = DigestRow {
        platform: Platform::Feishu,
        channel: "oc_soc".into(),
        id: MessageId::new(&lab.ids, T0),
        message: None,
        pinned: false,
        shown_at: None,
        begun_at: Some(at(1)),
    };
    lab.store.digest_put(&row).await.expect("put");
    assert_eq!(lab.store.digest_list().await.expect("list"), std::slice::from_ref(&row));
    let shown = DigestRow {
        message: Some("om_1".into()),
        pinned: true,
        shown_at: Some(at(2)),
        begun_at: None,
        ..row
    };
    lab.store.digest_put(&shown).await.expect("put");
    assert_eq!(lab.store.digest_list().await.expect("list"), [shown]);
}

async fn a_message_shows_what_became_of_its_runs(lab: &Lab) {
    let [board] = lab.boards().await;
    let asks = |message: &str| NewRun { message: Some(message.into()), ..lab.new_run() };
    let [first, second] = [asks("1.1"), asks("1.1")];
    let ids = [first.id, second.id];
    lab.commit(Effect::Start(vec![first, second])).await;
    lab.waiting().await;
    let due = async || lab.store.badge_due(Platform::Slack, 10).await.expect("due");
    let [row] = due().await.try_into().expect("one message asked for both");
    assert_eq!((row.message.as_str(), row.channel.as_str(), row.wanted), ("1.1", "C0SOCCI", Badge::Open));
    assert_eq!((row.shown.clone(), row.stale.clone(), row.asked_at), (None, None, T0));
    assert_eq!(lab.store.badge_due(Platform::Feishu, 10).await.expect("due"), []);
    let row = BadgeRow { shown: Some((Badge::Open, "r1".into())), ..row };
    lab.store.badge_put(&row).await.expect("put");
    assert_eq!(due().await, []);
    let lease = lab.on_board(ids[0], 1, &board).await;
    end(lab, (ids[0], &lease), Verdict::Failed).await;
    assert_eq!(due().await, [], "the other one goes on");
    lab.store.lease_release(&lease, &AtRest::Yes, at(61)).await.map(drop).expect("release");
    let lease = lab.on_board(ids[1], 1, &board).await;
    end(lab, (ids[1], &lease), Verdict::Passed).await;
    let [ended] = due().await.try_into().expect("both have ended");
    assert_eq!(ended, BadgeRow { wanted: Badge::Ended(Verdict::Failed), ..row.clone() });
    let changed = BadgeRow { stale: row.shown, shown: Some((ended.wanted, String::new())), ..ended };
    lab.store.badge_put(&changed).await.expect("put");
    assert_eq!(due().await, std::slice::from_ref(&changed));
    // The same message asks once, and what repeats a run is asked for by another one.
    let retry =
        Effect::Retry { of: 1, once: None, run: Box::new(asks("2.2")), note: Note::new("r", json!({})) };
    lab.commit(retry).await;
    lab.commit(Effect::Start(vec![asks("2.2")])).await;
    assert_eq!(due().await.len(), 2);
    lab.store.badge_drop(&changed).await.expect("drop");
    let [left] = due().await.try_into().expect("the other message");
    assert_eq!((left.message.as_str(), left.wanted), ("2.2", Badge::Open));
}

async fn a_card_is_found_by_its_address_where_it_has_one(lab: &Lab) {
    let ([first, second], there) = ([1, 2], "https://lab.slack.com/archives/C0SOCCI/p1");
    lab.waiting().await;
    lab.waiting().await;
    let links = async |runs: &[i64], platform| lab.store.card_links(runs, platform).await.expect("links");
    assert_eq!(links(&[first, second], Platform::Slack).await, []);
    let owed = lab.store.message_due(at(60), 9).await.expect("due");
    let card = owed.iter().find(|owed| matches!(owed.kind, OwedKind::Card { run: 2, .. })).expect("a card");
    lab.store.card_link(card.id, there).await.expect("kept");
    let known = CardLink { run: 2, channel: "C0SOCCI".into(), url: there.into() };
    assert_eq!(links(&[first, second], Platform::Slack).await, [known]);
    assert_eq!(links(&[first], Platform::Slack).await, []);
    assert_eq!(links(&[second], Platform::Feishu).await, []);
}

async fn who_types_a_code_in_time_is_one_with_whoever_was_given_it(lab: &Lab) {
    let link = async |by: Actor, asked: LinkAsked, now| {
        let effect = Effect::Link { asked, note: Note::new("linked", json!({})) };
        let intake = boardhand::store::Intake { actor: by, received_at: now, ..lab.intake(effect) };
        let committed = lab.store.commit(intake).await.expect("commit");
        (effected(&committed).to_owned(), committed.answer.facts["other"].clone())
    };
    let code = |n: u8| LinkAsked::Code { hash: [n; 32], until: at(600) };
    let with = |n: u8| LinkAsked::With { hash: [n; 32], sure: false };
    let sure = |n: u8| LinkAsked::With { hash: [n; 32], sure: true };
    let plain = |actor: Actor| Actor { team: String::new(), name: String::new(), ..actor };
    assert_eq!(link(li(), code(1), T0).await.0, "done");
    // Another one takes its place.
    assert_eq!(link(li(), code(2), T0).await.0, "done");
    assert_eq!(link(bo(), with(1), at(1)).await.0, "no-such-code");
    // Typed where it was given, others may have read it: it is over.
    assert_eq!(link(li(), with(2), at(1)).await.0, "same-platform");
    assert_eq!(link(bo(), with(2), at(1)).await.0, "no-such-code");
    assert_eq!(link(li(), code(2), T0).await.0, "done");
    assert_eq!(link(bo(), with(2), at(600)).await.0, "no-such-code");
    // Whoever types it is asked first, and from then on it is nobody else's.
    let (asked, other) = link(bo(), with(2), at(598)).await;
    assert_eq!((asked.as_str(), other), ("asks-first", json!(plain(li()))));
    assert_eq!(lab.store.link_list().await.expect("links"), []);
    let eve = Actor { id: "ou_eve".into(), ..bo() };
    assert_eq!(link(eve, with(2), at(599)).await.0, "no-such-code");
    assert_eq!(link(bo(), with(2), at(599)).await.0, "asks-first", "the same again");
    let (done, other) = link(bo(), sure(2), at(599)).await;
    assert_eq!((done.as_str(), other), ("done", json!(plain(li()))));
    assert_eq!(link(bo(), with(2), at(599)).await.0, "no-such-code");
    let both = [LinkRow { ids: vec![plain(li()), plain(bo())] }];
    assert_eq!(lab.store.link_list().await.expect("links"), both);
    let told =
        lab.store.message_due(at(600), 9).await.expect("due").into_iter().find_map(|owed| match owed.kind {
            OwedKind::Answer { via, note } if note.template == "linked" => Some((via, note)),
            _ => None,
        });
    let (via, note) = told.expect("whoever was given it is told");
    assert_eq!((via.place.channel.as_str(), &note.facts["other"]["id"]), ("U0LI", &json!("ou_bo")));
    assert_eq!(link(li(), code(3), at(599)).await.0, "already-linked");
    let wu = Actor { id: "ou_wu".into(), ..bo() };
    for n in 10..15 {
        assert_eq!(link(wu.clone(), with(n), at(599)).await.0, "no-such-code");
    }
    let other = Actor { id: "U0OTHER".into(), ..li() };
    assert_eq!(
        link(other.clone(), LinkAsked::Code { hash: [9; 32], until: at(2000) }, at(599)).await.0,
        "done"
    );
    assert_eq!(link(wu.clone(), with(9), at(599)).await.0, "too-many");
    assert_eq!(link(wu.clone(), with(9), at(1200)).await.0, "no-such-code", "it was typed in vain");
    for n in [7, 9] {
        assert_eq!(
            link(other.clone(), LinkAsked::Code { hash: [n; 32], until: at(2000) }, at(1200)).await.0,
            "done"
        );
        assert_eq!(link(li(), LinkAsked::Void { hash: [7; 32] }, at(1200)).await.0, "done");
        let known = if n == 9 { "asks-first" } else { "no-such-code" };
        assert_eq!(link(wu.clone(), sure(n), at(1200)).await.0, known);
    }
    assert_eq!(link(wu, sure(9), at(1200)).await.0, "done");
    // By any of their ids; the record says who they were.
    let undone = |ids: &[&str]| LinkAsked::Undone {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        by_themselves_on: None,
    };
    assert_eq!(link(bo(), undone(&["slack:U0NONE", "feishu:ou_bo"]), at(1200)).await.0, "done");
    assert_eq!(link(li(), undone(&["slack:U0LI"]), at(1200)).await.0, "unchanged");
    assert_eq!(lab.store.link_list().await.expect("links").len(), 1);
}

async fn threads_of_runs_that_go_on_are_found(lab: &Lab) {
    let [board] = lab.boards().await;
    let (number, id, lease) = lab.running(&board).await;
    let threads = async |platform, since| lab.store.threads_live(platform, since, 9).await.expect("threads");
    assert_eq!(threads(Platform::Slack, T0).await, [], "its card is not posted yet");
    let owed = lab.store.message_due(at(60), 9).await.expect("due");
    let card = owed.iter().find(|owed| matches!(owed.kind, OwedKind::Card { .. })).expect("a card");
    let sent = End::Sent { message: "17.1".into(), revision: 1 };
    lab.store.message_end(&[MessageEnd { id: card.id, end: sent }], at(5)).await.expect("sent");
    let thread = Place { platform: Platform::Slack, channel: "C0SOCCI".into(), thread: Some("17.1".into()) };
    assert_eq!(threads(Platform::Slack, T0).await, std::slice::from_ref(&thread));
    assert_eq!(threads(Platform::Feishu, T0).await, []);
    end(lab, (id, &lease), Verdict::Passed).await;
    assert_eq!(threads(Platform::Slack, at(59)).await, [thread], "it has ended since");
    assert_eq!(threads(Platform::Slack, at(60)).await, []);
    assert_eq!(number, 1);
    // When something was heard last.
    let newest =
        async |keys, since, before| lab.store.delivery_newest(keys, since, before).await.expect("the newest");
    let before = T0 - std::time::Duration::from_secs(1);
    assert_eq!(newest("slack", before, at(1)).await, Some(T0));
    assert_eq!((newest("slack", T0, at(1)).await, newest("slack", before, T0).await), (None, None));
    assert_eq!(
        (newest("feishu", before, at(1)).await, newest("slack:Ev", before, at(1)).await),
        (None, None)
    );
}

async fn what_has_happened_in_a_time_is_added_up(lab: &Lab) {
    let [board, other] = lab.boards().await;
    // On its board from 1 to 60, which is when it ends, and its board is given back.
    let (_, id, lease) = lab.running(&board).await;
    end(lab, (id, &lease), Verdict::Failed).await;
    let rest = boardhand::store::AtRest::Yes;
    lab.store.lease_release(&lease, &rest, at(70)).await.map(drop).expect("released");
    let held = lab.held(&other).await;
    let past = lab.store.time_past(at(40), at(100)).await.expect("past");
    assert_eq!(past.verdicts, [(Verdict::Failed, 1)]);
    let seconds: Vec<_> = past.used.iter().map(|(board, used)| (board.clone(), used.as_secs())).collect();
    assert_eq!(seconds, [(lease.board.clone(), 30), (held.board, 60)]);
    assert_eq!(past.flaky, []);
    let past = lab.store.time_past(at(80), at(100)).await.expect("past");
    assert_eq!((past.verdicts, past.used.len()), (vec![], 1));
}
