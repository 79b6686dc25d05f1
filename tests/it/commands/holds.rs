//! Boards that people have as their own: asked for, kept for longer, given back, waited for, and taken back when the time
//! is over; what others are told meanwhile.

use crate::lab::{Lab, WITHIN, lab, steady, yaml};

/// The same without when somebody's turn comes, which is counted from now.
fn timeless(text: &str) -> String {
    let turn = r"starts (in|within) (about )?\d+[hm]( \d+m)?( to \d+[hm]( \d+m)?)?";
    let turn = regex::Regex::new(turn).expect("a constant");
    turn.replace_all(&steady(text), "starts <in time>").into_owned()
}

/// What somebody was told in person, once there is something that they did not read.
async fn in_person(lab: &Lab, user: &str) -> String {
    lab.direct(user, "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_takes_a_board_keeps_it_for_longer_and_gives_it_back() {
    lab(&yaml::small(2), async |lab| {
        let seen = lab
            .talk(&[
                ("alice", "/lab reserve soc-a-001 2h DDR bring-up"),
                ("alice", "/lab reserve soc-a-001 1h"),
                ("bob", "/lab boards socA"),
                ("bob", "/lab board soc-a-001"),
                ("alice", "/lab extend"),
                ("alice", "/lab extend 30m soc-a-001"),
                ("alice", "/lab extend 3d"),
                ("alice", "/lab extend"),
                ("bob", "/lab extend soc-a-001"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab reserve soc-a-001 2h DDR bring-up
                🟣 `soc-a-001` is yours until <time>: DDR bring-up.
                *Kind* socA
                *Site* Lab Site A
                *Console* `lab:port`
                No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
                [Extend 1 h] [Release] [Power Cycle] [Power off]

            alice> /lab reserve soc-a-001 1h
                🟣 `soc-a-001` is yours already, until <time>: DDR bring-up.
                *Kind* socA
                *Site* Lab Site A
                *Console* `lab:port`
                No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
                [Extend 1 h] [Release] [Power Cycle] [Power off]

            bob> /lab boards socA
                *Boards of socA*: 1 free, 1 busy
                🟣 `soc-a-001` socA · Lab Site A · @alice until <time>: DDR bring-up
                🟢 `soc-a-002` socA · Lab Site A

            bob> /lab board soc-a-001
                soc-a-001
                *State* 🟣 held: @alice since <time> until <time>: DDR bring-up
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                Suites: `smoke` (iterations=…), `trivial`

            alice> /lab extend
                🟣 `soc-a-001` is yours until <time> now: DDR bring-up.
                [Extend 1 h] [Release]

            alice> /lab extend 30m soc-a-001
                🟣 `soc-a-001` is yours until <time> now: DDR bring-up.
                [Extend 1 h] [Release]

            alice> /lab extend 3d
                🟣 `soc-a-001` is yours until <time> now, the longest that your role has one: DDR bring-up.
                [Extend 1 h] [Release]

            alice> /lab extend
                ✋ `soc-a-001` stays yours until <time>: nobody of your role has a board for longer than 1d at a time. After that, ask for it again: `/lab reserve soc-a-001`

            bob> /lab extend soc-a-001
                ✋ soc-a-001 is not yours; @alice has it.
                Try: `/lab board soc-a-001`
        "#);
        assert_eq!(lab.rows("SELECT state, reason FROM leases").await, ["held | DDR bring-up"]);
        insta::assert_snapshot!(steady(&lab.say("alice", "/lab release").await), @"👋 `soc-a-001` is given back: it is brought to rest, and then it is free.");
        lab.settle().await;
        let leases = lab.rows("SELECT fence, state, CASE WHEN holder LIKE '%person%' THEN 'theirs' ELSE 'ours' END FROM leases ORDER BY fence").await;
        assert_eq!(
            leases,
            ["1 | released | theirs", "2 | released | ours"],
            "it was brought to rest under a new fence"
        );
        let seen = lab.talk(&[("alice", "/lab release"), ("alice", "/lab board soc-a-001")]).await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab release
                ✋ You have no board, and are not in line for one.
                Try: `/lab boards`

            alice> /lab board soc-a-001
                soc-a-001
                *State* 🟢 free
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                *Last used* <time>
                Suites: `smoke` (iterations=…), `trivial`
        "#);
        let audit = lab.rows("SELECT actor, verb, target, allowed FROM audit ORDER BY position").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0ALICE | reserve | soc-a-001 2h DDR bring-up | 1
            slack:U0ALICE | extend | soc-a-001 1h | 1
            slack:U0ALICE | extend | soc-a-001 30m | 1
            slack:U0ALICE | extend | soc-a-001 3d | 1
            slack:U0ALICE | extend | soc-a-001 1h | 1
            slack:U0ALICE | release | soc-a-001 | 1
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_told_their_place_and_gets_the_board_in_their_turn() {
    lab(&yaml::small(1), async |lab| {
        let seen = lab.talk(&[("alice", "/lab reserve socA 2h \"DDR bring-up\"")]).await;
        insta::assert_snapshot!(timeless(&seen), @r#"
            alice> /lab reserve socA 2h "DDR bring-up"
                🟣 `soc-a-001` is yours until <time>: DDR bring-up.
                *Kind* socA
                *Site* Lab Site A
                *Console* `lab:port`
                No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
                [Extend 1 h] [Release] [Power Cycle] [Power off]
        "#);
        let asked = lab.say("bob", "/lab reserve socA 30m").await;
        assert!(asked.contains("⏳ `socA` is not free now: you are at place 1 in line"), "{asked}");
        assert!(asked.contains("when it is yours, for 30m from then. To give up your place: `/lab release socA`"), "{asked}");
        // Once the queue has heard of alice's, it says who has the board.
        let again = lab.say_until("bob", "/lab reserve socA", "The only board that fits is busy").await;
        insta::assert_snapshot!(timeless(&again), @r#"
            ⏳ You are in line for `socA` already, at place 1 in line; your time starts <in time>.
            The only board that fits is busy: `soc-a-001` (@alice until <time>, DDR bring-up).
            You get a direct message when it is yours. To give up your place: `/lab release socA`
        "#);
        lab.run("lead", "/run-test soc-a-001 build-1").await;
        // Once the queue has heard of bob and of the run, lead comes behind both.
        insta::assert_snapshot!(timeless(&lab.say_until("lead", "/lab why 1", "place 2").await), @r#"
            *#1* waits at place 2 in line and starts <in time>.
            @bob is first in line, for a board of their own. Busy now: `soc-a-001` (@alice until <time>, DDR bring-up).
        "#);
        insta::assert_snapshot!(timeless(&lab.say("lead", "/lab reserve soc-a-001").await), @r#"
            ⏳ `soc-a-001` is not free now: you are at place 3 in line.
            @bob is first in line, for a board of their own. Busy now: `soc-a-001` (@alice until <time>, DDR bring-up).
            You get a direct message when it is yours, for 2h from then. To give up your place: `/lab release soc-a-001`
        "#);
        lab.until_card(1, "DDR bring-up").await;
        // The longest waiting gets it as soon as it is at rest.
        lab.say("alice", "/lab release socA").await;
        insta::assert_snapshot!(in_person(lab, "bob").await, @r#"
            boardhand: 🟣 `soc-a-001` is yours now, after N s in line, until <time>.
              *Kind* socA
              *Site* Lab Site A
              *Console* `lab:port`
              No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
              [Extend 1 h] [Release] [Power Cycle] [Power off]
        "#);
        assert_eq!(lab.rows("SELECT count(*) FROM reservations").await, ["1"]);
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab release soc-a-001").await), @"👋 You are not in line for `soc-a-001` any more.");
        // Lead is an operator of this open lab, and bob is told who took his board.
        insta::assert_snapshot!(steady(&lab.say("lead", "/lab release soc-a-001").await), @"👋 `soc-a-001` is taken from @bob, who is told: it is brought to rest, and then it is free.");
        insta::assert_snapshot!(lab.direct("bob", "took it back").await, @r#"
            boardhand: 🟣 `soc-a-001` is yours now, after N s in line, until <time>.
              *Kind* socA
              *Site* Lab Site A
              *Console* `lab:port`
              No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
              [Extend 1 h] [Release] [Power Cycle] [Power off]
            boardhand: 👋 `soc-a-001` is not yours any more: @lead took it back. It is brought to rest.
              To have it again: `/lab reserve soc-a-001`
        "#);
        assert!(lab.verdict(1).await.starts_with("passed"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_taps_on_extend_are_one_extension_and_the_next_button_is_another() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 1h").await;
        let hours = async || {
            let leases = lab.store.lease_list().await.expect("store");
            leases[0].expires_at.since(leases[0].granted_at).as_secs() / 3600
        };
        let newest = || lab.slack.with(|world| world.ephemerals.back().expect("an answer").ts.clone());
        let answered = async |answers: usize| {
            let come = lab.slack.until(|world| world.ephemerals.len() == answers, WITHIN);
            come.await.expect("every tap is answered");
        };
        let button = newest();
        let taps = (0..10).map(|_| lab.slack.click("alice", &button, "Extend 1 h"));
        futures_util::future::join_all(taps).await;
        answered(11).await;
        assert_eq!(hours().await, 2, "ten taps are one hour");
        let told = lab.slack.render_answers("alice");
        assert_eq!(told.matches("already: nothing was added").count(), 9, "{told}");

        let next = newest();
        lab.slack.click("alice", &next, "Extend 1 h").await;
        answered(12).await;
        assert_eq!(hours().await, 3, "the answer's own button is about another one");
        lab.say("alice", "/lab extend soc-a-001 1h").await;
        lab.slack.click("alice", &next, "Extend 1 h").await;
        answered(14).await;
        assert_eq!(hours().await, 4, "a button from before says so");
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holder_switches_the_board_and_nobody_else_does() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        lab.say("alice", "/lab power soc-a-001 on").await;
        insta::assert_snapshot!(lab.answer("alice").await, @"⚡ `soc-a-001` was switched on.");
        assert_eq!(lab.on(), ["soc-a-001", "soc-b-001"]);
        let switches = || lab.boards.board("soc-a-001").expect("a board").counters().switches;
        let before = switches();
        let seen = lab
            .talk(&[
                ("bob", "/lab power soc-a-001 cycle"),
                ("bob", "/lab quarantine soc-a-001 it smokes"),
                ("bob", "/lab power soc-a-001 status"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab power soc-a-001 cycle
                ✋ `soc-a-001` was not power-cycled: @alice has it until <time> (DDR bring-up).
                You may do it anyway: what runs there is lost, the board stays theirs, and they are told that it was you.
                [Power cycle anyway] [Leave it] [Ask whether they need it] [Notify me when it is free]

            bob> /lab quarantine soc-a-001 it smokes
                ✋ `soc-a-001` was not quarantined: @alice has it until <time> (DDR bring-up).
                An operator can take it back first: `/lab release soc-a-001`
                [Ask whether they need it] [Notify me when it is free]

            bob> /lab power soc-a-001 status
                🔌 Asking `soc-a-001`… I'll tell you how it went.
        "#);
        assert_eq!(lab.answer("bob").await, "🔌 `soc-a-001` is on.");
        assert_eq!(switches(), before);
        // Nothing is given back by switching it, and giving it back switches it off.
        assert_eq!(lab.rows("SELECT state FROM leases").await, ["held"]);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"]);
        assert_eq!(
            lab.rows("SELECT needs_fence, health FROM boards WHERE id = 'soc-a-001'").await,
            ["0 | good"]
        );
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_told_before_it_comes_and_really_frees_the_board() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        lab.say("alice", "/lab power soc-a-001 on").await;
        lab.answer("alice").await;
        // It was given moments ago; both see the time from before.
        let soon = "UPDATE leases SET granted_at = granted_at - 7200000000, expires_at = granted_at + 240000000";
        lab.tamper(soon).await;
        insta::assert_snapshot!(in_person(lab, "alice").await, @r#"
            boardhand: ⏰ `soc-a-001` is yours until <time> (DDR bring-up). Then it is brought to rest and goes to whoever is next.
              [Extend 1 h] [Release]
        "#);
        // Once for each end: what she asks for meanwhile is another one.
        lab.press("alice", "Extend 1 h").await;
        insta::assert_snapshot!(lab.answer("alice").await, @r#"
            🟣 `soc-a-001` is yours until <time> now: DDR bring-up.
            [Extend 1 h] [Release]
        "#);
        assert_eq!(lab.rows("SELECT warned_at FROM leases").await, ["-"]);
        lab.tamper("UPDATE leases SET expires_at = 1").await;
        insta::assert_snapshot!(lab.direct("alice", "not yours any more").await, @r#"
            boardhand: ⏰ `soc-a-001` is yours until <time> (DDR bring-up). Then it is brought to rest and goes to whoever is next.
              [Extend 1 h] [Release]
            boardhand: 👋 `soc-a-001` is not yours any more: your time was over. It is brought to rest.
              To have it again: `/lab reserve soc-a-001`
        "#);
        lab.settle().await;
        assert_eq!(lab.on(), ["soc-b-001"], "it is at rest");
        let leases = lab.rows("SELECT fence, state, run FROM leases ORDER BY fence").await;
        assert_eq!(leases, ["1 | released | -", "2 | released | -"]);
        // Her buttons are out of date now.
        lab.press("alice", "Release").await;
        insta::assert_snapshot!(lab.answer("alice").await, @"That is out of date: `soc-a-001` is not under that reservation any more. Nothing was done. Who has it: `/lab board soc-a-001`");
        let run = lab.run("bob", "/run-test socA build-1").await;
        assert!(lab.verdict(run).await.starts_with("passed"));
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_had_is_refused_with_what_can() {
    let roles =
        "roles: {admin: ['slack:U0LEAD'], user: ['*']}\nreservations: {default: 30m, longest: {user: 1h}}\n";
    lab(&format!("{}{roles}", yaml::small(2)), async |lab| {
        let seen = lab
            .talk(&[
                ("alice", "/lab reserve soc-a-01"),
                ("alice", "/lab reserve socA 2h"),
                ("alice", "/lab reserve"),
                ("lead", "/lab reserve soc-a-002 2h"),
                ("alice", "/lab release soc-a-002"),
                ("alice", "/lab extend"),
                ("alice", "/lab reserve soc-a-001"),
                ("alice", "/lab reserve soc-b-001"),
                ("alice", "/lab release"),
                ("alice", "/lab release socB"),
                ("alice", "/lab release soc-a-001"),
                ("lead", "/lab release"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab reserve soc-a-01
                ✋ There is no family and no board "soc-a-01". Did you mean `soc-a-001`?
                Try: `/lab reserve soc-a-001`

            alice> /lab reserve socA 2h
                ✋ You may have a board for 1h at most, and 2h is longer.
                Try: `/lab reserve socA 1h`

            alice> /lab reserve
                🤔 'reserve' needs a board or a soc.
                Usage: `/lab reserve <board|soc> [2h] [reason]`
                Try: `/lab reserve soc-a-001 2h DDR bring-up`
                `/lab help` shows what I can do.

            lead> /lab reserve soc-a-002 2h
                🟣 `soc-a-002` is yours until <time>.
                *Kind* socA
                *Site* Lab Site A
                *Console* `lab:port`
                No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-002 cycle` · `/lab extend soc-a-002 1h` · `/lab release soc-a-002`
                [Extend 1 h] [Release] [Power Cycle] [Power off]

            alice> /lab release soc-a-002
                🔒 Only an operator may take other people's boards away; you are a user.
                It needs the role `operator`; a lab admin gives it in boards.yaml.
                A lab admin who can change that: @lead

            alice> /lab extend
                ✋ You have no board, and are not in line for one.
                Try: `/lab boards`

            alice> /lab reserve soc-a-001
                🟣 `soc-a-001` is yours until <time>.
                *Kind* socA
                *Site* Lab Site A
                *Console* `lab:port`
                No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
                [Extend 1 h] [Release] [Power Cycle] [Power off]

            alice> /lab reserve soc-b-001
                🟣 `soc-b-001` is yours until <time>.
                *Kind* socB
                *Site* Lab Site B
                *Console* `lab:port`
                No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-b-001 cycle` · `/lab extend soc-b-001 1h` · `/lab release soc-b-001`
                [Extend 1 h] [Release]

            alice> /lab release
                ✋ You have soc-a-001 and soc-b-001; say which you mean.
                Try: `/lab release soc-a-001`

            alice> /lab release socB
                👋 `soc-b-001` is given back: it is brought to rest, and then it is free.

            alice> /lab release soc-a-001
                👋 `soc-a-001` is given back: it is brought to rest, and then it is free.

            lead> /lab release
                👋 `soc-a-002` is given back: it is brought to rest, and then it is free.
        "#);
        lab.settle().await;
        let audit =
            lab.rows("SELECT actor, verb, target, allowed, reason FROM audit ORDER BY position").await;
        insta::assert_snapshot!(audit.join("\n"), @r#"
            slack:U0ALICE | reserve | socA 2h | 0 | you may have a board for 1h at most, and 2h is longer
            slack:U0LEAD | reserve | soc-a-002 2h | 1 | slack:U0LEAD is an admin and may reserve boards
            slack:U0ALICE | release | soc-a-002 | 0 | only an operator may take other people's boards away; slack:U0ALICE is a user
            slack:U0ALICE | reserve | soc-a-001 30m | 1 | slack:U0ALICE is a user and may reserve boards
            slack:U0ALICE | reserve | soc-b-001 30m | 1 | slack:U0ALICE is a user and may reserve boards
            slack:U0ALICE | release | soc-b-001 | 1 | slack:U0ALICE is a user and may give their board back
            slack:U0ALICE | release | soc-a-001 | 1 | slack:U0ALICE is a user and may give their board back
            slack:U0LEAD | release | soc-a-002 | 1 | slack:U0LEAD is an admin and may give their board back
        "#);
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_loses_nobody_s_board_and_nobody_s_place() {
    lab(&yaml::small(1), async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        lab.say("bob", "/lab reserve socA 30m").await;
        lab.restart().await;
        insta::assert_snapshot!(timeless(&lab.say_until("bob", "/lab reserve socA 30m", "is busy").await), @r#"
            ⏳ You are in line for `socA` already, at place 1 in line; your time starts <in time>.
            The only board that fits is busy: `soc-a-001` (@alice until <time>, DDR bring-up).
            You get a direct message when it is yours. To give up your place: `/lab release socA`
        "#);
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab boards socA").await), @r#"
            *Boards of socA*: 0 free, 1 busy
            🟣 `soc-a-001` socA · Lab Site A · @alice until <time>: DDR bring-up
        "#);
        lab.say("alice", "/lab release").await;
        assert!(in_person(lab, "bob").await.contains("`soc-a-001` is yours now"));
        lab.say("bob", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_told_when_it_is_free_ask_for_it_and_are_given_it() {
    lab(&yaml::small(1), async |lab| {
        insta::assert_snapshot!(steady(&lab.say("bob", "/lab notify soc-a-001").await), @"🟢 `soc-a-001` is free now: `/lab reserve soc-a-001`");
        lab.say("alice", "/lab reserve soc-a-001 2h DDR bring-up").await;
        let seen = lab
            .talk(&[
                ("bob", "/lab notify soc-a-001"),
                ("bob", "/lab notify soc-a-001"),
                ("bob", "/lab nudge soc-a-001"),
                ("bob", "/lab nudge soc-a-001"),
                ("bob", "/lab nudge soc-b-001"),
                ("bob", "/lab handover soc-a-001 @U0LEAD"),
                ("alice", "/lab handover soc-a-001 lead"),
                ("alice", "/lab handover soc-a-001 <@U0LEAD|lead>"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /lab notify soc-a-001
                🔔 I tell you once when `soc-a-001` is free. To have it in your turn instead: `/lab reserve soc-a-001`

            bob> /lab notify soc-a-001
                🔔 I tell you once when `soc-a-001` is free, as you asked before. To have it in your turn instead: `/lab reserve soc-a-001`

            bob> /lab nudge soc-a-001
                👋 @alice is asked whether `soc-a-001` is still needed.

            bob> /lab nudge soc-a-001
                @alice was asked less than ten minutes ago whether `soc-a-001` is still needed.

            bob> /lab nudge soc-b-001
                ✋ Nobody has soc-b-001 as their own.
                Try: `/lab reserve soc-b-001`

            bob> /lab handover soc-a-001 @U0LEAD
                ✋ soc-a-001 is not yours; @alice has it.
                Try: `/lab board soc-a-001`

            alice> /lab handover soc-a-001 lead
                ✋ "lead" is nobody that I can find; type @ and pick them from the list.
                Try: `/lab handover soc-a-001 @…`

            alice> /lab handover soc-a-001 <@U0LEAD|lead>
                🤝 `soc-a-001` is offered to @lead. It stays yours until they take it.
        "#);
        insta::assert_snapshot!(lab.direct("alice", "").await, @r#"
            boardhand: 👋 @bob asks whether you still need `soc-a-001`, which is yours until <time>.
              [Release] [Extend 1 h]
        "#);
        insta::assert_snapshot!(lab.direct("lead", "").await, @r#"
            boardhand: 🤝 @alice offers you `soc-a-001` until <time> (DDR bring-up), as it is.
              [Take it]
        "#);
        lab.press("lead", "Take it").await;
        insta::assert_snapshot!(lab.answer("lead").await, @r#"
            🟣 `soc-a-001` is yours until <time>: DDR bring-up.
            *Kind* socA
            *Site* Lab Site A
            *Console* `lab:port`
            No run but yours is given it, and nobody else switches it without your hearing of it. I warn you before the time is over. Yours to type: `/lab power soc-a-001 cycle` · `/lab extend soc-a-001 1h` · `/lab release soc-a-001`
            [Extend 1 h] [Release] [Power Cycle] [Power off]
        "#);
        assert!(lab.direct("alice", "has taken").await.contains("🤝 @lead has taken `soc-a-001`"));
        // Her button, and the offer once more, are out of date.
        lab.press("alice", "Release").await;
        insta::assert_snapshot!(lab.answer("alice").await, @"That is out of date: `soc-a-001` is not under that reservation any more. Nothing was done. Who has it: `/lab board soc-a-001`");
        lab.press("lead", "Take it").await;
        lab.answers_until("lead", "not under that reservation").await;
        let leases = lab.rows("SELECT fence, state, reason FROM leases ORDER BY fence").await;
        assert_eq!(leases, ["1 | released | DDR bring-up", "2 | held | DDR bring-up"]);
        lab.say("lead", "/lab release").await;
        insta::assert_snapshot!(lab.direct("bob", "").await, @"boardhand: 🟢 `soc-a-001` is free, as you asked to be told. Whoever is first has it: `/lab reserve soc-a-001`");
        assert_eq!(lab.rows("SELECT count(*) FROM notices").await, ["0"], "told once");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_thing_at_a_time_is_done_to_the_power_of_a_board() {
    let slow = yaml::small(1).replace("off_for: 50ms", "off_for: 2s");
    lab(&slow, async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        lab.say("alice", "/lab power soc-a-001 cycle").await;
        lab.say("alice", "/lab power soc-a-001 off").await;
        let said = [lab.answer("alice").await, lab.answer("alice").await];
        let refused =
            said.iter().filter(|said| said.contains("another power request of yours is at work")).count();
        assert_eq!(refused, 1, "{said:?}");
        // Whatever was answered is so, and stays so.
        lab.say("alice", "/lab power soc-a-001 off").await;
        let off = lab.answer("alice").await;
        assert!(off.contains("was switched off"), "{off}");
        assert_eq!(lab.on(), ["soc-b-001"]);
        lab.say("alice", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_a_board_that_is_out_of_service_hears_why() {
    lab(&yaml::small(1), async |lab| {
        lab.say("bob", "/lab quarantine soc-a-001 the fan is dead").await;
        let taken = lab.say("alice", "/lab reserve soc-a-001 1h").await;
        assert!(taken.contains("`soc-a-001` is yours until"), "{taken}");
        assert!(taken.contains("⚠️ It is out of service: the fan is dead."), "{taken}");
        let back = lab.say("alice", "/lab release").await;
        assert!(back.contains("and then it is out of service as before."), "{back}");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_more_boards_than_the_lab_allows() {
    let two = yaml::small(3) + "reservations: {most: 2}\n";
    lab(&two, async |lab| {
        lab.say("alice", "/lab reserve soc-a-001 2h").await;
        assert!(lab.say("alice", "/lab reserve socA 2h").await.contains("is yours until"));
        let full = lab.say("alice", "/lab reserve soc-a-003 2h").await;
        insta::assert_snapshot!(full, @"✋ You have or wait for 2 boards, and nobody may for more: give one of them up first with `/lab release`.");
        // What others have is theirs, and a place in line counts too.
        assert!(lab.say("bob", "/lab reserve soc-a-003 2h").await.contains("is yours until"));
        assert!(lab.say("bob", "/lab reserve soc-a-001 2h").await.contains("at place 1 in line"));
        assert!(lab.say("bob", "/lab reserve soc-a-001 2h").await.contains("in line for `soc-a-001` already"));
        assert!(lab.say("bob", "/lab reserve soc-a-002 2h").await.contains("nobody may for more"));
        for (who, board) in [("alice", "soc-a-001"), ("alice", "soc-a-002"), ("bob", "soc-a-003")] {
            lab.say(who, &format!("/lab release {board}")).await;
        }
        assert!(in_person(lab, "bob").await.contains("`soc-a-001` is yours now"));
        lab.say("bob", "/lab release").await;
        lab.settle().await;
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_left_the_lab_file_can_be_given_back() {
    let led = |boards| yaml::small(boards) + "roles: {admin: [slack:U0LEAD]}\n";
    lab(&led(2), async |lab| {
        lab.say("alice", "/lab reserve soc-a-002 2h").await;
        assert!(lab.say("bob", "/lab reserve soc-a-002 2h").await.contains("in line"));
        lab.write_lab(&led(1));
        lab.say("lead", "/lab reload").await;
        lab.answers_until("lead", "is in force").await;
        // Who waits for it waits no more, and whoever has it has it still.
        assert!(in_person(lab, "bob").await.contains("`soc-a-002` has left the lab"));
        assert!(lab.rows("SELECT id FROM reservations").await.is_empty());
        let said = lab.say("alice", "/lab release soc-a-002").await;
        assert!(said.starts_with("👋 `soc-a-002` is given back"), "{said}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
