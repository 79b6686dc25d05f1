//! The test program of a simulated build: what it prints and how it ends, decided by the build's id alone. Pure.
//!
//! A build whose id contains one of these words misbehaves: `fail panic oops hang reset drop truncate none slow
//! crawl`;
//! `hostile` prints what tries to break whoever shows it, `flood` one endless line; `missing` cannot be downloaded at
//! all. Every other build passes.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// What a downloaded program's file starts with; the build's path follows.
pub(super) const MAGIC: &str = "#!simulated ";
/// The line of a build that floods its console, in bytes.
const FLOOD_BYTES: usize = 10 * 1024 * 1024;
/// Most iterations that change anything.
const ITERATIONS_MAX: u32 = 1000;
/// What a build that crawls prints before its first case, and the pauses between: time to act on it.
const CRAWL_LINES: u32 = 100;
const CRAWL_PAUSE: Duration = Duration::from_secs(40);

/// One thing that the program does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Line(String),
    /// Bytes that need not be text.
    Raw(Vec<u8>),
    /// A kernel message that comes in between.
    Printk(String),
    /// A kernel that stumbles and goes on: said at any log level.
    Oops(String),
    Pause(Duration),
    /// The middle: where a board can be made to hang or panic.
    Middle,
    Panic,
    Hang,
    Reset,
    HangUp,
    Exit(i32),
}

/// The suites and cases that a build may have.
const SUITES: [(&str, &[&str]); 5] = [
    ("abi", &["struct_layout", "varargs", "callee_saved", "tls_access"]),
    ("gemm", &["f32_128x128", "f16_256x256", "i8_512x512", "bf16_64x64", "i4_packed"]),
    ("conv", &["f16_3x3_stride1", "f16_3x3_stride2", "i8_depthwise", "f32_1x1"]),
    ("memory", &["alloc_free", "dma_copy", "cache_flush", "iommu_map", "shared_buffer", "oom_path"]),
    ("runtime", &["load_model", "two_streams", "cancel_job", "reload_firmware"]),
];

/// The build's id within a download's path: the last folder, or the whole path where there is none.
pub(super) fn build_of(path: &str) -> &str {
    let path = path.trim_matches('/');
    path.rsplit_once('/').map_or(path, |(folders, _)| folders)
}

/// What the program of `build` does when it is run.
pub(super) fn script(build: &str, iterations: u32) -> Vec<Event> {
    let has = |word: &str| build.contains(word);
    let hash = Sha256::digest(build.as_bytes());
    let suites: Vec<_> = SUITES.iter().enumerate().filter(|(n, _)| *n < 3 || hash[*n] % 2 == 0).collect();
    let pace = Duration::from_millis(if has("slow") { 4000 } else { 120 })
        * iterations.clamp(1, ITERATIONS_MAX).ilog2().max(1);
    let mut events = vec![Event::Line("KTAP version 1".into())];
    if has("none") {
        events.extend([
            Event::Line("# no test matched the filter".into()),
            Event::Pause(pace),
            Event::Exit(0),
        ]);
        return events;
    }
    events.push(Event::Line(format!("1..{}", suites.len())));
    events.push(Event::Line(format!("# build {build}, {iterations} iteration(s)")));
    if has("crawl") {
        events.extend((1..=CRAWL_LINES).flat_map(|n| {
            [Event::Pause(CRAWL_PAUSE), Event::Line(format!("# warming up: {n} of {CRAWL_LINES}"))]
        }));
    }
    let mut failed_suites = 0;
    for (number, (place, (suite, cases))) in suites.iter().enumerate() {
        let failing =
            if has("fail") && number % 2 == 1 { hash[*place] as usize % cases.len() } else { usize::MAX };
        events.extend([
            Event::Line("    KTAP version 1".into()),
            Event::Line(format!("    # Subtest: {suite}")),
            Event::Line(format!("    1..{}", cases.len())),
        ]);
        for (index, case) in cases.iter().enumerate() {
            events.push(Event::Pause(pace));
            if number == 1 && index == cases.len() / 2 {
                events.extend(accident(build));
            }
            events.extend(case_lines(suite, case, index, index == failing));
        }
        let failed = usize::from(failing != usize::MAX);
        failed_suites += failed;
        let ok = if failed > 0 { "not ok" } else { "ok" };
        events.push(Event::Line(format!(
            "# {suite}: pass:{} fail:{failed} skip:0 total:{}",
            cases.len() - failed,
            cases.len()
        )));
        events.push(Event::Line(format!("{ok} {} {suite}", number + 1)));
        if number == 0 {
            events.push(Event::Printk("npu fde40000.npu: core 0: power domain up".into()));
        }
    }
    events.push(Event::Exit(i32::from(failed_suites > 0)));
    events
}

/// Output that tries to break whoever shows it: terminal control, mentions, code fences, a link, bytes that are no
/// text, and a failing test case of such a name.
const HOSTILE: &[u8] = b"\x1b[2J\x1b[31m\x1b]0;title\x07red\x1b[0m <!channel> <@U0LEAD> @here\n\
    ```\n*bold* _it_ ~no~ `code` <http://evil.example|log in here> &lt;!channel&gt;\n\
    \xff\xfe\xc3\x28 \xed\xa0\x80 \xe2\x80\xaeabc\x00\x08\x08\n\
    not ok 99 ``` <!channel> `rm -rf` *x* \x1b[31m\xf0\x9f\x92\xa9\xff\n";

/// What happens in the middle of a build that is named after it.
fn accident(build: &str) -> Vec<Event> {
    let mut events = vec![Event::Middle];
    for (word, accident) in [
        ("panic", Event::Panic),
        ("oops", Event::Oops("Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP".into())),
        ("hostile", Event::Raw(HOSTILE.to_vec())),
        ("flood", Event::Raw([vec![b'A'; FLOOD_BYTES], b"\n".to_vec()].concat())),
        ("hang", Event::Hang),
        ("reset", Event::Reset),
        ("truncate", Event::Exit(0)),
        ("drop", Event::HangUp),
    ] {
        if build.contains(word) {
            events.push(accident);
        }
    }
    events
}

fn case_lines(suite: &str, case: &str, index: usize, fails: bool) -> Vec<Event> {
    let number = index + 1;
    if !fails {
        return vec![Event::Line(format!("    ok {number} {suite}_{case}"))];
    }
    vec![
        Event::Line(format!("    # {suite}_{case}: EXPECTATION FAILED at tests/{suite}.c:118")),
        Event::Line("    # Expected out[17] == 0x3c00, but".into()),
        Event::Line("    #     out[17] == 0x3bff".into()),
        Event::Line(format!("    not ok {number} {suite}_{case}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(build: &str) -> Vec<String> {
        let line = |event| match event {
            Event::Line(line) => Some(line),
            _ => None,
        };
        script(build, 1).into_iter().filter_map(line).collect()
    }

    #[test]
    fn an_ordinary_build_passes_and_one_called_fail_does_not() {
        assert!(!lines("build-123").iter().any(|line| line.contains("not ok")));
        assert_eq!(script("build-123", 1).last(), Some(&Event::Exit(0)));
        assert!(lines("build-fail").iter().filter(|line| line.starts_with("    not ok")).count() > 0);
        assert_eq!(script("build-fail", 1).last(), Some(&Event::Exit(1)));
    }

    #[test]
    fn the_plan_tells_as_many_suites_as_there_are() {
        for build in ["build-123", "a", "b", "c", "main/7"] {
            let lines = lines(build);
            let planned: usize = lines[1].trim_start_matches("1..").parse().expect("a plan");
            assert_eq!(lines.iter().filter(|line| line.starts_with("ok ")).count(), planned, "{build}");
        }
    }

    #[test]
    fn a_build_named_after_an_accident_has_it_in_the_middle() {
        for (build, accident) in [
            ("b-panic", Event::Panic),
            ("b-hang", Event::Hang),
            ("b-reset", Event::Reset),
            ("b-drop", Event::HangUp),
        ] {
            assert!(script(build, 1).contains(&accident), "{build}");
        }
        let cut = script("b-truncate", 1);
        assert!(cut.iter().position(|event| *event == Event::Exit(0)).expect("an exit") < cut.len() - 1);
        assert!(!lines("b-none").iter().any(|line| line.contains("ok ")));
    }

    #[test]
    fn a_builds_id_is_the_folder_of_its_download() {
        assert_eq!(build_of("/build-123/test.bin"), "build-123");
        assert_eq!(build_of("/artifacts/main/7/t"), "artifacts/main/7");
        assert_eq!(build_of("/t"), "t");
    }

    #[test]
    fn any_number_of_iterations_is_bearable() {
        assert_eq!(script("b", u32::MAX).len(), script("b", 1).len());
    }
}
