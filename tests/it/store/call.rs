//! Calls in the store: made of events once, whoever looks; owed in lanes that hold up no other; given up as letters.

use boardhand::id::MessageId;
use boardhand::outcome::Verdict;
use boardhand::store::{
    CallEnd, Effect, Effected, LANE_HEADS_MAX, LANE_OWED_MAX, NewCall, NewRun, Owing, StatusOf, StatusPart,
};

use super::lab::{Lab, at, effected};
use super::store_tests;

store_tests! {
    what_happened_is_read_in_its_order_and_calls_are_made_of_it_once,
    a_lane_that_stands_still_hides_no_other_and_has_a_bound,
    a_call_that_is_given_up_is_a_letter_and_comes_back,
    whoever_asks_for_a_run_again_is_called_back_too_and_nobody_twice,
    the_runs_of_a_status_decide_it_without_those_that_were_repeated,
}

/// A call of an event to somebody.
fn new(lab: &Lab, lane: &str, event: i64) -> NewCall {
    NewCall {
        id: MessageId::new(&lab.ids, at(0)),
        hook: Some(lane.to_owned()),
        lane: lane.to_owned(),
        event,
        kind: "run.finished",
        run: None,
        url: None,
        body: "{}".into(),
    }
}

/// These calls are owed.
fn owing(calls: &[NewCall]) -> Owing {
    Owing { calls: calls.to_vec(), statuses: vec![] }
}

async fn due(lab: &Lab, seconds: u64) -> Vec<String> {
    let due = lab.store.call_due(at(seconds), 500, &[]).await.expect("read");
    due.into_iter().map(|call| format!("{} {}", call.lane, call.tries)).collect()
}

async fn what_happened_is_read_in_its_order_and_calls_are_made_of_it_once(lab: &Lab) {
    let from = lab.store.call_read_to().await.expect("read");
    let run = NewRun { callback: Some("https://ci/x".into()), ..lab.new_run() };
    lab.commit(Effect::Start(vec![run, lab.new_run()])).await;
    lab.commit(super::intake::cancel(1)).await;
    let events = lab.store.call_events(from, 10).await.expect("read");
    let told: Vec<_> = events.iter().map(|e| (e.kind.as_str(), e.run, e.callback.as_deref())).collect();
    let ci = Some("https://ci/x");
    assert_eq!(told, [("accepted", Some(1), ci), ("accepted", Some(2), None), ("withdrawn", Some(1), ci)]);
    assert_eq!(lab.store.call_events(from, 1).await.expect("read").len(), 1);
    let to = events[2].seq;
    let call = NewCall { hook: None, run: Some(1), url: ci.map(str::to_owned), ..new(lab, "host ci", to) };
    assert!(lab.store.call_owe(from, to, &owing(std::slice::from_ref(&call)), at(1)).await.expect("written"));
    assert!(!lab.store.call_owe(from, to, &owing(&[new(lab, "late", to)]), at(1)).await.expect("written"));
    assert_eq!(lab.store.call_read_to().await.expect("read"), to);
    assert_eq!(due(lab, 1).await, ["host ci 0"]);
    let again = lab.store.call_events(from, 10).await.expect("read");
    assert!(again.iter().all(|event| event.callback.is_none()), "it is owed, and not still to be");
    lab.store.call_end(call.id, CallEnd::Made, at(2)).await.expect("written");
    assert_eq!((due(lab, 9).await.len(), lab.store.call_next_due().await.expect("read")), (0, None));
}

async fn a_lane_that_stands_still_hides_no_other_and_has_a_bound(lab: &Lab) {
    let many: Vec<NewCall> = (0..i64::from(LANE_OWED_MAX)).map(|event| new(lab, "slow", event)).collect();
    let from = lab.store.call_read_to().await.expect("read");
    assert!(lab.store.call_owe(from, 1, &owing(&many), at(0)).await.expect("written"));
    assert!(
        lab.store
            .call_owe(1, 2, &owing(&[new(lab, "other", 1), new(lab, "slow", -1)]), at(1))
            .await
            .expect("written")
    );
    let due = due(lab, 1).await;
    assert_eq!(due.iter().filter(|call| *call == "slow 0").count(), LANE_HEADS_MAX as usize);
    assert_eq!(due.last().map(String::as_str), Some("other 0"));
    let others = lab.store.call_due(at(1), 500, &["slow".to_owned()]).await.expect("read");
    assert_eq!(others.iter().map(|call| call.lane.as_str()).collect::<Vec<_>>(), ["other"]);
    let (letters, count) = lab.store.letter_list(10).await.expect("read");
    assert_eq!((letters[0].error.as_str(), count), ("too many calls are owed there", 1));
}

async fn a_call_that_is_given_up_is_a_letter_and_comes_back(lab: &Lab) {
    let from = lab.store.call_read_to().await.expect("read");
    let call = new(lab, "ci", 1);
    assert!(lab.store.call_owe(from, 1, &owing(std::slice::from_ref(&call)), at(0)).await.expect("written"));
    let later = CallEnd::Later { at: at(5), error: "answered 500".into() };
    lab.store.call_end(call.id, later, at(0)).await.expect("written");
    assert_eq!((due(lab, 4).await.len(), due(lab, 5).await), (0, vec!["ci 1".to_owned()]));
    assert_eq!(lab.store.call_next_due().await.expect("read"), Some(at(5)));
    let dead = CallEnd::Dead { error: "answered 410".into() };
    lab.store.call_end(call.id, dead, at(6)).await.expect("written");
    let (letters, _) = lab.store.letter_list(10).await.expect("read");
    assert_eq!((letters[0].place.channel.as_str(), letters[0].error.as_str()), ("ci", "answered 410"));
    let resent = lab.commit(Effect::Resend { letter: Some(letters[0].number) }).await;
    assert_eq!(effected(&resent), Effected::Done.as_str());
    assert_eq!(due(lab, 10).await, ["ci 0"]);
    assert_eq!(lab.store.letter_list(10).await.expect("read").1, 0);
}

async fn the_runs_of_a_status_decide_it_without_those_that_were_repeated(lab: &Lab) {
    lab.commit(Effect::Start(vec![lab.new_run(), lab.new_run(), lab.new_run()])).await;
    for run in [1, 2] {
        lab.commit(super::intake::cancel(run)).await;
    }
    let of = |run, context: &str| StatusOf { run, commit: "c0ffee".into(), context: context.into() };
    let statuses = vec![of(1, "smoke"), of(2, "smoke"), of(3, "smoke"), of(3, "smoke")];
    let from = lab.store.call_read_to().await.expect("read");
    assert!(lab.store.call_owe(from, 1, &Owing { calls: vec![], statuses }, at(0)).await.expect("written"));
    let parts = async |context: &str| {
        let mut parts = lab.store.status_parts("c0ffee", context).await.expect("read");
        parts.sort_by_key(|part| part.newest);
        parts
    };
    let cancelled = |count, newest| StatusPart { verdict: Some(Verdict::Cancelled), count, newest };
    let open = |count, newest| StatusPart { verdict: None, count, newest };
    assert_eq!(parts("smoke").await, [cancelled(2, 2), open(1, 3)]);
    assert_eq!(parts("full").await, []);
    let run = Box::new(NewRun { retry_of: Some(2), ..lab.new_run() });
    lab.commit(Effect::Retry { of: 2, once: None, run, note: super::lab::note("run-retried") }).await;
    assert_eq!(parts("smoke").await, [cancelled(2, 2), open(1, 3)], "its repeat is none of it yet");
    let statuses = vec![of(4, "smoke"), of(1, "other")];
    assert!(lab.store.call_owe(1, 2, &Owing { calls: vec![], statuses }, at(0)).await.expect("written"));
    assert_eq!(parts("smoke").await, [cancelled(1, 1), open(2, 4)]);
    // A repeat that is about something else stands for nothing here.
    let run = Box::new(NewRun { retry_of: Some(1), ..lab.new_run() });
    lab.commit(Effect::Retry { of: 1, once: None, run, note: super::lab::note("run-retried") }).await;
    let statuses = vec![of(5, "full")];
    assert!(lab.store.call_owe(2, 3, &Owing { calls: vec![], statuses }, at(0)).await.expect("written"));
    assert_eq!(parts("smoke").await, [cancelled(1, 1), open(2, 4)]);
    assert_eq!(parts("other").await, [], "a run decides one status");
}

async fn whoever_asks_for_a_run_again_is_called_back_too_and_nobody_twice(lab: &Lab) {
    let from = lab.store.call_read_to().await.expect("read");
    lab.commit(Effect::Start(vec![NewRun { callback: Some("https://ci/1".into()), ..lab.new_run() }])).await;
    let asks = async |url: &str| lab.store.call_back(1, url, at(1)).await.expect("written");
    assert!(!asks("https://ci/1").await, "that is known");
    assert!(asks("https://ci/2").await);
    assert!(!lab.store.call_back(9, "https://ci/2", at(1)).await.expect("written"), "there is no such run");
    lab.commit(super::intake::cancel(1)).await;
    let told = async |after: i64| {
        let events = lab.store.call_events(after, 10).await.expect("read");
        events.into_iter().map(|event| (event.seq, event.kind, event.callback)).collect::<Vec<_>>()
    };
    let before = told(from).await;
    let end = before.last().expect("its end").clone();
    assert_eq!((end.1.as_str(), end.2.as_deref()), ("withdrawn", Some("https://ci/2")));
    // Somebody asks again while this is on its way.
    assert!(asks("https://ci/3").await);
    let call = |event, url: &str| NewCall {
        hook: None,
        run: Some(1),
        url: Some(url.to_owned()),
        ..new(lab, "host ci", event)
    };
    let owed = owing(&[call(end.0, "https://ci/2")]);
    assert!(lab.store.call_owe(from, end.0, &owed, at(2)).await.expect("written"));
    let after = told(end.0).await;
    let [(seq, kind, url)] = &after[..] else { panic!("{after:?}") };
    assert_eq!((kind.as_str(), url.as_deref()), ("registered", Some("https://ci/3")));
    let third = call(*seq, "https://ci/3");
    let owed = owing(std::slice::from_ref(&third));
    assert!(lab.store.call_owe(end.0, *seq, &owed, at(2)).await.expect("written"));
    assert!(!asks("https://ci/2").await && !asks("https://ci/3").await, "both were told");
    assert_eq!(told(*seq).await, []);
    // What was given up was told to nobody: whoever asks for it again is told.
    let dead = CallEnd::Dead { error: "a day of 503".into() };
    lab.store.call_end(third.id, dead, at(3)).await.expect("written");
    let due = async || lab.store.call_due(at(9), 10, &[]).await.expect("read");
    assert!(due().await.iter().all(|call| call.id != third.id));
    assert!(asks("https://ci/3").await);
    // It is that call which is made again, and no other beside it; and once more is nothing more.
    assert!(due().await.iter().any(|call| call.id == third.id));
    assert!(!asks("https://ci/3").await);
    assert_eq!(told(*seq).await, []);
    assert_eq!(lab.store.letter_list(10).await.expect("read").1, 0, "it is no dead letter any more");
    let steps = lab.store.run_steps(1, 0, 10).await.expect("read");
    let steps: Vec<&str> = steps.iter().map(|step| step.kind.as_str()).collect();
    assert_eq!(steps, ["accepted", "withdrawn"], "nothing happened to the run");
}
