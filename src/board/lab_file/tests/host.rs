//! Programs beside the board: which may run, and what their arguments may be.

use super::*;
use crate::board::plan::Action;

/// A lab with these `host_programs:` whose plan runs this beside the board.
fn text(programs: &str, run: &str) -> String {
    format!(
        "boards: [{{board_id: b, soc_family: f, board_ip: h, lab_location: L}}]\nhost_programs: {programs}\nplans:\n  \
         p: {{params: {{image: {{type: string}}}}, boot: [{{host: {{run: {run}, within: 2m}}}}]}}\n"
    )
}

#[track_caller]
fn check(programs: &str, run: &str, expect: &str) {
    let read = parse("f", &text(programs, run), &|_| None);
    let problems = render(&read.problems);
    let problems: Vec<&str> = problems.lines().filter(|line| line.contains(": error: ")).collect();
    assert!(problems.len() == 1 && problems[0].contains(expect), "{problems:?}");
}

#[test]
fn a_program_is_one_that_the_lab_lists() {
    check(
        "[openocd, /opt/flash]",
        "[opnocd, -f, x]",
        "unknown host program \"opnocd\"; did you mean \"openocd\"?",
    );
    check("{flash: flash}", "[flash]", "a host program must be an absolute path, not \"flash\"");
    check("{flash: }", "[flash]", "a host program must be");
    check("[/opt/a/flash, /opt/b/flash]", "[flash]", "two host programs are called \"flash\"");
    for programs in ["{openocd: , uuu: /opt/uuu}", "[openocd, /opt/uuu]"] {
        let lab = super::lab(&text(programs, "[uuu, -v]"));
        assert_eq!(lab.host_programs["openocd"], "/usr/bin/openocd");
        let step = &lab.plans["p"].boot[0];
        let Action::Host(command) = &step.action else { panic!("{step:?}") };
        assert_eq!((command.path.as_str(), command.arguments.len()), ("/opt/uuu", 1));
        assert_eq!((step.name.as_str(), step.within), ("uuu", Duration::from_secs(120)));
    }
}

#[test]
fn a_value_is_an_argument_of_its_own() {
    super::lab(&text("[uuu]", "[uuu, '{{ params.image }}', '{{ build.id }}', '{{ board.ip }}']"));
    check("[uuu]", "[uuu, 'program {{ params.image }} exit']", "a placeholder stands alone as an argument");
    check("[uuu]", "[uuu, '{{ board.ip | raw }}']", "a placeholder stands alone as an argument");
    check("[uuu]", "[uuu, '{{ params.imge }}']", "did you mean \"image\"?");
    check("[uuu]", "['{{ params.image }}']", "unknown host program");
}

#[test]
fn arguments_have_a_bound() {
    let run = |count: usize| format!("[uuu{}]", ", x".repeat(count));
    super::lab(&text("[uuu]", &run(HOST_ARGUMENTS_MAX)));
    check("[uuu]", &run(HOST_ARGUMENTS_MAX + 1), "at most 100 arguments");
}
