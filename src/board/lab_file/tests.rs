//! What each mistake in a lab file is told as, to the character; and what loads.

use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::board::plan::{Parser, WatchMeaning};
use crate::board::volume::Verbosity;
use crate::board::{ConsoleKind, Rest};
use crate::outcome::Verdict;
use crate::outcome::parse::Format;

mod builds;
mod host;
mod maintenance;
mod mistakes;
mod reservations;
mod sequences;
mod switches;
mod twins;

fn env(name: &str) -> Option<String> {
    match name {
        "SOC_A_PASSWORD" => Some("s3cret".into()),
        "PDU_COMMUNITY" => Some("private".into()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("2323".into()),
        _ => None,
    }
}

fn read(text: &str) -> LabFile {
    parse("boards.yaml", text, &env)
}

/// The problems of a file, one on a line, without the file's name.
fn told(text: &str) -> String {
    let problems: Vec<String> =
        read(text).problems.iter().map(|p| p.to_string().replacen("boards.yaml:", "", 1)).collect();
    problems.join("\n")
}

#[test]
fn a_simulation_needs_no_variable_and_says_which_are_not_set() {
    let board = |n| {
        format!(
            "- {{board_id: a{n}, soc_family: f, board_ip: 10.0.0.{n}, lab_location: L, soc_revision: ${{REV:-r1}}, telnet_username: root, \
             telnet_password: ${{NOBODY}}}}\n"
        )
    };
    let text = format!("boards:\n{}{}", board(1), board(2));
    assert!(told(&text).contains("2:136: error: the variable NOBODY is not set"), "{}", told(&text));
    let LabFile { inventory, problems } = parse_simulated("boards.yaml", &text, &env);
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let expect =
        "boards.yaml:2:136: warning: the variable NOBODY is not set; the simulation does without".to_owned();
    assert_eq!(told, [expect]);
    let lab = inventory.expect("a lab");
    assert!(
        lab.boards
            .values()
            .all(|board| board.revision.as_deref() == Some("r1") && board.console.password.is_some())
    );
}

fn lab(text: &str) -> Inventory {
    let file = read(text);
    file.inventory.unwrap_or_else(|| panic!("{}", render(&file.problems)))
}

const BOARD: &str = "boards: [{board_id: a, soc_family: f, board_ip: 10.0.0.1, lab_location: L}]\n";

/// The example of the format, and the two plans that it refers to.
const EXAMPLE: &str = r#"boards:
  - board_id: soc-a-001
    soc_family: socA
    soc_revision: rev2
    board_ip: 10.1.1.101
    telnet_port: 23
    pdu_host: pdu-a.lab.local
    pdu_outlet: 1
    lab_location: "Lab Site A"
    tags: {ddr: 8g, can: "yes"}           # optional from here on
    owner: slack:U0LEAD
    telnet_username: root
    telnet_password: ${SOC_A_PASSWORD}
    console: {char_delay: 5ms}            # overrides the family's, key by key
    power: {driver: snmp, preset: apc-rpdu, community: ${PDU_COMMUNITY}}   # pdu_host, pdu_outlet fill in host and outlet
families:
  socA:
    artifacts: {test.bin: 'http://ci.lab.local/{{ build.id }}/test.bin'}   # for builds nobody registered
    console: {type: telnet, login: 'login: $', prompt: '[#$] $', bootloader: '=> $', newline: "\r"}
    power: {driver: snmp, preset: apc-rpdu, off_for: 5s, rest: off}
    default_suite: smoke
    suites: {smoke: linux-smoke, full: linux-full}
    health: {plan: bootcheck, every: 24h, after_infra: true, quarantine_after: 2}
plans:
  linux-smoke:
    limits: {total: 20m, no_output: 4m}
    retry: {infra: 2, other_board: true}
    params: {iterations: {type: integer, default: 1, max: 100}}      # what people may set: iterations=5
    boot:
      - power: cycle
      - interrupt: {expect: 'Hit any key', send: " ", within: 30s}   # boot loader, optional
      - command: {send: 'run netboot', at: bootloader}
      - login: {within: 120s}
    deploy:
      - {run: 'wget -q -O /tmp/t {{ build.artifacts["test.bin"].url }} && chmod +x /tmp/t', within: 60s}
    test:
      - {name: unit, run: '/tmp/t --iterations {{ params.iterations }}', parse: ktap, within: 5m}
    collect:
      - {run: 'dmesg | tail -n 200', save: dmesg.txt}
    watch:
      - {match: 'Kernel panic - not syncing', until: 'end Kernel panic', verdict: failed, cause: panic, fatal: true}
      - {match: 'NMI watchdog.*disabled', ignore: true}
    finally:
      - power: off
  linux-full: {test: [{run: 'true'}]}
  bootcheck: {boot: [{login: {}}]}
roles: {admin: [slack:U0LEAD], operator: [slack:S0GROUP], user: ["*"]}
channels: {default: slack:C0SOCCI, mirrors: [{from: slack:C0SOCCI, to: feishu:oc_abc}], locale: {feishu:oc_abc: zh}}
sites: {"Lab Site A": {worker: local, pdu: server}}
host_programs: [/usr/bin/flash-tool, openocd]
"#;

#[test]
fn the_example_of_the_format_loads_without_a_warning() {
    assert_eq!(told(EXAMPLE), "");
    let lab = lab(EXAMPLE);
    let board = lab.board("soc-a-001").expect("the board");
    assert_eq!((board.family.as_str(), board.site.as_str()), ("socA", "Lab Site A"));
    assert_eq!((board.revision.as_deref(), board.owner.as_deref()), (Some("rev2"), Some("slack:U0LEAD")));
    assert_eq!(
        board.tags,
        [("ddr".to_owned(), "8g".to_owned()), ("can".to_owned(), "yes".to_owned())].into()
    );
    let console = &board.console;
    assert_eq!((console.kind, console.host.as_str(), console.port), (ConsoleKind::Telnet, "10.1.1.101", 23));
    assert_eq!((console.login.as_str(), console.bootloader.as_str()), ("login: $", "=> $"));
    assert_eq!((console.newline.as_str(), console.char_delay), ("\r", Duration::from_millis(5)));
    assert_eq!(console.password.as_ref().map(|p| p.expose_secret().to_owned()).as_deref(), Some("s3cret"));
    assert!(matches!(&board.power.driver, PowerDriver::Snmp(_)));
    assert_eq!(
        (board.power.host.as_deref(), board.power.outlet.as_deref()),
        (Some("pdu-a.lab.local"), Some("1"))
    );
    assert_eq!((board.power.off_for, board.power.rest), (Duration::from_secs(5), Rest::Off));
    let (family, settings) = lab.family("socA").expect("the family");
    assert_eq!(settings.artifacts["test.bin"].render("b-1", "").url, "http://ci.lab.local/b-1/test.bin");
    assert_eq!((settings.default_suite.as_str(), settings.quarantine_after), ("smoke", 2));
    let health = settings.health.as_ref().expect("health");
    assert_eq!(
        (health.plan.as_str(), health.every, health.after_infra),
        ("bootcheck", Some(Duration::from_secs(86400)), true)
    );
    let plan = lab.plan_of(family, "smoke").expect("the plan");
    assert_eq!((plan.limits.total.as_secs(), plan.limits.no_output.as_secs()), (1200, 240));
    assert_eq!(plan.steps().count(), 8);
    assert_eq!(plan.boot[1].within, Duration::from_secs(30));
    assert_eq!(
        (plan.test[0].name.as_str(), &plan.test[0].parse),
        ("unit", &Parser::Formats(vec![Format::Ktap]))
    );
    assert_eq!(plan.collect[0].save.as_deref(), Some("dmesg.txt"));
    let meaning = WatchMeaning { verdict: Verdict::Failed, cause: "panic".into(), fatal: true };
    assert_eq!((plan.watch[0].meaning.as_ref(), &plan.watch[1].meaning), (Some(&meaning), &None));
    assert_eq!(lab.channels.mirrors, [("slack:C0SOCCI".to_owned(), "feishu:oc_abc".to_owned())]);
    assert_eq!(lab.channels.language("feishu", "oc_abc"), Some("zh"));
    let programs: Vec<_> =
        lab.host_programs.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
    assert_eq!(programs, [("flash-tool", "/usr/bin/flash-tool"), ("openocd", "/usr/bin/openocd")]);
    assert_eq!(lab.hash.len(), 64);
}

#[test]
fn a_step_names_one_format_or_several() {
    let steps = "{run: x, parse: exit-code}, {run: x, parse: tap}, {run: x, parse: automake}, {run: x, parse: [ktap, gtest]}";
    let text = format!(
        "boards: [{{board_id: a, soc_family: f, board_ip: 10.0.0.1, lab_location: L}}]\n\
         families: {{f: {{default_suite: s, suites: {{s: p}}}}}}\nplans: {{p: {{test: [{steps}]}}}}\n"
    );
    let lab = lab(&text);
    let (family, _) = lab.family("f").expect("the family");
    let plan = lab.plan_of(family, "s").expect("the plan");
    let parsers: Vec<_> = plan.test.iter().map(|step| step.parse.clone()).collect();
    let formats = |formats: &[Format]| Parser::Formats(formats.to_vec());
    let expect = [
        Parser::ExitCode,
        formats(&[Format::Tap]),
        formats(&[Format::Dejagnu]),
        formats(&[Format::Ktap, Format::Gtest]),
    ];
    assert_eq!(parsers, expect);
}

#[test]
fn a_bare_list_of_boards_is_a_lab_and_every_family_gets_the_built_in_plan() {
    let ten_keys = "- {board_id: x-1, soc_family: socX, soc_revision: r1, board_ip: 10.0.0.1, telnet_port: 2001, \
                    pdu_host: p, pdu_outlet: 3, lab_location: Lab, telnet_username: root, telnet_password: pw}\n";
    for text in [format!("boards:\n{ten_keys}"), ten_keys.to_owned()] {
        let lab = lab(&text);
        let (family, settings) = lab.family("socX").expect("the family");
        assert_eq!(settings.default_suite, "smoke");
        let plan = lab.plan_of(family, "smoke").expect("the built-in plan");
        let steps: Vec<String> = plan.steps().map(|step| step.name.clone()).collect();
        assert_eq!(steps, ["login", "uname"]);
        let board = lab.board("x-1").expect("the board");
        assert!(!board.power.has_switch());
        assert_eq!(board.console.settle, Duration::from_secs(2));
        assert!(!lab.sites["Lab"].remote);
    }
}

#[test]
fn a_pdu_without_a_driver_is_one_warning_a_family_that_names_the_line_to_add() {
    let board = |n: usize, family: &str| {
        format!(
            "- {{board_id: x-{n}, soc_family: {family}, board_ip: 10.0.0.{n}, lab_location: L, pdu_host: p, pdu_outlet: {n}}}\n"
        )
    };
    let text: String = (1..=5).map(|n| board(n, "fa")).chain([board(9, "fb")]).collect();
    let line = |family: &str| {
        format!(
            "add under `families:` the line `{family}: {{power: {{driver: command, on: [your-pdu-tool, \"{{{{ host }}}}\", \
             \"{{{{ outlet }}}}\", on], off: [your-pdu-tool, \"{{{{ host }}}}\", \"{{{{ outlet }}}}\", off]}}}}`"
        )
    };
    let expect = format!(
        "1:82: warning: x-1, x-2, x-3 and 2 more have pdu_host but no power driver, so no power switch; {}\n\
         6:82: warning: x-9 has pdu_host but no power driver, so no power switch; {}",
        line("fa"),
        line("fb")
    );
    assert_eq!(told(&text), expect);
    // The line does what it says.
    let added = line("fa").split('`').nth(3).expect("the line").to_owned();
    let text = format!("boards:\n{}families:\n  {added}\n", board(1, "fa"));
    assert_eq!(told(&text), "");
    assert!(lab(&text).board("x-1").is_some_and(|board| board.power.has_switch()));
}

#[test]
fn permissions_and_linked_people_are_read_and_their_mistakes_are_told() {
    let board = "boards:\n  - {board_id: a, soc_family: socA, board_ip: 10.0.0.1, lab_location: L}\n";
    let good = "permissions:\n  verbs: {reserve: operator}\n  families: {socA: [slack:U0LEAD]}\n  channels: [slack:C0A]\n  \
                workspaces: [T0OTHER]\npeople: {li: {slack: U0LI, feishu: 'feishu:ou_li'}}\n";
    let read = super::parse("boards.yaml", &format!("{board}{good}"), &|_| None);
    let lab = read.inventory.unwrap_or_else(|| panic!("{}", super::render(&read.problems)));
    assert_eq!(lab.permissions.verbs["reserve"], "operator");
    assert_eq!(lab.permissions.channels.as_deref(), Some(&["slack:C0A".to_owned()][..]));
    assert_eq!(lab.permissions.workspaces, ["T0OTHER"]);
    let li = |platform, id: &str| crate::chat::Actor {
        platform,
        id: id.into(),
        team: String::new(),
        name: String::new(),
    };
    assert_eq!(lab.people.keys(&li(crate::chat::Platform::Feishu, "ou_li")), ["slack:U0LI", "feishu:ou_li"]);
    let groups = |count: usize| {
        let named: Vec<String> = (0..count).map(|n| format!("slack:S{n}")).collect();
        format!("roles: {{operator: [{}, 'feishu:od-1']}}", named[1..].join(", "))
    };
    let read = super::parse("boards.yaml", &format!("{board}{}\n", groups(super::GROUPS_MAX)), &|_| None);
    assert_eq!(read.inventory.map(|lab| lab.groups().len()), Some(super::GROUPS_MAX));
    for (text, expect) in [
        (
            "permissions: {verbs: {reserv: user}}",
            "is no command that a role can be needed for; did you mean \"reserve\"?",
        ),
        ("permissions: {verbs: {help: admin}}", "is no command that a role can be needed for"),
        ("permissions: {verbs: {reserve: root}}", "role of a command"),
        ("permissions: {families: {socX: [slack:U1]}}", "there is no family"),
        ("permissions: {channels: [soc-ci]}", "must be slack:C… or feishu:oc_…"),
        ("permissions: {workspaces: ['T 1']}", "is no id of a workspace or a tenant"),
        ("people: {li: {slack: bob}}", "an id of a person must be U… on slack"),
        ("people: {li: {teams: U1}}", "a person has an id on slack or feishu"),
        ("people: {a: {slack: U1, feishu: ou_1}, b: {slack: U1, feishu: ou_2}}", "is two people"),
        ("people: {li: {feishu: on_1}}", "an id of a person must be U… on slack or ou_… on feishu"),
        ("permissions: {verbs: {reserve: admin, 预留: user}}", "which stands here twice"),
        ("permissions: {families: {socA: ['*']}}", "names nobody; leave the list out for everybody"),
        (&groups(super::GROUPS_MAX + 1), "name 51 groups; at most 50 are looked up"),
    ] {
        let read = super::parse("boards.yaml", &format!("{board}{text}\n"), &|_| None);
        let told = super::render(&read.problems);
        assert!(read.inventory.is_none() && told.contains(expect), "{text}\n{told}");
    }
}

#[test]
fn how_much_a_channel_hears_is_read_and_mistakes_are_told() {
    let board = "boards:\n  - {board_id: a, soc_family: socA, board_ip: 10.0.0.1, lab_location: L}\n";
    let good = "channels:\n  verbosity: {slack: milestones, slack:C0A: failures}\n  \
                quiet: {slack: {from: '22:00', until: '07:00', zone: Europe/Berlin}}\n  \
                digest: {slack:C0A: {at: '8:30'}}\n  reactions: {slack: false, slack:C0A: true}\nfamilies: {socA: {log_on_failure: true}}\n";
    let read = super::parse("boards.yaml", &format!("{board}{good}"), &|_| None);
    let lab = read.inventory.unwrap_or_else(|| panic!("{}", super::render(&read.problems)));
    let heard = |channel| lab.channels.verbosity("slack", channel);
    assert_eq!((heard("C0A"), heard("C0B")), (Verbosity::Failures, Verbosity::Milestones));
    assert_eq!(lab.channels.verbosity("feishu", "oc_1"), Verbosity::Verbose);
    let night = crate::clock::Timestamp::from_micros(1_800_000_000_000_000 + 15 * 3_600_000_000);
    assert!(lab.channels.quiet_until("slack", "C0A", night).is_some());
    assert_eq!(lab.channels.quiet_until("feishu", "oc_1", night), None);
    assert_eq!(lab.channels.digest["slack:C0A"].shown(), "08:30 UTC");
    assert!(lab.families.values().all(|family| family.log_on_failure));
    let reacts = |platform, channel| lab.channels.reacts(platform, channel);
    assert_eq!(
        [reacts("slack", "C0A"), reacts("slack", "C0B"), reacts("feishu", "oc_1")],
        [true, false, true]
    );
    let many: Vec<String> = (0..=50).map(|n| format!("'slack:C{n}': {{at: '8:30'}}")).collect();
    for (text, expect) in [
        ("{verbosity: {slack: loud}}", "verbosity"),
        ("{verbosity: {soc-ci: final}}", "a key of verbosity must be slack, feishu, slack:C… or feishu:oc_…"),
        ("{quiet: {slack: {from: '22:00'}}}", "until"),
        ("{quiet: {slack: {from: 22h, until: '7:00'}}}", "from must be a time of day such as \"22:00\""),
        ("{quiet: {slack: {from: '7:00', until: '7:00'}}}", "quiet hours end when they begin"),
        ("{quiet: {slack: {from: '22:00', until: '7:00', zone: Berlin}}}", "unknown time zone"),
        ("{reactions: {slack: some}}", "reactions must be true or false"),
        ("{digest: {slack: {at: '8:30'}}}", "a digest stands in a channel"),
        ("{digest: {slack:C0A: {at: noon}}}", "at must be a time of day"),
        (&format!("{{digest: {{{}}}}}", many.join(", ")), "digest has 51 entries; at most 50 are allowed"),
    ] {
        let read = super::parse("boards.yaml", &format!("{board}channels: {text}\n"), &|_| None);
        let told = super::render(&read.problems);
        assert!(read.inventory.is_none() && told.contains(expect), "{text}\n{told}");
    }
}

#[test]
fn a_board_overrides_its_family_key_by_key() {
    let lab = lab("boards:\n\
        - {board_id: a, soc_family: f, board_ip: h1, lab_location: L, console: {type: tcp, settle: 0s}, power: {off_for: 9s}}\n\
        - {board_id: b, soc_family: f, board_ip: h2, lab_location: L, power: {driver: simulated, host: p2, outlet: B}}\n\
        families:\n  f:\n    console: {prompt: '% $', settle: 1s, char_delay: 2ms, line_delay: 9ms, quiet_kernel: false}\n    \
        power: {driver: command, on: [pdu, '{{host}}', on], off: [pdu, '{{ outlet }}', off], off_for: 3s, rest: off}\n");
    let (a, b) = (lab.board("a").expect("a"), lab.board("b").expect("b"));
    assert_eq!(
        (a.console.kind, a.console.prompt.as_str(), a.console.settle),
        (ConsoleKind::Tcp, "% $", Duration::ZERO)
    );
    assert_eq!((b.console.kind, b.console.settle), (ConsoleKind::Telnet, Duration::from_secs(1)));
    assert_eq!(b.console.char_delay, Duration::from_millis(2));
    assert_eq!((b.console.line_delay, b.console.quiet_kernel), (Duration::from_millis(9), false));
    assert_eq!((a.power.off_for.as_secs(), b.power.off_for.as_secs(), b.power.rest), (9, 3, Rest::Off));
    assert!(
        matches!(&a.power.driver, PowerDriver::Command { on, status: None, .. } if *on == ["pdu", "{{ host }}", "on"])
    );
    assert!(matches!(b.power.driver, PowerDriver::Simulated));
    assert_eq!((b.power.host.as_deref(), b.power.outlet.as_deref()), (Some("p2"), Some("B")));
}

#[test]
fn variables_expand_where_the_board_is_driven() {
    let check = |password: &str, site: &str, expect: &str| {
        let worker = if site == "Far" { "remote" } else { "local" };
        let lab = lab(&format!(
            "boards:\n- board_id: a\n  soc_family: f\n  board_ip: h\n  lab_location: {site}\n  telnet_port: ${{PORT}}\n  \
             telnet_username: u\n  telnet_password: {password}\nsites: {{{site}: {{worker: {worker}}}}}\n\
             families: {{f: {{console: {{char_delay: ${{NOTHING:-1ms}}}}}}}}\n"
        ));
        let board = lab.board("a").expect("a");
        assert_eq!(
            board.console.password.as_ref().expect("a password").expose_secret(),
            expect,
            "{password}"
        );
        assert_eq!((board.console.port, board.console.char_delay.as_millis()), (2323, 1));
    };
    check("${SOC_A_PASSWORD}", "Near", "s3cret");
    check("a${SOC_A_PASSWORD}b${PDU_COMMUNITY}", "Near", "as3cretbprivate");
    check("${NOTHING:-root}", "Near", "root");
    check("${EMPTY:-root}", "Near", "root");
    check("x${EMPTY}y", "Near", "xy");
    check("$${NOTHING}", "Near", "${NOTHING}");
    check("$1", "Near", "$1");
    check("${NOTHING}", "Far", "${NOTHING}");
}

#[test]
fn aliases_repeat_what_they_name() {
    let lab = lab("boards: [{board_id: a, soc_family: f, board_ip: h, lab_location: L}]\n\
        families: {f: {suites: {s: p, t: q}, default_suite: s}}\n\
        plans:\n  p: {boot: &boot [{login: {}}], test: [{run: 'true'}]}\n  q: {boot: *boot, test: [{run: 'false'}]}\n");
    assert_eq!(lab.plans["q"].boot.len(), 1);
}

#[test]
fn a_file_at_a_bound_loads_and_one_beyond_it_is_refused() {
    let boards = |n: usize| -> String {
        let board = |n| format!("- {{board_id: b{n}, soc_family: f, board_ip: h{n}, lab_location: L}}\n");
        (0..n).map(board).collect()
    };
    assert_eq!(read(&boards(BOARDS_MAX)).inventory.map(|lab| lab.boards.len()), Some(BOARDS_MAX));
    assert_eq!(
        told(&boards(BOARDS_MAX + 1)),
        "10001:3: error: the lab has 10001 boards; at most 10000 are allowed"
    );
    let padded = |bytes: usize| format!("{BOARD}#{}", "x".repeat(bytes - BOARD.len() - 1));
    assert!(read(&padded(FILE_BYTES_MAX)).inventory.is_some());
    let large = FILE_BYTES_MAX + 1;
    assert_eq!(
        told(&padded(large)),
        format!("1:1: error: the file has {large} bytes; at most {FILE_BYTES_MAX} are read")
    );
    let nested = |depth: usize| format!("{BOARD}x: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(told(&nested(DEPTH_MAX - 1)).contains("unknown key"));
    assert_eq!(told(&nested(DEPTH_MAX)), format!("2:{}: error: nested deeper than 24 levels", 3 + DEPTH_MAX));
    assert!(told(&nested(2_000_000)).contains("nested deeper"));
    assert!(told(&"{a: ".repeat(1_000_000)).contains("nested deeper"));
    let bomb: String = (1..20)
        .map(|n| format!("a{n}: &a{n} [*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0}]\n", n - 1))
        .collect();
    assert!(
        told(&format!("a0: &a0 [x,x,x,x,x,x]\n{bomb}")).contains("more than 600000 values, aliases included")
    );
    assert!(told(&"- x\n".repeat(NODES_MAX + 1)).contains("more than 600000 values"));
}

#[test]
fn very_many_mistakes_are_counted() {
    let text =
        format!("{BOARD}{}", (0..PROBLEMS_MAX + 20).map(|n| format!("bad{n}: 1\n")).collect::<String>());
    let file = read(&text);
    assert_eq!(file.problems.len(), PROBLEMS_MAX + 1);
    assert_eq!(file.problems[PROBLEMS_MAX].to_string(), "boards.yaml:502:1: error: and 20 more problems");
    assert!(render(&file.problems).ends_with("501 errors, 0 warnings\n"));
    assert_eq!(render(&[]), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-c:{}\\[\\]&*!|>'\"#%@`$ \t\r\n\u{0}\u{feff}\u{e4},.0-9?~]{0,200}") {
        let file = read(&text);
        prop_assert_eq!(file.inventory.is_none(), file.problems.iter().any(Problem::is_error));
    }

    /// The example with a piece cut out or put in: nothing panics, and every problem stands inside the file.
    #[test]
    fn no_slip_in_a_real_file_makes_the_reader_panic(
        at in 0..EXAMPLE.len(), cut in 0..40usize, put in "[-a-z:{}\\[\\]'\"$ \n\t0-9]{0,6}",
    ) {
        let end = (at + cut).min(EXAMPLE.len());
        let text = format!("{}{put}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
        let lines = text.lines().count() as u32 + 1;
        let file = read(&text);
        prop_assert_eq!(file.inventory.is_none(), file.problems.iter().any(Problem::is_error));
        for problem in &file.problems {
            prop_assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{}", problem);
        }
    }
}

#[test]
fn the_example_of_who_may_is_read_as_the_manual_says() {
    let manual = include_str!("../../../docs/lab.md");
    let (_, section) = manual.split_once("## Who may").expect("the section");
    let example = section.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.expect("an example");
    let board = "boards:\n  - {board_id: a, soc_family: socA, board_ip: 10.0.0.1, lab_location: L}\n";
    let read = super::parse("boards.yaml", &format!("{board}{example}"), &|_| None);
    let lab = read.inventory.unwrap_or_else(|| panic!("{}", super::render(&read.problems)));
    assert_eq!((lab.permissions.verbs.len(), lab.permissions.families.len()), (2, 1));
    assert_eq!(lab.permissions.workspaces, ["T0SISTER"]);
}
