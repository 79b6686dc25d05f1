//! Words: what people type, what they mistype, what their phones make of it, and what each reads at once.

use boardhand::sim::slack::ApiFault;

use crate::lab::{lab, yaml};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_new_asks_around() {
    lab(&yaml::small(2), async |lab| {
        let seen = lab
            .talk(&[
                ("alice", "/lab"),
                ("alice", "/lab help power"),
                ("alice", "/lab help nothing"),
                ("alice", "/run-test --help"),
                ("alice", "/lab boards"),
                ("alice", "/lab boards socB"),
                ("alice", "/lab boards lab site a"),
                ("alice", "/lab board soc-a-002"),
                ("alice", "/lab board SOC-B-001"),
                ("alice", "/lab runs"),
                ("alice", "/lab run 7"),
                ("alice", "/lab why"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            alice> /lab
                What I can do
                `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Test a build on a board; add x3 to run it three times.
                
                `/lab boards [soc|site]`
                Which boards there are, and who has them.
                
                `/lab board <board>`
                One board: state, holder, health.
                
                `/lab runs [mine]`
                What runs and what waits.
                
                `/lab run <#>`
                One run: where it is, or how it ended.
                
                `/lab why <#>`
                Why a run is still waiting.
                
                `/lab compare [#|build] [#|build] [soc] [suite=…]`
                What fails now and did not: two runs or builds, or one and the last good run before it.
                
                `/lab builds [soc]`
                The newest builds that were registered; /run-test socA latest tests the newest good one.
                
                `/lab cancel <#>`
                End a run; other people's runs need an operator.
                
                `/lab retry <#> [elsewhere]`
                Run the same again, with elsewhere on another board.
                
                `/lab power <board> <on|off|cycle|status|sequence>`
                Switch or read a board's power; a sequence is one of its own in boards.yaml.
                
                `/lab quarantine <board> <reason>`
                Take a board out of service; what runs on it goes on.
                
                `/lab return <board>`
                Put a quarantined board back into service.
                
                `/lab drain [board|site] [2h] [reason]`
                Let a board, a site or a worker (worker:its-id) take nothing new, as an operator; what is on it goes on. Alone, it shows what drains.
                
                `/lab undrain <board|site>`
                Let it take new work again.
                
                `/lab reserve <board|soc> [2h] [reason]`
                Have a board as your own for a while: at once, or in your turn.
                
                `/lab extend [board] [1h]`
                Keep the board that you have for longer.
                
                `/lab release [board|soc]`
                Give back the board that you have, or your place in line; other people's boards need an operator.
                
                `/lab hold [#] [30m]`
                Have a run's board as the run leaves it, should it fail, or once it has.
                
                `/lab log <#> [lines]`
                Show a run's console log in its thread, or so many of its last lines here.
                
                `/lab watch [#|soc]`
                Tell me directly how a run ends, or of a family's runs that go wrong; alone, what you watch.
                
                `/lab unwatch <#|soc>`
                Do not tell me of it any more.
                
                `/lab digest`
                What boards, queue and tests were up to in the last day.
                
                `/lab link [code] [yes]`
                Be one person in Slack and in Feishu: alone it gives a code, which is typed on the other platform.
                
                `/lab unlink [person]`
                Be two people again; of others, an admin says it.
                
                `/lab workers`
                Who drives the boards of remote sites, and when they were heard last.
                
                `/lab notify <board|soc>`
                Tell me once when a board comes free.
                
                `/lab nudge <board>`
                Ask whoever has a board whether they still need it.
                
                `/lab handover <board> <person>`
                Offer the board that you have to somebody; it is theirs once they take it.
                
                `/lab reload`
                Read boards.yaml again; one with mistakes changes nothing.
                
                `/lab deadletters`
                Messages that could not be sent, why, and since when.
                
                `/lab resend <number|all>`
                Send a message again that could not be sent.
                
                `/lab audit [who|board|#] [2h] [refused] [before=1234]`
                Who was allowed or refused what, and why; the newest first.
                
                `/lab campaign [campaign|#] [build|pause|resume|continue|rollback|cancel]`
                Bring a build to many boards in waves, or see and steer how that goes.
                
                `/lab schedules [schedule] [pause|resume]`
                What starts by itself and when; pausing one needs an operator.
                
                `/lab help [command]`
                What can be typed here.
                In a mention or a direct message the slash and `lab` may be left out; in the thread of a run, its number too: `@boardhand cancel`. More about one command: `/lab help run-test`

            alice> /lab help power
                `/lab power <board> <on|off|cycle|status|sequence>`
                Switch or read a board's power; a sequence is one of its own in boards.yaml.
                For example: `/lab power soc-a-001 cycle` · needs the role operator

            alice> /lab help nothing
                What I can do
                I have no such command; these are the ones I have:
                `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Test a build on a board; add x3 to run it three times.
                
                `/lab boards [soc|site]`
                Which boards there are, and who has them.
                
                `/lab board <board>`
                One board: state, holder, health.
                
                `/lab runs [mine]`
                What runs and what waits.
                
                `/lab run <#>`
                One run: where it is, or how it ended.
                
                `/lab why <#>`
                Why a run is still waiting.
                
                `/lab compare [#|build] [#|build] [soc] [suite=…]`
                What fails now and did not: two runs or builds, or one and the last good run before it.
                
                `/lab builds [soc]`
                The newest builds that were registered; /run-test socA latest tests the newest good one.
                
                `/lab cancel <#>`
                End a run; other people's runs need an operator.
                
                `/lab retry <#> [elsewhere]`
                Run the same again, with elsewhere on another board.
                
                `/lab power <board> <on|off|cycle|status|sequence>`
                Switch or read a board's power; a sequence is one of its own in boards.yaml.
                
                `/lab quarantine <board> <reason>`
                Take a board out of service; what runs on it goes on.
                
                `/lab return <board>`
                Put a quarantined board back into service.
                
                `/lab drain [board|site] [2h] [reason]`
                Let a board, a site or a worker (worker:its-id) take nothing new, as an operator; what is on it goes on. Alone, it shows what drains.
                
                `/lab undrain <board|site>`
                Let it take new work again.
                
                `/lab reserve <board|soc> [2h] [reason]`
                Have a board as your own for a while: at once, or in your turn.
                
                `/lab extend [board] [1h]`
                Keep the board that you have for longer.
                
                `/lab release [board|soc]`
                Give back the board that you have, or your place in line; other people's boards need an operator.
                
                `/lab hold [#] [30m]`
                Have a run's board as the run leaves it, should it fail, or once it has.
                
                `/lab log <#> [lines]`
                Show a run's console log in its thread, or so many of its last lines here.
                
                `/lab watch [#|soc]`
                Tell me directly how a run ends, or of a family's runs that go wrong; alone, what you watch.
                
                `/lab unwatch <#|soc>`
                Do not tell me of it any more.
                
                `/lab digest`
                What boards, queue and tests were up to in the last day.
                
                `/lab link [code] [yes]`
                Be one person in Slack and in Feishu: alone it gives a code, which is typed on the other platform.
                
                `/lab unlink [person]`
                Be two people again; of others, an admin says it.
                
                `/lab workers`
                Who drives the boards of remote sites, and when they were heard last.
                
                `/lab notify <board|soc>`
                Tell me once when a board comes free.
                
                `/lab nudge <board>`
                Ask whoever has a board whether they still need it.
                
                `/lab handover <board> <person>`
                Offer the board that you have to somebody; it is theirs once they take it.
                
                `/lab reload`
                Read boards.yaml again; one with mistakes changes nothing.
                
                `/lab deadletters`
                Messages that could not be sent, why, and since when.
                
                `/lab resend <number|all>`
                Send a message again that could not be sent.
                
                `/lab audit [who|board|#] [2h] [refused] [before=1234]`
                Who was allowed or refused what, and why; the newest first.
                
                `/lab campaign [campaign|#] [build|pause|resume|continue|rollback|cancel]`
                Bring a build to many boards in waves, or see and steer how that goes.
                
                `/lab schedules [schedule] [pause|resume]`
                What starts by itself and when; pausing one needs an operator.
                
                `/lab help [command]`
                What can be typed here.
                In a mention or a direct message the slash and `lab` may be left out; in the thread of a run, its number too: `@boardhand cancel`. More about one command: `/lab help run-test`

            alice> /run-test --help
                `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Test a build on a board; add x3 to run it three times.
                `suite=…` which tests; a board of the family names them: /lab board soc-a-001
                `priority=high|normal|low` who is sooner in line; normal when absent
                `rev=…` only a board of this revision, such as rev=rev2
                `tag=k:v` only a board with this tag, such as tag=ddr:8g; may stand more than once
                `on=board` only this board
                `timeout=20m` the longest that the whole run may take
                `boards=2` so many boards of one site at once, for one run
                `x3` three runs of the same, each on a board of its own, under one card
                `name=value` a parameter of the suite; the same answer names them
                For example: `/run-test socA build-123 suite=smoke priority=high`

            alice> /lab boards
                *Boards*: 3 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
                🟢 `soc-a-002` socA · Lab Site A
                🟢 `soc-b-001` socB · Lab Site B

            alice> /lab boards socB
                *Boards of socB*: 1 free, 0 busy
                🟢 `soc-b-001` socB · Lab Site B

            alice> /lab boards lab site a
                *Boards of lab site a*: 2 free, 0 busy
                🟢 `soc-a-001` socA · Lab Site A
                🟢 `soc-a-002` socA · Lab Site A

            alice> /lab board soc-a-002
                soc-a-002
                *State* 🟢 free
                *Kind* socA rev2
                *Site* Lab Site A
                *Console* `lab:port`
                *Power switch* yes
                Suites: `smoke` (iterations=…), `trivial`

            alice> /lab board SOC-B-001
                soc-b-001
                *State* 🟢 free
                *Kind* socB
                *Site* Lab Site B
                *Console* `lab:port`
                *Power switch* no
                Suites: `smoke`

            alice> /lab runs
                *Runs*: on boards, waiting, ended last
                No runs yet. Start one: `/run-test <soc> <build>`

            alice> /lab run 7
                ✋ There is no run #7.
                Try: `/lab runs`

            alice> /lab why
                🤔 'why' needs the number of a run, such as #42.
                Usage: `/lab why <#>`
                Try: `/lab why #42`
                `/lab help` shows what I can do.
        "#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_told_with_what_is_near_and_what_to_type_next() {
    lab(&yaml::small(2), async |lab| {
        // Otherwise bob gets a form.
        lab.slack.break_calls("views.open", ApiFault::Error("expired_trigger_id".into()), 1);
        let seen = lab
            .talk(&[
                ("bob", "/run-test socC build-1"),
                ("bob", "/run-test zzz build-1"),
                ("bob", "/run-test socA"),
                ("bob", "/run-test"),
                ("bob", "/run-test socA build-1 suite=smok"),
                ("bob", "/run-test socA build-1 suite=nothing"),
                ("bob", "/run-test socA build-1 iteration=5"),
                ("bob", "/run-test socA build-1 iterations=5000"),
                ("bob", "/run-test socA build-1 iterations=many"),
                ("bob", "/run-test socA build-1 priority=urgent"),
                ("bob", "/run-test socA build-1 timeout=90"),
                ("bob", "/run-test socA build-1 on=soc-a-01"),
                ("bob", "/run-test socA build-1 rev=rev3"),
                ("bob", "/run-test socA build-1 tag=ddr:8g"),
                ("bob", "/run-test socA build-1 tag=ddr"),
                ("bob", "/run-test socA build-1 boards=5"),
                ("bob", "/run-test socA build-1 x99"),
                ("bob", "/run-test socA build-1 suite=smoke suite=trivial"),
                ("bob", "/run-test socA \"build 1\""),
                ("bob", "/run-test socA \"build-1"),
                ("bob", "/run-test socA build-1 on=soc-b-001"),
                ("bob", "/run-test soc-b-001 build-1 on=soc-a-001"),
                ("bob", "/lab bords"),
                ("bob", "/lab board soc-a-009"),
                ("bob", "/lab boards socX"),
                ("bob", "/lab render soc-a-001"),
                ("bob", "/lab power soc-a-001"),
                ("bob", "/lab power soc-a-001 explode"),
                ("bob", "/lab power soc-b-001 cycle"),
                ("bob", "/lab cancel forty"),
                ("bob", "/lab <!channel> `x` *y*"),
            ])
            .await;
        insta::assert_snapshot!(seen, @r#"
            bob> /run-test socC build-1
                ✋ There is no family and no board "socC". Did you mean `socA`?
                Try: `/run-test socA build-1`

            bob> /run-test zzz build-1
                ✋ There is no family and no board "zzz".
                Try: `/lab boards`

            bob> /run-test socA
                🤔 'run-test' needs a build.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test
                🤔 'run-test' needs a soc or a board, and then a build.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 suite=smok
                ✋ The family socA has no suite "smok"; it has smoke, trivial. Did you mean `smoke`?
                Try: `/run-test socA build-1 suite=smoke`

            bob> /run-test socA build-1 suite=nothing
                ✋ The family socA has no suite "nothing"; it has smoke, trivial.
                Try: `/run-test socA build-1 suite=smoke`

            bob> /run-test socA build-1 iteration=5
                ✋ The parameter iteration does not exist in the suite smoke; it has iterations. Did you mean `iterations`?
                Try: `/run-test socA build-1 iterations=5`

            bob> /run-test socA build-1 iterations=5000
                ✋ The parameter iterations must be a whole number of at most 100, not "5000".
                Try: `/lab help run-test`

            bob> /run-test socA build-1 iterations=many
                ✋ The parameter iterations must be a whole number of at most 100, not "many".
                Try: `/lab help run-test`

            bob> /run-test socA build-1 priority=urgent
                🤔 'priority' cannot be 'urgent': it must be one of high, normal, low, 1, 2, 3.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 timeout=90
                🤔 'timeout' cannot be '90': it must be a duration such as N s, 20m or 2h, at most 7 days.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 on=soc-a-01
                ✋ There is no board "soc-a-01". Did you mean `soc-a-001`?
                Try: `/run-test socA build-1 on=soc-a-001`

            bob> /run-test socA build-1 rev=rev3
                ✋ No board of socA is of revision "rev3". Did you mean `rev2`?
                Try: `/lab boards socA`

            bob> /run-test socA build-1 tag=ddr:8g
                ✋ No board of socA has the tag ddr:8g.
                Try: `/lab boards socA`

            bob> /run-test socA build-1 tag=ddr
                🤔 'tag' cannot be 'ddr': it must be key:value.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 boards=5
                ✋ It wants 5 boards of one site, and no site has more than 2 that fit.
                Try: `/lab boards socA`

            bob> /run-test socA build-1 x99
                🤔 A test can be repeated x1 to x20, not 'x99'.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA build-1 suite=smoke suite=trivial
                🤔 'suite' is given twice.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA "build 1"
                🤔 'build 1' is not a build: a build id holds letters, digits and . _ : / @ + - only.
                Usage: `/run-test <soc|board> <build> [suite=…] [priority=high|normal|low] [rev=…] [tag=k:v] [on=board] [timeout=20m] [boards=2] [x3] [name=value …]`
                Try: `/run-test socA build-123 suite=smoke priority=high`
                `/lab help` shows what I can do.

            bob> /run-test socA "build-1
                🤔 A quotation mark is never closed.
                Try: `/lab help`

            bob> /run-test socA build-1 on=soc-b-001
                ✋ The board soc-b-001 is a socB, not a socA.
                Try: `/lab boards socA`

            bob> /run-test soc-b-001 build-1 on=soc-a-001
                ✋ The board soc-a-001 is a socA, not a socB.
                Try: `/lab boards socB`

            bob> /lab bords
                🤔 'bords' is not a command. Did you mean `boards`?
                Try: `/lab boards`
                `/lab help` shows what I can do.

            bob> /lab board soc-a-009
                ✋ There is no board "soc-a-009". Did you mean `soc-a-001`?
                Try: `/lab board soc-a-001`

            bob> /lab boards socX
                ✋ No board is of a family or site called "socX". Did you mean `socA`?
                Try: `/lab boards`

            bob> /lab render soc-a-001
                🤔 'render' is not available in this version yet.
                Try: `/lab help`

            bob> /lab power soc-a-001
                🤔 'power' needs one of on, off, cycle, status, sequence.
                Usage: `/lab power <board> <on|off|cycle|status|sequence>`
                Try: `/lab power soc-a-001 cycle`
                `/lab help` shows what I can do.

            bob> /lab power soc-a-001 explode
                ✋ soc-a-001 has no power sequence "explode"; it has on, off, cycle, status.
                Try: `/lab board soc-a-001`

            bob> /lab power soc-b-001 cycle
                ✋ The board soc-b-001 has no power switch that boardhand can drive.
                Try: `/lab board soc-b-001`

            bob> /lab cancel forty
                🤔 'forty' is not a run: a run is a number such as #42.
                Usage: `/lab cancel <#>`
                Try: `/lab cancel #42`
                `/lab help` shows what I can do.

            bob> /lab <!channel> `x` *y*
                🤔 '!channel' is not a command.
                Try: `/lab help`
        "#);
        assert_eq!(lab.rows("SELECT count(*) FROM runs").await, ["0"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_phones_and_chats_make_of_text_is_understood() {
    lab(&yaml::small(1), async |lab| {
        for text in [
            "/run-test socA build-123",
            "/run-test soca build-123 suite=smoke priority=high",
            "/run-test\u{a0}socA\u{a0}build-123",
            "/run-test socA \u{201c}build-123\u{201d}",
            "/run-test socA build-123 suite=\u{201c}smoke\u{201d}",
            "/run-test socA build-123 \u{2014}suite smoke",
            "/run-test socA build-123 \u{2013}suite=smoke",
            "/run-test soc-a-001 build-123",
            "/lab run-test socA build-123",
        ] {
            let run = lab.run("alice", text).await;
            let spec = lab.view(run).await.run.spec;
            assert_eq!(
                (spec.family.as_str(), spec.build.as_str(), spec.suite.as_str()),
                ("socA", "build-123", "smoke"),
                "{text}"
            );
            lab.say("alice", &format!("/lab cancel {run}")).await;
        }
        for text in ["@boardhand run socA build-123", "@boardhand 运行 socA build-123"] {
            let seen = lab.ask("alice", text).await;
            assert!(seen.starts_with("👍 "), "{text}\n{seen}");
        }
        let seen = lab.slack.say("alice", "@boardhand", "lab boards").await;
        assert_eq!(seen.status, 200);
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
