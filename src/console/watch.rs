//! Watch patterns: panics, oopses and resets recognised on every cleaned line from boot to the end, each with its
//! trace. The list is compiled once and shared by all sessions; a [`Watcher`] is one session's eye. Decides
//! nothing: what a hit means stands beside its pattern.

use std::sync::{Arc, LazyLock};

use regex::bytes::Regex;

use super::builtin::{BUILTIN, Severity};
use super::clean::{LINE_BYTES_MAX, cut, cut_words};
use crate::board::plan::WatchRule;
use crate::outcome::Verdict;

/// Most lines of one trace.
pub const TRACE_LINES_MAX: usize = 200;
/// Most bytes of one trace.
pub const TRACE_BYTES_MAX: usize = 16 * 1024;
/// Longest line kept in a trace: a whole one, as far as lines are.
pub const TRACE_LINE_BYTES_MAX: usize = LINE_BYTES_MAX;
/// Longest start of a line that is looked at.
const WATCHED_BYTES_MAX: usize = 1024;

/// What a pattern means and which lines belong to it.
#[derive(Debug, Clone)]
struct Rule {
    start: Regex,
    until: Option<Regex>,
    meaning: Option<Meaning>,
}

/// What a hit means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// The verdict it leads to; `None` is only worth noting.
    pub verdict: Option<Verdict>,
    /// Its cause, such as `panic`.
    pub cause: String,
    /// Whether the attempt ends at once.
    pub fatal: bool,
    /// Whether it says that the board started anew, which is fine while it boots.
    pub reset: bool,
}

impl Meaning {
    fn weight(&self) -> (bool, bool) {
        (self.fatal, self.verdict.is_some())
    }
}

/// A recognised piece of trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it means.
    pub meaning: Meaning,
    /// The lines from the first to the last of its trace; hostile text. Never empty.
    pub trace: Vec<String>,
    /// Whether the trace goes on beyond what was kept.
    pub cut: bool,
}

impl Hit {
    /// The line that was recognised.
    pub fn line(&self) -> &str {
        &self.trace[0]
    }
}

/// A compiled list of patterns: the lab's own ahead of the built-in ones.
pub struct WatchList {
    /// Match whatever any rule matches, so that one search acquits nearly every line: the built-in rules, and the
    /// lab's own where there are any.
    any: [Option<Arc<Regex>>; 2],
    rules: Vec<Arc<Rule>>,
}

/// The built-in rules, compiled once: that takes a tenth of a second and a megabyte, and every attempt needs them. Shared
/// and not cloned, since every clone of an expression grows a memory of its own while it searches.
static BUILT_IN: LazyLock<(Vec<Arc<Rule>>, Arc<Regex>)> = LazyLock::new(|| {
    let rules: Vec<Arc<Rule>> = BUILTIN.iter().map(built_in).map(Arc::new).collect();
    let any = any_of(&rules).expect("built-in patterns fit into one expression, a test says so");
    (rules, Arc::new(any))
});

/// Too many patterns for one expression give none.
fn any_of(rules: &[Arc<Rule>]) -> Option<Regex> {
    let sources = rules.iter().filter(|rule| rule.meaning.is_some());
    let sources: Vec<String> = sources.map(|rule| format!("(?:{})", rule.start.as_str())).collect();
    Regex::new(&sources.join("|")).ok()
}

impl WatchList {
    /// The lab's rules, in order, and then the built-in ones. A rule without a meaning makes its lines harmless.
    pub fn new(rules: &[WatchRule]) -> Arc<WatchList> {
        WatchList::ignoring(&[], rules)
    }

    /// The same, with these lines harmless as well.
    pub fn ignoring(ignore: &[Regex], rules: &[WatchRule]) -> Arc<WatchList> {
        let ignore = ignore.iter().map(|start| Rule { start: start.clone(), until: None, meaning: None });
        let own = rules.iter().map(|rule| Rule {
            start: rule.start.clone(),
            until: rule.until.clone(),
            meaning: rule.meaning.as_ref().map(|meaning| Meaning {
                verdict: Some(meaning.verdict),
                cause: meaning.cause.clone(),
                fatal: meaning.fatal,
                reset: false,
            }),
        });
        let own: Vec<Arc<Rule>> = ignore.chain(own).map(Arc::new).collect();
        let own_any = if own.iter().any(|rule| rule.meaning.is_some()) { Some(any_of(&own)) } else { None };
        let (built_in, built_in_any) = &*BUILT_IN;
        let any = match own_any {
            None => [Some(built_in_any.clone()), None],
            Some(Some(own_any)) => [Some(built_in_any.clone()), Some(Arc::new(own_any))],
            // Too many own patterns: then every line is looked at by each.
            Some(None) => [None, None],
        };
        let mut rules = own;
        rules.extend(built_in.iter().cloned());
        // Lines that one rule declares harmless are harmless to all.
        rules.sort_by_key(|rule| rule.meaning.is_some());
        Arc::new(WatchList { any, rules })
    }

    /// Whether no rule with a meaning can match: true for nearly every line, at memory speed.
    fn acquits(&self, line: &[u8]) -> bool {
        let mut any = self.any.iter().flatten().peekable();
        any.peek().is_some() && any.all(|any| !any.is_match(line))
    }

    fn first(&self, line: &[u8]) -> Option<&Rule> {
        if self.acquits(line) {
            return None;
        }
        self.rules.iter().find(|rule| rule.start.is_match(line)).map(Arc::as_ref)
    }
}

fn built_in(entry: &(Severity, &str, &str, Option<&str>)) -> Rule {
    let (severity, cause, start, until) = entry;
    let compile = |pattern: &str| Regex::new(pattern).expect("built-in patterns compile, a test says so");
    let (verdict, fatal, reset) = match severity {
        Severity::Ignored => {
            return Rule { start: compile(start), until: None, meaning: None };
        }
        Severity::Fatal => (Some(Verdict::Failed), true, false),
        Severity::Serious => (Some(Verdict::Failed), false, false),
        Severity::Mild => (None, false, false),
        Severity::Reset => (None, true, true),
    };
    let meaning = Meaning { verdict, cause: (*cause).to_owned(), fatal, reset };
    Rule { start: compile(start), until: until.map(compile), meaning: Some(meaning) }
}

/// One session's eye on its console.
pub struct Watcher {
    list: Arc<WatchList>,
    resets: bool,
    open: Option<Open>,
}

/// A hit whose trace is still coming in.
struct Open {
    hit: Hit,
    until: Regex,
    bytes: usize,
}

impl Watcher {
    /// Watches for everything but resets.
    pub fn new(list: Arc<WatchList>) -> Self {
        Watcher { list, resets: false, open: None }
    }

    /// Says whether a board that starts anew is trouble: not while it boots, but afterwards.
    pub fn arm_resets(&mut self, armed: bool) {
        self.resets = armed;
    }

    /// Whether the trace of a fatal hit is still coming in.
    pub fn is_dying(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.hit.meaning.fatal)
    }

    /// Looks at one cleaned line and appends the hits it completes.
    pub fn line(&mut self, line: &str, hits: &mut Vec<Hit>) {
        let watched = cut(line, WATCHED_BYTES_MAX);
        if self.open.is_none() && self.list.acquits(watched.as_bytes()) {
            return;
        }
        let Some(rule) = self.starts(watched) else {
            return self.collect(line, hits);
        };
        hits.extend(self.flush());
        let hit = Hit { meaning: rule.0, trace: Vec::new(), cut: false };
        match rule.1 {
            Some(until) => {
                self.open = Some(Open { hit, until, bytes: 0 });
                self.collect(line, hits);
            }
            None => hits.push(Hit { trace: vec![cut_words(line, TRACE_LINE_BYTES_MAX).to_owned()], ..hit }),
        }
    }

    /// The hit whose trace was still coming in, as far as it came: the console fell silent or ended.
    pub fn flush(&mut self) -> Option<Hit> {
        self.open.take().map(|open| Hit { cut: true, ..open.hit })
    }

    /// The rule that this line starts a hit of. Within a trace, only something worse starts another.
    fn starts(&self, line: &str) -> Option<(Meaning, Option<Regex>)> {
        let rule = self.list.first(line.as_bytes())?;
        let meaning = rule.meaning.clone()?;
        let worse = self.open.as_ref().is_none_or(|open| meaning.weight() > open.hit.meaning.weight());
        (worse && (self.resets || !meaning.reset)).then(|| (meaning, rule.until.clone()))
    }

    fn collect(&mut self, line: &str, hits: &mut Vec<Hit>) {
        let Some(open) = &mut self.open else { return };
        let kept = cut_words(line, TRACE_LINE_BYTES_MAX);
        open.bytes += kept.len();
        open.hit.trace.push(kept.to_owned());
        let full = open.hit.trace.len() >= TRACE_LINES_MAX || open.bytes >= TRACE_BYTES_MAX;
        if full || open.until.is_match(line.as_bytes()) {
            open.hit.cut = full;
            hits.extend(self.open.take().map(|open| open.hit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::plan::WatchMeaning;
    use crate::console::clean::Liner;

    fn watch(list: Arc<WatchList>, armed: bool, text: &str) -> Vec<Hit> {
        let (mut watcher, mut hits) = (Watcher::new(list), Vec::new());
        watcher.arm_resets(armed);
        text.lines().for_each(|line| watcher.line(line, &mut hits));
        hits.extend(watcher.flush());
        hits
    }

    #[track_caller]
    fn check(text: &str, causes: &[&str]) {
        let hits = watch(WatchList::new(&[]), true, text);
        assert_eq!(hits.iter().map(|hit| hit.meaning.cause.as_str()).collect::<Vec<_>>(), causes, "{text}");
    }

    #[test]
    fn every_built_in_pattern_compiles_and_is_found_by_the_common_search() {
        let list = WatchList::new(&[]);
        assert_eq!(list.rules.len(), BUILTIN.len());
        let (any, another) = (list.any[0].as_ref(), WatchList::new(&[]));
        let shared = any.zip(another.any[0].as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other));
        assert!(shared, "a thousand sessions search with one expression");
    }

    #[test]
    fn trouble_is_named() {
        check("[    2.4] Kernel panic - not syncing: dumptest", &["panic"]);
        check("[ 9.1] Internal error: Oops: 96000046 [#1] SMP", &["oops"]);
        check("[ 9.1] BUG: KASAN: use-after-free in x", &["kasan"]);
        check("watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", &["soft-lockup"]);
        check("INFO: task kworker/0:1 blocked for more than 120 seconds.", &["hung-task"]);
        check("rcu: INFO: rcu_sched self-detected stall on CPU", &["rcu-stall"]);
        check("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", &["rcu-stall"]);
        check("U-Boot SPL 2024.01 (Jan 08 2024)", &["reset"]);
        check("*** Booting Zephyr OS build v3.5 ***", &["reset"]);
        check("test_x.c:3: Assertion `a' failed.", &["assertion"]);
        check("watchdog: BUG: workqueue lockup - pool cpus=0 stuck for 32s!", &["workqueue"]);
        check("BUG: soft lockup - CPU#1 stuck for 23s! [sh:50]", &["soft-lockup"]);
        check("INFO: rcu_sched detected stalls on CPUs/tasks: { 1}", &["rcu-stall"]);
        check("rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }", &["rcu-stall"]);
        check("BUG: kernel NULL pointer dereference, address: 0000000000000008", &["null-pointer"]);
        check("Internal error: synchronous external abort: 96000210 [#1] PREEMPT SMP", &["oops"]);
        check("Oops [#1]", &["oops"]);
        check("Kernel BUG [#1]", &["kernel-bug"]);
        check("BUG: Bad page state in process sh  pfn:12345", &["bad-page"]);
        check("WARNING: possible recursive locking detected", &["lockdep"]);
        check("Memory cgroup out of memory: Killed process 50 (sh)", &["oom"]);
        check("UBSAN: shift-out-of-bounds in a.c:1:2", &["ubsan"]);
    }

    #[test]
    fn harmless_lines_are_harmless() {
        check("NMI watchdog: Perf NMI watchdog permanently disabled", &[]);
        check("\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\" disables this message.", &[]);
        check("RIP: 0033:0x7f", &[]);
        check("Linux version 6.1.0 (gcc)", &[]);
        check("Debug: Oopsie", &[]);
        check("rcu: INFO: no stall was detected", &[]);
        check("UBSAN checks are on", &[]);
    }

    #[test]
    fn a_reset_is_no_trouble_while_the_board_boots() {
        let list = WatchList::new(&[]);
        assert_eq!(watch(list.clone(), false, "U-Boot 2024.01\n[    0.000000] Linux version 6.1.0"), vec![]);
        assert_eq!(watch(list, true, "U-Boot 2024.01").len(), 1);
    }

    #[test]
    fn a_trace_ends_at_its_end_and_something_worse_begins_anew() {
        let text = "----[ cut here ]----\nWARNING: CPU: 0 PID: 1 at a.c:1\nCall trace:\n---[ end trace 00 ]---\nafter";
        let hits = watch(WatchList::new(&[]), true, text);
        assert_eq!((hits.len(), hits[0].trace.len(), hits[0].cut), (1, 4, false));
        let bug = "----[ cut here ]----\nkernel BUG at a.c:1!\nCall trace:\n---[ end trace 00 ]---";
        let hits = watch(WatchList::new(&[]), true, bug);
        assert_eq!((hits[1].meaning.cause.as_str(), hits[1].trace.len()), ("kernel-bug", 3));
        let worse = "----[ cut here ]----\nx\nKernel panic - not syncing: y\nz";
        let hits = watch(WatchList::new(&[]), true, worse);
        assert_eq!((hits.len(), hits[0].cut, hits[1].trace.len()), (2, true, 2));
    }

    #[test]
    fn a_trace_is_bounded() {
        let endless =
            |line: &str| format!("Kernel panic - not syncing\n{}", format!("{line}\n").repeat(5000));
        let hit = &watch(WatchList::new(&[]), true, &endless("x"))[0];
        assert_eq!((hit.trace.len(), hit.cut), (TRACE_LINES_MAX, true));
        let hit = &watch(WatchList::new(&[]), true, &endless(&"\u{fc}".repeat(5000)))[0];
        assert!(hit.trace.concat().len() <= TRACE_BYTES_MAX + TRACE_LINE_BYTES_MAX && hit.cut);
    }

    #[test]
    fn the_labs_rules_come_first() {
        let rule = |start: &str, meaning| WatchRule {
            start: Regex::new(start).expect("regex"),
            until: None,
            meaning,
        };
        let own = WatchMeaning { verdict: Verdict::Infra, cause: "relay".into(), fatal: true };
        let list = WatchList::new(&[rule("Oops: relay", Some(own)), rule("kernel BUG at old.c", None)]);
        let hits = watch(list.clone(), true, "Oops: relay stuck");
        assert_eq!((hits[0].meaning.verdict, hits[0].meaning.fatal), (Some(Verdict::Infra), true));
        assert_eq!(watch(list, true, "kernel BUG at old.c:12!"), vec![]);
    }

    #[test]
    fn a_recorded_panic_is_recognised_with_its_whole_trace_at_any_split() {
        let raw = include_bytes!("../../tests/transcripts/lkdtm-PANIC.raw");
        for chunk in [1, 3, 13, 37, 4096] {
            let (mut liner, mut watcher, mut hits) =
                (Liner::default(), Watcher::new(WatchList::new(&[])), Vec::new());
            raw.chunks(chunk).for_each(|part| liner.feed(part, &mut |line| watcher.line(line, &mut hits)));
            let hit = hits.first().expect("a hit");
            assert_eq!(
                (hits.len(), hit.meaning.cause.as_str(), hit.cut, hit.trace.len()),
                (1, "panic", false, 25)
            );
            assert!(hit.trace[24].contains("---[ end Kernel panic - not syncing: dumptest ]---"));
        }
    }

    #[test]
    fn every_trace_is_whole_wherever_its_bytes_were_split() {
        let (rule, end) = ("=".repeat(64), "---[ end trace 0000000000000000 ]---");
        let panic = "---[ end Kernel panic - not syncing: x ]---";
        for (start, end, cause) in [
            ("Kernel panic - not syncing: x", panic, "panic"),
            ("Internal error: Oops: 96000046 [#1] SMP", end, "oops"),
            ("Oops [#1]", end, "oops"),
            ("BUG: unable to handle page fault for address: ffff", end, "null-pointer"),
            ("BUG: kernel NULL pointer dereference, address: 8", end, "null-pointer"),
            ("kernel BUG at a.c:1!", end, "kernel-bug"),
            ("Unable to handle kernel paging request", end, "bad-access"),
            ("general protection fault, probably for x", end, "bad-access"),
            ("BUG: KASAN: use-after-free in x", &rule, "kasan"),
            ("BUG: KCSAN: data-race in x / y", &rule, "kcsan"),
            ("BUG: KFENCE: use-after-free read in x", &rule, "kfence"),
            ("BUG: KMSAN: uninit-value in x", &rule, "kmsan"),
            ("UBSAN: shift-out-of-bounds in a.c:1:2", &rule, "ubsan"),
            ("SError Interrupt on CPU0, code 0xbf000002", end, "serror"),
        ] {
            let text = format!("[    2.4] {start}\r\n[    2.5]  f+0x1/0x2\r\n[    2.6] {end}\r\nafter\r\n");
            for at in 0..=text.len() {
                let (mut liner, mut watcher, mut hits) =
                    (Liner::default(), Watcher::new(WatchList::new(&[])), Vec::new());
                for part in [&text.as_bytes()[..at], &text.as_bytes()[at..]] {
                    liner.feed(part, &mut |line| watcher.line(line, &mut hits));
                }
                let seen: Vec<_> =
                    hits.iter().map(|hit| (hit.meaning.cause.as_str(), hit.trace.len(), hit.cut)).collect();
                assert_eq!(seen, [(cause, 3, false)], "{text} split at {at}");
            }
        }
    }

    #[test]
    fn a_clean_boot_has_no_hit() {
        let raw = include_str!("../../tests/transcripts/kunit-boot.raw");
        assert_eq!(watch(WatchList::new(&[]), false, raw), vec![]);
    }
}
