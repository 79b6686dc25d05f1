//! One case for each mistake: the file, and what is told, to the character.

use super::{BOARD, read, render, told};

/// A lab whose plan has this under `test:`.
fn with_step(step: &str) -> String {
    format!(
        "# one step\n{BOARD}plans:\n  p:\n    params: {{n: {{type: integer, default: 1}}}}\n    test:\n      - {step}\n"
    )
}

/// A lab whose board has these keys as well.
fn with_board_keys(keys: &str) -> String {
    format!("boards:\n- board_id: a\n  soc_family: f\n  board_ip: 10.0.0.1\n  lab_location: L\n{keys}")
}

#[track_caller]
pub(super) fn check(text: &str, expect: &str) {
    assert_eq!(told(text), expect, "in:\n{text}");
}

#[test]
fn everything_is_told_at_once_in_the_order_of_the_file() {
    let text = "boards:\n  - board_id: a\n    soc_famly: f\n    board_ip: 10.0.0.300\n    telnet_port: 70000\n    lab_location: L\nplan: {}\n";
    assert_eq!(
        render(&read(text).problems),
        "boards.yaml:2:5: error: missing key \"soc_family\" in a board\n\
         boards.yaml:3:5: error: unknown key \"soc_famly\" in a board; did you mean \"soc_family\"?\n\
         boards.yaml:4:15: error: board_ip must be an address or a host name, not \"10.0.0.300\"\n\
         boards.yaml:5:18: error: telnet_port must be between 1 and 65535, not 70000\n\
         boards.yaml:7:1: error: unknown key \"plan\" in a lab file; did you mean \"plans\"?\n\
         5 errors, 0 warnings\n"
    );
}

#[test]
fn files_that_are_no_lab_file() {
    check("", "1:1: error: the file is empty; begin with `boards:`");
    check("# nothing\n---\n", "1:1: error: the file is empty; begin with `boards:`");
    check("hello", "1:1: error: a lab file must be a mapping, not \"hello\"");
    check("families: {}", "1:1: error: missing key \"boards\" in a lab file");
    check("boards: {a: b}", "1:9: error: boards must be a list, not a mapping");
    check("boards: []", "1:9: error: the lab has no boards");
    check("- x", "1:3: error: a board must be a mapping, not \"x\"");
    check(
        &format!("{BOARD}---\nx: 1\n"),
        "2:1: error: a lab file is one document; everything after `---` is not read",
    );
}

#[test]
fn text_that_is_no_yaml() {
    check(
        "boards:\n\t- board_id: a\n\t  x: y\n",
        "2:1: error: a tab cannot indent in YAML; use spaces\n3:1: error: a tab cannot indent in YAML; use spaces",
    );
    check("boards: [a", "2:1: error: this is not YAML: while parsing a flow sequence, expected ',' or ']'");
    check(
        "a: 'x\n",
        "1:4: error: this is not YAML: while scanning a quoted scalar, found unexpected end of stream",
    );
    check("a: &x [*x]", "1:8: error: an alias cannot stand inside what it names");
    check(&format!("{BOARD}roles: !x {{}}\n"), "2:8: error: tags such as \"!x\" mean nothing here");
    check(
        &format!("{BOARD}roles: {{user: [\"*\"], user: []}}\n"),
        "2:22: error: duplicate key \"user\"; the first is on line 2",
    );
    check(
        &with_board_keys("  board_ip: 10.0.0.2\n  board_ip: 10.0.0.3\n"),
        "6:3: error: duplicate key \"board_ip\"; the first is on line 4\n7:3: error: duplicate key \"board_ip\"; the first is on line 4",
    );
    check(
        &with_step("run: {{ build.id }}"),
        "7:14: error: run must be text, not a mapping\n\
         7:15: error: a key must be text, not a mapping; put text that begins with `{{` in quotes",
    );
}

#[test]
fn boards() {
    let board = |keys: &str| format!("boards:\n- {{{keys}}}\n");
    check(
        &board("soc_family: f, board_ip: h, lab_location: L"),
        "2:3: error: missing key \"board_id\" in a board",
    );
    check(
        &board("board_id: a, soc_family: f, board_ip: h"),
        "2:3: error: missing key \"lab_location\" in a board",
    );
    check(
        &board("board_id: a, soc_family: f, lab_location: L"),
        "2:3: error: missing key \"board_ip\" in a board",
    );
    check(
        &board("board_id: a b, soc_family: f, board_ip: h, lab_location: L"),
        "2:14: error: board_id must be 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit, not \"a b\"",
    );
    check(
        &board("board_id: [a], soc_family: f, board_ip: h, lab_location: L"),
        "2:14: error: board_id must be text, not a list",
    );
    check(
        "- {board_id: a, soc_family: f, board_ip: h, lab_location: L}\n- {board_id: a, soc_family: f, board_ip: g, lab_location: L}\n",
        "2:14: error: duplicate board_id \"a\"; the first is on line 1",
    );
    check(
        "- {board_id: a, soc_family: f, board_ip: h, lab_location: L}\n- {board_id: b, soc_family: f, board_ip: H, lab_location: L}\n",
        "2:42: error: b has the console of a: same board_ip and telnet_port",
    );
    check(
        &with_board_keys("  telnet_port: telnet\n"),
        "6:16: error: telnet_port must be a whole number, not \"telnet\"",
    );
    check(
        &with_board_keys("  telnet_port: 0\n"),
        "6:16: error: telnet_port must be between 1 and 65535, not 0",
    );
    check(&with_board_keys("  telnet_port: [23]\n"), "6:16: error: telnet_port must be text, not a list");
    check(&with_board_keys("  telnet_password: x\n"), "2:3: error: telnet_password needs telnet_username");
    check(
        &with_board_keys("  telnet_username: u\n  telnet_password: x${SECRET}\n"),
        "7:21: error: the variable SECRET is not set; set it, or give a default: ${SECRET:-…}",
    );
    check(
        &with_board_keys("  telnet_username: '${A B}'\n"),
        "6:21: error: \"A B\" is no name of a variable; write ${NAME} or ${NAME:-default}",
    );
    check(&with_board_keys("  telnet_username: '${A'\n"), "6:21: error: `${` has no `}`");
    check(&with_board_keys("  pdu_outlet: 1\n"), "6:15: error: pdu_outlet needs pdu_host");
    check(&with_board_keys("  tags: [ddr]\n"), "6:9: error: tags must be a mapping, not a list");
    check(&with_board_keys("  tags: {ddr: [8g]}\n"), "6:15: error: tag \"ddr\" must be text, not a list");
    check(&with_board_keys("  tags: {ddr: }\n"), "6:13: error: tag \"ddr\" must be text, not nothing");
    check(
        &with_board_keys("  tags: {ddr: \" 8g\"}\n"),
        "6:15: error: tag \"ddr\" must be 1 to 64 bytes on one line, not \" 8g\"",
    );
    check(
        &with_board_keys("  owner: bob\n"),
        "6:10: error: owner must be slack:U… or feishu:ou_…, not \"bob\"",
    );
}

#[test]
fn consoles() {
    let console = |settings: &str| with_board_keys(&format!("  console: {{{settings}}}\n"));
    check(
        &console("prompt: '[#'"),
        "6:21: error: prompt is not a regular expression: unclosed character class",
    );
    check(&console("typ: tcp"), "6:13: error: unknown key \"typ\" in console; did you mean \"type\"?");
    check(&console("type: telnt"), "6:19: error: unknown console type \"telnt\"; did you mean \"telnet\"?");
    check(&console("type: ssh"), "");
    check(&console("type: rfc2217, baud: 115200"), "");
    check(&console("type: serial, device: /dev/ttyUSB0, baud: 115200"), "");
    check(
        &console("type: serial"),
        "6:19: error: a console of type serial needs \"device\", such as /dev/serial/by-id/usb-…",
    );
    check(
        &console("type: serial, device: ttyUSB0"),
        "6:35: error: device must be an absolute path, not \"ttyUSB0\"",
    );
    check(&console("device: /dev/ttyUSB0"), "6:21: error: device needs a console of type serial");
    check(
        &console("baud: 115200"),
        "6:19: error: baud needs a console of type rfc2217 or serial: nothing else can set it",
    );
    check(&console("type: rfc2217, baud: fast"), "6:34: error: baud must be a whole number, not \"fast\"");
    check(
        &console("char_delay: 10"),
        "6:25: error: char_delay must be a duration such as 5ms, 90s, 20m, 2h or 1h30m, not \"10\"; did you mean 10s?",
    );
    check(&console("settle: 30d"), "6:21: error: settle must be at most 7 days, not \"30d\"");
    check(
        &console("newline: '\\r'"),
        "6:22: error: newline must be \"\\r\", \"\\n\" or \"\\r\\n\" in double quotes, not \"\\\\r\"",
    );
    // A family's mistake is told once, with boards and without.
    let family = "families: {f: {console: {login: '('}}, g: {console: {login: '('}}}\n";
    check(
        &format!("{BOARD}{family}"),
        "2:33: error: login is not a regular expression: unclosed group\n\
         2:40: warning: family \"g\" has no board\n\
         2:61: error: login is not a regular expression: unclosed group",
    );
}

#[test]
fn what_a_family_ignores() {
    let with = |watch: &str| format!("{BOARD}families:\n  f:\n    watch: {watch}\n");
    check(&with("{ignore: ['WARNING: CPU', 'x[0-9]+']}"), "");
    check(
        &with("{ignor: []}"),
        "4:13: error: unknown key \"ignor\" in watch of a family; did you mean \"ignore\"?",
    );
    check(&with("{ignore: x}"), "4:21: error: ignore must be a list, not \"x\"");
    check(
        &with("{ignore: ['a', '(']}"),
        "4:27: error: a pattern to ignore is not a regular expression: unclosed group",
    );
    let many = vec!["a"; crate::board::lab_file::WATCH_MAX + 1].join(", ");
    let told = told(&with(&format!("{{ignore: [{many}]}}")));
    assert!(told.ends_with("error: ignore has 201 patterns; at most 200 are allowed"), "{told}");
}

#[test]
fn power() {
    let power = |settings: &str| with_board_keys(&format!("  power: {{{settings}}}\n"));
    check(&power("driver: snpm"), "6:19: error: unknown power driver \"snpm\"; did you mean \"snmp\"?");
    check(
        &power("driver: simulated, preset: x"),
        "6:30: error: unknown key \"preset\" in power of driver \"simulated\"; known keys are driver, host, outlet, off_for, rest, relays, sequences",
    );
    check(&power("rest: of"), "6:17: error: unknown rest state \"of\"; did you mean \"off\"?");
    check(
        &power("driver: command, on: [x]"),
        "6:19: error: power driver \"command\" needs \"off\"; such as off: [pdu-tool, \"{{ host }}\", \"{{ outlet }}\", off]",
    );
    check(&power("driver: command, on: x, off: [y]"), "6:32: error: on must be a list, not \"x\"");
    check(
        &power("driver: command, on: [], off: [y]"),
        "6:32: error: on must be a program and at most 63 arguments",
    );
    check(
        &power("driver: command, on: [x, '{{ hots }}'], off: [y]"),
        "6:36: error: unknown name \"hots\"; did you mean \"host\"?",
    );
}

#[test]
fn a_board_without_a_switch_under_a_plan_that_switches() {
    let text =
        format!("{BOARD}families: {{f: {{suites: {{s: p}}}}}}\nplans: {{p: {{boot: [{{power: cycle}}]}}}}\n");
    check(&text, "1:10: warning: plan \"p\" switches power, but a has no power switch; name a power driver");
    let two = "boards:
  - {board_id: a, soc_family: f, board_ip: 10.0.0.1, lab_location: L, power: {driver: simulated}}
  - {board_id: b, soc_family: f, board_ip: 10.0.0.2, lab_location: L}
families: {f: {suites: {s: p}}}
plans: {p: {boot: [{power: cycle}]}}
";
    check(two, "3:5: warning: plan \"p\" switches power, but b has no power switch; name a power driver");
}

#[test]
fn families_suites_and_sites() {
    let families = |rest: &str| format!("{BOARD}families: {rest}\n");
    check(&families("{g: {}}"), "1:36: error: unknown family \"f\"; known are g");
    check(
        &families("{f: {suite: {}}}"),
        "2:16: error: unknown key \"suite\" in a family; did you mean \"suites\"?",
    );
    check(
        &families("{f: {suites: {a: smok}}}"),
        "2:28: error: unknown plan \"smok\"; did you mean \"smoke\"?",
    );
    check(
        &(families("{f: {suites: {a: smoke2}}}") + "plans: {smoke1: {test: [{run: x}]}}\n"),
        "2:28: error: unknown plan \"smoke2\"; did you mean \"smoke1\"?",
    );
    check(
        &families("{f: {suites: {a: smoke, b: smoke}}}"),
        "2:15: error: family \"f\" has several suites and no default_suite; name one of a, b",
    );
    check(
        &families("{f: {suites: {a: smoke}, default_suite: b}}"),
        "2:51: error: unknown suite \"b\"; known are a",
    );
    check(&families("{f: {suites: {}}}"), "2:24: error: suites of family \"f\" names none");
    check(&families("{f: {health: {plan: boot}}}"), "2:31: error: unknown plan \"boot\"; known are smoke");
    check(&families("{f: {health: {every: 1h}}}"), "2:24: error: missing key \"plan\" in health");
    check(
        &(families("{f: {health: {plan: p}}}")
            + "plans: {p: {test: [{name: t, run: 'test {{ build.id }}'}]}}\n"),
        "2:31: error: a health run has no build, and plan \"p\" names build.id",
    );
    check(
        &families("{f: {artifacts: {x: 'http://h/{{ params.n }}'}}}"),
        "2:41: error: an artifact's address may name build.id, not params.n",
    );
    check(
        &families("{f: {artifacts: {x: '/srv/x'}}}"),
        "2:32: error: an artifact's address begins with http://, https:// or another scheme",
    );
    let sites =
        |rest: &str| format!("{BOARD}sites: {rest}\n").replace("lab_location: L", "lab_location: Lab A");
    check(
        &sites("{LabA: {worker: remote}}"),
        "2:9: error: site \"LabA\" has no board; did you mean \"Lab A\"?",
    );
    check(&sites("{Elsewhere: {}}"), "2:9: warning: site \"Elsewhere\" has no board");
    check(
        &sites("{Lab A: {worker: far}}"),
        "2:25: error: unknown worker of a site \"far\"; known are local, remote",
    );
    check(&sites("{Lab A: {pdu: worker}}"), "2:22: error: `pdu: worker` needs `worker: remote`");
}

#[test]
fn plans() {
    let plan = |rest: &str| format!("{BOARD}plans: {{p: {{boot: [{{login: {{}}}}], {rest}}}}}\n");
    check(&format!("{BOARD}plans: {{p: {{}}}}\n"), "2:12: error: plan \"p\" has no steps");
    check(&plan("limit: {}"), "2:34: error: unknown key \"limit\" in a plan; did you mean \"limits\"?");
    check(&plan("retry: {infra: 3}"), "2:49: error: retry.infra must be between 0 and 2, not 3");
    check(&plan("limits: {total: 0s}"), "2:50: error: total must be longer than nothing");
    check(
        &plan("limits: {total: 1m, no_output: 2m}"),
        "2:65: warning: no_output is longer than total, so it never ends an attempt",
    );
    check(&plan("boots: gold"), "2:41: error: unknown value of boots \"gold\"; did you mean \"golden\"?");
    check(
        &plan("params: {suite: {type: string}}"),
        "2:43: error: no parameter can be called \"suite\": it is an option of /run-test",
    );
    check(
        &plan("params: {1: {type: string}}"),
        "2:43: error: a parameter is called by letters, digits, _ and -, not \"1\"",
    );
    check(&plan("params: {n: {}}"), "2:46: error: missing key \"type\" in parameter \"n\"");
    check(
        &plan("params: {n: {type: int}}"),
        "2:53: error: unknown type of a parameter \"int\"; did you mean \"integer\"?",
    );
    check(
        &plan("params: {n: {type: integer, default: 500, max: 100}}"),
        "2:71: error: the default of parameter \"n\" must be a whole number of at most 100, not \"500\"",
    );
    check(&plan("params: {n: {type: integer, min: 2, max: 1}}"), "2:46: error: min 2 is larger than max 1");
    check(
        &plan("params: {n: {type: string, max: 1}}"),
        "2:61: error: `max` does not belong to a parameter of type string",
    );
    check(
        &plan("params: {n: {type: string, pattern: '('}}"),
        "2:70: error: pattern is not a regular expression: unclosed group",
    );
    check(
        &plan("params: {n: {type: choice, values: [fast, slow], default: fats}}"),
        "2:92: error: the default of parameter \"n\" must be one of fast, slow, not \"fats\"; did you mean \"fast\"?",
    );
    check(&plan("watch: [{match: x}]"), "2:42: error: missing key \"cause\" in a watch pattern");
    check(
        &plan("watch: [{match: '(', cause: x}]"),
        "2:50: error: match is not a regular expression: unclosed group",
    );
    check(
        &plan("watch: [{match: x, cause: Not So}]"),
        "2:60: error: cause must be a short word of a-z 0-9 and -, not \"Not So\"",
    );
    check(
        &plan("watch: [{match: x, cause: x, verdict: fail}]"),
        "2:72: error: unknown verdict of a watch pattern \"fail\"; did you mean \"failed\"?",
    );
    check(
        &plan("watch: [{match: x, ignore: true, fatal: true}]"),
        "2:67: error: `fatal` says nothing about a pattern to ignore",
    );
}

#[test]
fn steps() {
    let step = |step: &str, expect: &str| check(&with_step(step), expect);
    step("login", "7:9: error: a step must be a mapping, not \"login\"; write `login: {}`");
    step(
        "{name: x}",
        "7:9: error: a step needs one of power, interrupt, command, wait, send, login, run, force_prompt, upload, fetch, host",
    );
    step("{run: x, send: y}", "7:18: error: a step does one thing, not both `run` and `send`");
    step(
        "{rum: x}",
        "7:9: error: a step needs one of power, interrupt, command, wait, send, login, run, force_prompt, upload, fetch, host\n7:10: error: unknown key \"rum\" in a step; did you mean \"run\"?",
    );
    step("power: status", "7:16: error: unknown power action \"status\"; known are on, off, cycle");
    step("interrupt: {send: x}", "7:20: error: missing key \"expect\" in interrupt");
    step("wait: {for: '('}", "7:21: error: for is not a regular expression: unclosed group");
    step(
        "command: {send: x, at: bootlader}",
        "7:32: error: unknown place of a command \"bootlader\"; did you mean \"bootloader\"?",
    );
    step("{wait: {for: x, within: 1s}, within: 2s}", "7:46: error: `within` is given twice for this step");
    step(
        "{run: x, within: 10}",
        "7:26: error: within must be a duration such as 5ms, 90s, 20m, 2h or 1h30m, not \"10\"; did you mean 10s?",
    );
    step(
        "{run: x, parse: junit}",
        "7:25: error: junit is read from a file: bring it back with `fetch`, and put `parse: junit` beside that",
    );
    step(
        "{fetch: {from: /tmp/r.xml, as: r.xml}, parse: xunit}",
        "7:55: error: unknown format of a fetched file \"xunit\"; did you mean \"junit\"?",
    );
    step(
        "{run: x, parse: xml}",
        "7:25: error: this version has no parser \"xml\"; it has exit-code, ktap, tap, kselftest, gtest, pytest, unity, ztest, ctest, ltp, lava, dejagnu, automake",
    );
    step(
        "{run: x, parse: [gtst, exit-code, tap, ktap, unity, unity]}",
        "7:26: error: this version has no parser \"gtst\"; did you mean \"gtest\"?\n7:32: error: `exit-code` stands alone: beside a format, the exit status counts anyway\n7:48: error: tap and ktap would count the same lines twice\n7:61: error: `parse` names unity twice",
    );
    step("{run: x, parse: []}", "7:25: error: `parse` names at least one format");
    step("{run: x, parse: [gtest, [tap]]}", "7:33: error: parse must be text, not a list");
    step("{send: x, parse: ktap}", "7:26: error: `parse` belongs to `run` and `fetch` steps under `test`");
    step(
        "{run: x, save: a/b}",
        "7:24: error: save must be 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit, not \"a/b\"",
    );
    step("{run: x, name: ''}", "7:24: error: the name of a step is 1 to 80 characters on one line");
    step("{run: x, stop: yes}", "7:24: error: stop must be true or false, not \"yes\"");
    step("run:", "7:12: error: run must be text, not nothing");
    let path = "is the whole path of a file on the board, of letters, digits and ._/+@:=,- only, not";
    step("{upload: {from: a, to: b}}", &format!("7:32: error: `to` {path} \"b\""));
    step("{fetch: {from: '/a b', as: b}}", &format!("7:24: error: `from` {path} \"/a b\""));
    step(
        "{fetch: {from: /a, as: console.raw}}",
        "7:32: error: \"console.raw\" is a name of the transcript's own",
    );
    step(
        "{upload: {from: '{{ params.zzz }}', to: /b}}",
        "7:26: error: unknown parameter \"zzz\"; declare it under `params:` of p",
    );
    step(
        "{upload: {from: a, too: b}}",
        "7:18: error: missing key \"to\" in upload\n7:28: error: unknown key \"too\" in upload; did you mean \"to\"?",
    );
    step(
        "force_prompt: {at: login}",
        "7:28: error: unknown place of a prompt \"login\"; known are shell, bootloader",
    );
    step("{host: make}", "7:16: error: host must be a mapping, not \"make\"");
    step("host: {within: 1s}", "7:15: error: missing key \"run\" in host");
    step("host: {run: []}", "7:21: error: run of a host step is a program and at most 100 arguments");
    step(
        "host: {run: [uuu, x]}",
        "7:22: error: host_programs lists no program \"uuu\"; add `host_programs: [uuu]`, or its path, at the top of the file",
    );
    check(
        &format!(
            "{BOARD}plans: {{p: {{boot: [{{run: x, stop: true}}, {{run: x, save: o}}], collect: [{{run: y, save: o}}]}}}}\n"
        ),
        "2:35: error: `stop` belongs to steps under `test`: elsewhere a failing step always stops\n\
         2:87: error: plan \"p\" saves two outputs as \"o\"",
    );
}

#[test]
fn commands_are_told_to_the_character() {
    let step = |step: &str, expect: &str| check(&with_step(step), expect);
    let inside = "error: a placeholder cannot stand inside quotes: it must be an unquoted word";
    step("run: 'echo \"{{ build.id }}\"'", &format!("7:21: {inside}"));
    step("run: echo \"{{ build.id }}\"", &format!("7:20: {inside}"));
    step("run: \"ä '{{ build.id }}'\"", &format!("7:18: {inside}"));
    step("run: |\n          echo a\n          echo '{{ build.id }}'", &format!("9:17: {inside}"));
    // Where the text was folded or escaped, the whole of it is pointed at.
    step("run: >\n          echo\n          '{{ build.id }}'", &format!("8:11: {inside}"));
    step("run: \"\\u00e4 '{{ build.id }}'\"", &format!("7:14: {inside}"));
    step("run: x {{ params.m }}", "7:16: error: unknown parameter \"m\"; declare it under `params:` of p");
    step(
        "run: x {{ params.n }} {{ params.nn }}",
        "7:31: error: unknown parameter \"nn\"; did you mean \"n\"?",
    );
    step("run: x {{ build.artifacts[\"a b\"].url }}", "7:16: error: \"a b\" cannot name an artifact");
    step(
        "command: {send: 'run {{ bord.id }}'}",
        "7:30: error: unknown name \"bord.id\"; did you mean \"board.id\"?",
    );
}

#[test]
fn people_and_channels() {
    let top = |rest: &str, expect: &str| check(&format!("{BOARD}{rest}\n"), expect);
    top(
        "roles: {admin: [bob]}",
        "2:17: error: an entry of a role must be slack:U…, slack:S…, feishu:ou_…, feishu:od-… or \"*\", not \"bob\"",
    );
    top("roles: {admin: bob}", "2:16: error: admin must be a list, not \"bob\"");
    top("roles: {admins: []}", "2:9: error: unknown key \"admins\" in roles; did you mean \"admin\"?");
    top(
        "channels: {default: slack:general}",
        "2:21: error: channels.default must be slack:C… or feishu:oc_…, not \"slack:general\"",
    );
    top(
        "channels: {default: '#general'}",
        "2:21: error: channels.default must be slack:C… or feishu:oc_…, not \"#general\"",
    );
    top("channels: {mirrors: [{from: slack:C1}]}", "2:22: error: missing key \"to\" in a mirror");
    let twice = "error: a mirror from slack:C1 to slack:C1 tells every run there twice";
    top("channels: {mirrors: [{from: slack:C1, to: slack:C1}]}", &format!("2:22: {twice}"));
    top(
        "channels: {mirrors: [{from: slack:C1, to: slack:C2}, {from: slack:C1, to: slack:C2}]}",
        "2:54: error: a mirror from slack:C1 to slack:C2 tells every run there twice",
    );
    top(
        "channels: {locale: {slack:C1: zh, feishu: zh, teams: zh}}",
        "2:47: error: a key of locale must be slack, feishu, slack:C… or feishu:oc_…, not \"teams\"",
    );
    top("channels: {locale: {slack:C1: de}}", "2:31: error: unknown language \"de\"; known are en, zh");
    top(
        "host_programs: [flash]",
        "2:17: error: a host program must be an absolute path, not \"flash\"; without a path there are openocd, fastboot, uuu, dfu-util",
    );
}

/// A lab with this schedule.
fn with_schedule(keys: &str) -> String {
    format!("{BOARD}schedules:\n  nightly: {{{keys}}}\n")
}

#[test]
fn schedules() {
    check(&with_schedule("cron: 0 2 * * *, zone: Europe/Berlin, run: f build-1, start_within: 4h"), "");
    check(
        &with_schedule("crn: 0 2 * * *, run: f build-1"),
        "3:12: error: missing key \"cron\" in a schedule\n\
         3:13: error: unknown key \"crn\" in a schedule; did you mean \"cron\"?",
    );
    check(
        &with_schedule("cron: 0 2 * *, zone: Europe/Berln, run: f build-1"),
        "3:34: error: unknown time zone \"Europe/Berln\"; did you mean \"Europe/Berlin\"?",
    );
    check(
        &(with_schedule("cron: 0 2 * * *, run: f build-1")
            + "  NIGHTLY: {cron: 0 3 * * *, run: f build-1}\n"),
        "4:3: error: the schedules \"NIGHTLY\" and \"nightly\" (line 3) differ only by case: nobody could say which is meant",
    );
    check(
        &with_schedule("cron: 0 2 * *, run: f build-1"),
        "3:19: error: cron \"0 2 * *\" is none: it has 4 fields; five fields: minute, hour, day, month, weekday, such as \
         \"0 2 * * *\"",
    );
    check(
        &with_schedule("cron: 0 25 * * *, run: f build-1"),
        "3:19: error: cron \"0 25 * * *\" is none: number out of bounds; five fields: minute, hour, day, \
         month, weekday, such as \"0 2 * * *\"",
    );
    check(
        &with_schedule(&format!("cron: '0 2 * * *{}', run: f build-1", " ".repeat(200))),
        "3:19: error: cron has at most 200 bytes",
    );
    check(
        &with_schedule("cron: 0 2 * * *, run: f build-1, start_within: 30s"),
        "3:60: error: start_within must be at least 1m, not \"30s\"",
    );
    check(
        &with_schedule("cron: 0 2 30 2 *, run: f build-1"),
        "3:19: error: cron \"0 2 30 2 *\" is none: this time never comes; five fields: minute, hour, day, month, weekday, \
         such as \"0 2 * * *\"",
    );
}

#[test]
fn what_a_schedule_runs_must_be_there() {
    let runs = |line: &str| with_schedule(&format!("cron: 0 2 * * *, run: '{line}'"));
    check(&runs("a build-1 suite=smoke priority=low x3"), "");
    check(
        &runs("g build-1"),
        "3:35: error: schedule \"nightly\" starts nothing: there is no family and no board \"g\"",
    );
    check(
        &runs("f build-1 suite=smke"),
        "3:35: error: schedule \"nightly\" starts nothing: family \"f\" has no suite \"smke\"; did you mean \"smoke\"?",
    );
    check(
        &runs("f"),
        "3:35: error: schedule \"nightly\" starts nothing: 'run-test' needs a build; as in \"socA build-123 suite=smoke \
         priority=high\"",
    );
    check(
        &runs("f build-1 rev=rev9"),
        "3:35: error: schedule \"nightly\" starts nothing: no board of the lab is all that it asks for",
    );
    check(
        &runs("f build-1 n=5"),
        "3:35: error: schedule \"nightly\" starts nothing: the parameter n does not exist in the suite smoke; it has none",
    );
}

/// A lab with this campaign.
#[test]
fn hooks() {
    let webhook = |keys: &str| format!("{BOARD}webhooks:\n  ci: {{{keys}}}\n");
    let secret = "secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    check(
        &webhook(&format!(
            "url: 'https://ci/x', {secret}, events: [run.finished, 'lease.*', '*'], private: true"
        )),
        "",
    );
    check(
        &webhook(&format!("url: 'ftp://ci/x', {secret}, events: [run.finishd]")),
        "3:13: error: url is none: an address begins with https:// or http://\n\
         3:84: error: nothing is told of \"run.finishd\"; did you mean \"run.finished\"?",
    );
    check(
        &webhook("url: 'https://ci/x', secret: short, events: [run.finished]"),
        "3:37: error: secret must be whsec_ and 24 to 64 bytes in base64, or two of them with a comma while rotating; \
         make one with: echo whsec_$(openssl rand -base64 32)",
    );
    check(
        &webhook(&format!("url: 'https://ci/x', {secret}")),
        "3:7: error: missing key \"events\" in a webhook",
    );
    check(
        &format!("{BOARD}callbacks: {{hosts: ['not a host'], {secret}}}\n"),
        "2:21: error: \"not a host\" is no host; write ci.example.com, ci.example.com:8443, *.example.com, or http://… \
         for plain HTTP",
    );
    check(&format!("{BOARD}callbacks: {{{secret}}}\n"), "2:12: error: missing key \"hosts\" in callbacks");
    let never =
        "an address that is never called: link-local, leading nowhere, or where clouds hand out credentials";
    check(
        &format!("{BOARD}callbacks: {{hosts: ['http://169.254.169.254'], {secret}}}\n"),
        &format!("2:21: error: \"http://169.254.169.254\" is {never}"),
    );
    check(
        &webhook(&format!("url: 'https://[fe80::1]/x', {secret}, events: [run.finished]")),
        &format!("3:13: error: url is at {never}"),
    );
    check(
        &format!("{BOARD}callbacks: {{hosts: ['http://10.0.0.7:8080'], {secret}}}\n"),
        "2:20: error: hosts has a private address; private: true allows it",
    );
    check(
        &webhook(&format!("url: 'http://127.0.0.1/x', {secret}, events: [run.finished]")),
        "3:13: error: url is at a private address; private: true allows it",
    );
}

fn with_campaign(keys: &str) -> String {
    format!("{BOARD}campaigns:\n  rollout: {{{keys}}}\n")
}

#[test]
fn campaigns() {
    check(
        &with_campaign("boards_of: [f], waves: [1, 50%], gate: 90, rollback: {build: b, suite: smoke}"),
        "",
    );
    check(&with_campaign("families: [f], suites: [smoke], repeats: 3, stop: {failed: 20, after: 5}"), "");
    check(&with_campaign("gate: 90"), "3:12: error: a campaign needs one of families, boards_of and boards");
    check(
        &with_campaign("families: [f], waves: [none, 0]"),
        "3:36: error: a wave must be a number, or up to 100%, not \"none\"\n\
         3:42: error: a wave must be a number, or up to 100%, not \"0\"",
    );
    check(
        &with_campaign("families: [f], rollback: {build: b, suite: smoke}"),
        "3:12: error: a rollback needs boards or boards_of: of a family, nobody knows which board",
    );
    check(&with_campaign("boards_of: [f, F]"), "3:28: error: boards_of has \"F\" twice");
    check(&with_campaign("boards: []"), "3:12: error: boards of a campaign must name one at least");
    check(
        &with_campaign("boards: [a], suites: [smke]"),
        "3:3: error: campaign \"rollout\" starts nothing: family \"f\" has no suite \"smke\"; did you mean \"smoke\"?",
    );
    check(
        &with_campaign("boards_of: [g]"),
        "3:3: error: campaign \"rollout\" starts nothing: there is no family and no board \"g\"",
    );
    check(
        &format!("{BOARD}campaigns:\n  12: {{families: [f]}}\n"),
        "3:3: error: a campaign's name must not be a number: numbers are those that were begun",
    );
}
