//! LAVA's signals, <https://docs.lavasoftware.org/lava/lava_test_shell.html>: `<LAVA_SIGNAL_TESTCASE
//! TEST_CASE_ID=read RESULT=pass MEASUREMENT=41.2 UNITS=MB/s>`, anywhere in a line. The cheapest way for a script of
//! one's own to tell cases with measurements. A case is known as `run.set.case`, without what was not begun.
//!
//! A script that traces itself shows the signal a second time behind `echo`; that one does not count. A run or case
//! that was started has to be ended.

use super::Reader;
use super::sheet::{NAME_BYTES_MAX, Results, Sheet};
use super::text::{cut_word, decimal, plain, split, text};
use crate::outcome::CaseStatus;

const SIGNAL: &[u8] = b"<LAVA_SIGNAL_";

/// An incremental reader.
#[derive(Debug, Default)]
pub(super) struct Lava {
    sheet: Sheet,
    run: Vec<u8>,
    set: Vec<u8>,
    /// The case that was started and has not ended.
    running: Option<Vec<u8>>,
}

impl Reader for Lava {
    fn line(&mut self, line: &[u8]) {
        let mut rest = plain(line);
        let whole = rest;
        let mut any = false;
        while let Some((before, after)) = split(rest, SIGNAL) {
            let echoed =
                before.trim_ascii_end().ends_with(b"echo") || matches!(before.last(), Some(b'"' | b'\''));
            let Some((signal, next)) = split(after, b">") else {
                if !echoed {
                    self.sheet.promise();
                    self.sheet.missing(|| "a signal was cut off".to_owned());
                }
                return;
            };
            if !echoed {
                self.signal(signal);
            }
            any = true;
            rest = next;
        }
        if !any {
            self.sheet.remember(whole);
        }
    }

    fn results(&self) -> &Results {
        self.sheet.results()
    }

    fn finish(mut self: Box<Self>) -> Results {
        self.lost_end();
        self.lost_run();
        self.sheet.finish()
    }
}

impl Lava {
    fn signal(&mut self, signal: &[u8]) {
        let (kind, rest) = cut_word(signal);
        let (first, _) = cut_word(rest);
        match kind {
            b"STARTRUN" => {
                self.lost_run();
                self.sheet.promise();
                self.run = bounded(first).to_owned();
                self.set.clear();
            }
            b"ENDRUN" => {
                self.lost_end();
                self.run.clear();
                self.set.clear();
            }
            b"TESTSET" if first == b"START" => self.set = bounded(cut_word(cut_word(rest).1).0).to_owned(),
            b"TESTSET" => self.set.clear(),
            b"STARTTC" => {
                self.lost_end();
                self.sheet.promise();
                self.running = Some(bounded(first).to_owned());
            }
            b"ENDTC" => self.running = None,
            b"TESTCASE" | b"TESTREFERENCE" => self.case(rest),
            b"TESTRAISE" => self.sheet.bail_out(rest),
            _ => {}
        }
    }

    fn case(&mut self, fields: &[u8]) {
        let field = |key: &[u8]| {
            let mut words = fields.split(|b| *b == b' ');
            words.find_map(|word| word.strip_prefix(key)?.strip_prefix(b"="))
        };
        let (Some(id), Some(result)) = (field(b"TEST_CASE_ID"), field(b"RESULT")) else {
            self.sheet.missing(|| "a signal without case or result came".to_owned());
            return;
        };
        let (status, note) = match result {
            b"pass" => (CaseStatus::Passed, b"".as_slice()),
            b"fail" => (CaseStatus::Failed, b"".as_slice()),
            b"skip" => (CaseStatus::Skipped, b"".as_slice()),
            other => (CaseStatus::Failed, other),
        };
        let note = match note {
            b"" => field(b"REFERENCE").unwrap_or(b"").to_vec(),
            other => [b"the result is ", other].concat(),
        };
        let parts = [self.run.as_slice(), self.set.as_slice(), id];
        let name = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(&b'.');
        let case = self.sheet.case(&name, status, &note);
        let measured = field(b"MEASUREMENT").and_then(decimal);
        if let Some(value) = measured {
            self.sheet.measured(case, value, field(b"UNITS").unwrap_or(b""));
        }
    }

    fn lost_end(&mut self) {
        if let Some(name) = self.running.take() {
            self.sheet.missing(|| format!("{} began and did not end", text(&name, NAME_BYTES_MAX)));
        }
    }

    fn lost_run(&mut self) {
        if !self.run.is_empty() {
            let run = text(&self.run, NAME_BYTES_MAX);
            self.sheet.missing(|| format!("the end of {run} is missing"));
        }
    }
}

fn bounded(name: &[u8]) -> &[u8] {
    &name[..name.len().min(NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use crate::outcome::parse::Format;
    use crate::outcome::parse::tests::{check, told};

    const SAMPLE: &str = "\
<LAVA_SIGNAL_STARTRUN 0_storage 1043_1.3.2>
+ lava-test-case mount --shell mount /dev/mmcblk0p1 /mnt
<LAVA_SIGNAL_STARTTC mount>
<LAVA_SIGNAL_ENDTC mount>
<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=mount RESULT=pass>
<LAVA_SIGNAL_TESTSET START speed>
<8>[   12.345678] <LAVA_SIGNAL_TESTCASE TEST_CASE_ID=read RESULT=pass MEASUREMENT=41.20 UNITS=MB/s>
+ echo <LAVA_SIGNAL_TESTCASE TEST_CASE_ID=write RESULT=fail MEASUREMENT=1e1 UNITS=MB/s>
short write
half a line<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=write RESULT=fail MEASUREMENT=1e1 UNITS=MB/s>
<LAVA_SIGNAL_TESTSET STOP>
<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=trim RESULT=skip>
<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=wear RESULT=unknown MEASUREMENT=inf>
<LAVA_SIGNAL_ENDRUN 0_storage 1043_1.3.2>
<LAVA_TEST_RUNNER EXIT>
";

    #[test]
    fn signals_are_read_with_measurements_wherever_they_stand() {
        let results = check(Format::Lava, SAMPLE, (2, 2, 1), None);
        let expect = [
            "+ 0_storage.mount",
            "+ 0_storage.speed.read 41.20 MB/s",
            "- 0_storage.speed.write 1e1 MB/s",
            "s 0_storage.trim",
            "- 0_storage.wear",
        ];
        assert_eq!(told(&results), expect);
        assert_eq!(
            (&*results.cases[2].note, &*results.cases[4].note),
            ("short write", "the result is unknown")
        );
        let alone = "<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=a RESULT=pass><LAVA_SIGNAL_TESTCASE TEST_CASE_ID=b RESULT=pass>";
        assert_eq!(told(&check(Format::Lava, alone, (2, 0, 0), None)), ["+ a", "+ b"]);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let upto = |mark: &str| &SAMPLE[..SAMPLE.find(mark).expect("a mark of the sample")];
        check(Format::Lava, upto("<LAVA_SIGNAL_ENDRUN"), (2, 2, 1), Some("the end of 0_storage is missing"));
        check(Format::Lava, upto("<LAVA_SIGNAL_ENDTC"), (0, 0, 0), Some("mount began and did not end"));
        check(Format::Lava, upto("=41.20"), (1, 0, 0), Some("a signal was cut off"));
        let raised = "<LAVA_SIGNAL_TESTRAISE no network>";
        let results = check(Format::Lava, raised, (0, 0, 0), Some("the test bailed out"));
        assert_eq!(results.bail_out.as_deref(), Some("no network"));
        check(Format::Lava, "<LAVA_ nothing", (0, 0, 0), None);
    }
}
