//! Programs beside the board in whole runs: a plan that flashes, one whose flasher fails, one whose flasher hangs.

use boardhand::console::transcript;

use crate::lab::{lab, yaml};

/// Plans whose boot runs a program beside the board, and then asks for the prompt of a shell.
fn plans() -> String {
    let plan = |name: &str, host: &str| {
        format!(
            "  {name}:\n    limits: {{total: 60s, no_output: 5s}}\n    retry: {{infra: 0}}\n    boot:\n      - power: cycle\n      \
             - host: {{run: {host}, within: 2s}}\n      - login: {{within: 20s}}\n      - force_prompt: {{within: 10s}}\n    \
             test:\n      - {{name: uname, run: 'uname -a', within: 5s}}\n    finally: [{{power: off}}]\n"
        )
    };
    let programs =
        "host_programs: {flash: /bin/echo, breaks: /bin/false, hangs: /bin/sleep, gone: /no/such/flasher}\n";
    let of = [
        ("good", "[flash, writing, '{{ build.id }}', to, '{{ board.id }}']"),
        ("bad", "[breaks]"),
        ("stuck", "[hangs, '300']"),
        ("missing", "[gone]"),
    ];
    let families: Vec<_> = of.iter().map(|(name, _)| (*name, 1, *name)).collect();
    let text = yaml::families(&families);
    let boards = text.split("plans:\n").next().expect("boards");
    let plans: String = of.iter().map(|(name, host)| plan(name, host)).collect();
    format!("{programs}{boards}plans:\n{plans}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_beside_the_board_is_part_of_the_run() {
    lab(&plans(), async |lab| {
        for (family, verdict, says) in [
            ("good", "passed in testing", ""),
            ("bad", "infra host-step-failed in booting", "breaks ended with exit status: 1"),
            ("stuck", "infra host-step-failed in booting", "hangs did not end within"),
            ("missing", "infra host-step-failed in booting", "gone could not run: No such file or directory"),
        ] {
            let run = lab.run("alice", &format!("/run-test {family} b-42")).await;
            assert_eq!(lab.verdict(run).await, verdict, "{family}");
            lab.settle().await;
            let thread = lab.thread(run);
            assert!(thread.to_lowercase().contains(&says.to_lowercase()), "{thread}");
            if family == "good" {
                let path = lab.data.path().join(format!("transcripts/{run}/1/console"));
                let log = transcript::render(&path, 0, 1_000_000).expect("a transcript").text;
                assert!(log.contains("<flash> writing b-42 to good-1"), "{log}");
            }
        }
        lab.settle().await;
        assert_eq!(lab.on(), [""; 0], "boards that are still on");
        lab.read_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_of_the_manual_runs_as_it_stands() {
    let manual = include_str!("../../docs/plans.md");
    let text =
        manual.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    lab(text, async |lab| {
        let run = lab.run("alice", "/run-test socA build-123").await;
        assert_eq!(lab.verdict(run).await, "passed in collecting");
        let path = lab.data.path().join(format!("transcripts/{run}/1/console"));
        let log = transcript::render(&path, 0, 1_000_000).expect("a transcript").text;
        assert!(log.contains("<note> writing build-123 to soc-a-001"), "{log}");
        lab.settle().await;
        lab.read_all();
    })
    .await;
}
