//! The Linux Test Project, <https://linux-test-project.readthedocs.io/>: `abort01.c:45: TPASS: …` of its library,
//! `ping01 1 TPASS: …` of its shell library, `abort01  1  TPASS  :  …` of the old one, and the marks of `runltp`
//! around a test. A case is known by its place, `abort01.c:45`, or `ping01.1`; under `runltp` with the test's tag
//! before it, where that is another word.
//!
//! A program of the new libraries ends with its `Summary:`, unless a TBROK or TCONF ended it; a tag ends with
//! `<<<test_end>>>`. A tag without results of its own is a case by its exit status.

use super::Reader;
use super::sheet::{NAME_BYTES_MAX, Results, Sheet};
use super::text::{SECOND, cut_number, cut_word, micros, plain, split, text};
use crate::outcome::{CaseStatus, Counts};

/// Exit status that says: not for this system.
const TCONF_STATUS: u32 = 32;

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Ltp {
    sheet: Sheet,
    program: Program,
    /// How many results of the program are TBROK; the summary counts them by themselves.
    broken: u32,
    tag: Option<Tag>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// None, or one that promises no summary.
    #[default]
    None,
    /// Its summary is to come; or it was said to have broken off.
    Open {
        ended: bool,
    },
    Summary,
}

/// A test of `runltp`.
#[derive(Debug)]
struct Tag {
    name: Vec<u8>,
    began: Counts,
    took: Option<u64>,
    how: Vec<u8>,
    status: Option<u32>,
}

/// A line of a result.
struct Said<'a> {
    name: Vec<u8>,
    word: &'a [u8],
    message: &'a [u8],
    /// Whether its library sums up at the end.
    sums: bool,
}

impl Reader for Ltp {
    fn line(&mut self, line: &[u8]) {
        let line = plain(line);
        if line.starts_with(b"<<<") || self.tag.is_some() && line.contains(&b'=') {
            self.mark(line);
        }
        if self.program == Program::Summary && self.summary(line) {
            return;
        }
        if line == b"Summary:" && self.program != Program::None {
            self.program = Program::Summary;
        } else if let Some(said) = said(line) {
            self.result(&said);
        } else {
            self.sheet.remember(line);
        }
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.close_tag();
        self.close();
        self.sheet.finish()
    }
}

impl Ltp {
    fn result(&mut self, said: &Said<'_>) {
        let ended = self.program == Program::Open { ended: true };
        if said.sums && (self.program == Program::None || ended && said.word == b"TINFO") {
            self.sheet.begin_program();
            self.broken = 0;
            self.program = Program::Open { ended: false };
        }
        let status = match said.word {
            b"TPASS" => CaseStatus::Passed,
            b"TCONF" => CaseStatus::Skipped,
            b"TFAIL" | b"TBROK" => CaseStatus::Failed,
            // TINFO, TWARN, TDEBUG: no result.
            _ => return self.sheet.remember(said.message),
        };
        if self.program != Program::None && said.sums {
            self.broken += u32::from(said.word == b"TBROK");
            self.program = Program::Open { ended: matches!(said.word, b"TBROK" | b"TCONF") };
        }
        let name = match &self.tag {
            Some(tag) if !said.name.starts_with(&tag.name) => [&tag.name[..], b".", &said.name].concat(),
            _ => said.name.clone(),
        };
        let note = if status == CaseStatus::Passed { b"" } else { said.message };
        self.sheet.case(&name, status, note);
    }

    /// `passed   2`, one word after the other up to the warnings.
    fn summary(&mut self, line: &[u8]) -> bool {
        let (word, rest) = cut_word(line);
        let Some((count, b"")) = cut_number(rest) else { return false };
        let came = self.sheet.of_program();
        match word {
            b"passed" => self.sheet.agree("passed", count, came.passed),
            b"failed" => self.sheet.agree("failed", count, came.failed.saturating_sub(self.broken)),
            b"broken" => self.sheet.agree("broken", count, self.broken),
            b"skipped" => self.sheet.agree("skipped", count, came.skipped),
            b"warnings" => {
                self.program = Program::None;
                self.sheet.forget();
            }
            _ => return false,
        }
        true
    }

    /// What `runltp` says around a test.
    fn mark(&mut self, line: &[u8]) {
        if line == b"<<<test_start>>>" {
            self.close_tag();
            self.sheet.promise();
            let began = self.sheet.results().counts;
            self.tag = Some(Tag { name: Vec::new(), began, took: None, how: Vec::new(), status: None });
            return;
        }
        if line == b"<<<test_end>>>" {
            return self.end_tag();
        }
        let Some(tag) = &mut self.tag else { return };
        if let Some(rest) = line.strip_prefix(b"tag=").filter(|_| tag.name.is_empty()) {
            let name = cut_word(rest).0;
            tag.name = name[..name.len().min(NAME_BYTES_MAX)].to_owned();
        } else if let Some((_, status)) =
            split(line, b"termination_id=").filter(|_| line.starts_with(b"duration="))
        {
            tag.status = cut_number(status).map(|(status, _)| status);
            tag.took = line.strip_prefix(b"duration=").and_then(|rest| micros(cut_word(rest).0, SECOND));
            tag.how = line[..line.len().min(NAME_BYTES_MAX)].to_owned();
        }
    }

    fn end_tag(&mut self) {
        let Some(tag) = self.tag.take() else { return };
        if tag.status != Some(0) {
            // The program says by its status that it did not come to its summary.
            self.program = Program::None;
        } else {
            self.close();
        }
        let now = self.sheet.results().counts;
        let (none, failed) = (now.total() == tag.began.total(), now.failed > tag.began.failed);
        let status = match tag.status {
            Some(0) if none => CaseStatus::Passed,
            Some(TCONF_STATUS) if none => CaseStatus::Skipped,
            Some(0 | TCONF_STATUS) => return,
            Some(_) if failed => return,
            Some(_) => CaseStatus::Failed,
            None => {
                let name = text(&tag.name, NAME_BYTES_MAX);
                return self.sheet.missing(|| format!("{name} ended without a status"));
            }
        };
        let note = if status == CaseStatus::Passed { b"".as_slice() } else { &tag.how };
        let case = self.sheet.case(&tag.name, status, note);
        self.sheet.took(case, tag.took);
    }

    fn close_tag(&mut self) {
        if let Some(tag) = self.tag.take() {
            let name = text(&tag.name, NAME_BYTES_MAX);
            self.sheet.missing(|| format!("{name} began and did not end"));
        }
    }

    fn close(&mut self) {
        if matches!(self.program, Program::Open { ended: false } | Program::Summary) {
            self.sheet.missing(|| "the summary of the test program is missing".to_owned());
        }
        self.program = Program::None;
    }
}

fn said(line: &[u8]) -> Option<Said<'_>> {
    let (first, rest) = cut_word(line);
    if let Some(place) = first.strip_suffix(b":")
        && let Some((file, number)) = split(place, b":")
        && !file.is_empty()
        && !number.is_empty()
        && number.iter().all(u8::is_ascii_digit)
    {
        let (word, message) =
            split(rest, b": ").or_else(|| Some((rest.strip_suffix(b":")?, b"".as_slice())))?;
        let file = file.rsplit(|b| *b == b'/').next().unwrap_or(file);
        let name = [file, b":".as_slice(), number].concat();
        return is_word(word).then_some(Said { name, word, message, sums: true });
    }
    let (number, rest) = cut_word(rest);
    let (word, message) = cut_word(rest);
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let name = [first, b".".as_slice(), number].concat();
    let new = word.strip_suffix(b":");
    let message = if new.is_some() { message } else { message.strip_prefix(b":")?.trim_ascii_start() };
    let word = new.unwrap_or(word);
    is_word(word).then_some(Said { name, word, message, sums: new.is_some() })
}

fn is_word(word: &[u8]) -> bool {
    const WORDS: [&[u8]; 7] = [b"TPASS", b"TFAIL", b"TBROK", b"TCONF", b"TWARN", b"TINFO", b"TDEBUG"];
    WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    /// As LTP 20240930 prints it, shortened.
    const SAMPLE: &str = "\
tst_test.c:1890: TINFO: LTP version: 20240930
tst_test.c:1733: TINFO: Timeout per run is 0h 00m 30s
open01.c:59: TPASS: sticky bit is set as expected
[   12.345678] EXT4-fs (loop0): mounted filesystem
open01.c:61: TFAIL: open() failed: EPERM (1)
open01.c:70: TCONF: no O_TMPFILE

Summary:
passed   1
failed   1
broken   0
skipped  1
warnings 0
";
    const RUNLTP: &str = "\
<<<test_start>>>
tag=gf01 stime=1700000000
cmdline=\"growfiles -W gf01\"
contacts=\"\"
analysis=exit
<<<test_output>>>
gf01        1  TPASS  :  Test passed
<<<execution_status>>>
initiation_status=\"ok\"
duration=3 termination_type=exited termination_id=0 corefile=no
cutime=0 cstime=0
<<<test_end>>>
<<<test_start>>>
tag=mem02 stime=1700000003
<<<test_output>>>
out of memory
<<<execution_status>>>
duration=2 termination_type=signaled termination_id=9 corefile=no
<<<test_end>>>
<<<test_start>>>
tag=quiet stime=1700000003
<<<test_output>>>
<<<execution_status>>>
duration=1 termination_type=exited termination_id=0 corefile=no
<<<test_end>>>
";

    #[test]
    fn programs_and_their_summaries_are_read() {
        let results = check(Format::Ltp, SAMPLE, (1, 1, 1), None);
        assert_eq!(told(&results), ["+ open01.c:59", "- open01.c:61", "s open01.c:70"]);
        assert!(results.cases[1].note.starts_with("open() failed: EPERM (1)"));
        check(Format::Ltp, &SAMPLE.repeat(3), (3, 3, 3), None);
        let shell = "ping01 1 TINFO: network\nping01 1 TPASS: ping\nping01 2 TBROK: no route\n\nSummary:\n\
                     passed   1\nfailed   0\nbroken   1\nskipped  0\nwarnings 0";
        assert_eq!(told(&check(Format::Ltp, shell, (1, 1, 0), None)), ["+ ping01.1", "- ping01.2"]);
        check(Format::Ltp, "tst_test.c:99: TCONF: Test needs root", (0, 0, 1), None);
    }

    #[test]
    fn tags_of_runltp_are_cases_where_their_programs_say_nothing() {
        let results = check(Format::Ltp, RUNLTP, (2, 1, 0), None);
        assert_eq!(told(&results), ["+ gf01.1", "- mem02 2000000us", "+ quiet 1000000us"]);
        assert!(results.cases[1].note.starts_with("duration=2 termination_type=signaled"));
        let inside = format!(
            "<<<test_start>>>\ntag=open_a stime=1\n{SAMPLE}duration=1 termination_id=1\n<<<test_end>>>"
        );
        assert_eq!(told(&check(Format::Ltp, &inside, (1, 1, 1), None))[0], "+ open_a.open01.c:59");
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |mark: &str| &SAMPLE[..SAMPLE.find(mark).expect("a mark of the sample")];
        let no_end = Some("the summary of the test program is missing");
        check(Format::Ltp, upto("open01.c:70"), (1, 1, 0), no_end);
        check(Format::Ltp, upto("open01.c:59"), (0, 0, 0), no_end);
        check(Format::Ltp, upto("skipped"), (1, 1, 1), no_end);
        let lost = SAMPLE.replace("open01.c:59: TPASS", "openPASS");
        check(Format::Ltp, &lost, (0, 1, 1), Some("the summary says 1 passed, 0 came"));
        let cut = &RUNLTP[..RUNLTP.find("out of").expect("a mark of the sample")];
        check(Format::Ltp, cut, (1, 0, 0), Some("mem02 began and did not end"));
        check(Format::Ltp, "a:b: TPASS: x\nTPASS\nSummary:\npassed 3", (0, 0, 0), None);
    }
}
