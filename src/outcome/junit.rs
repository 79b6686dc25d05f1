//! A run as JUnit XML, in the form that CI servers read: what the lab did is an `error`, what the build did a `failure`,
//! and every attempt is kept. Pure. Characters that XML 1.0 cannot hold are left out: consoles print them, and one of
//! them makes a parser refuse the whole file.
//!
//! The form is that of Jenkins' JUnit plugin: a suite without a case is dropped there, so a run that has none gets one
//! that says how it ended; cases are grouped by `classname`, which is family and suite.

use quick_xml::Writer;
use quick_xml::events::BytesText;

use super::{CaseStatus, Outcome, TestCase, Verdict};
use crate::run::{Attempt, Run, RunState};

/// Longest text of one element, in bytes; more is cut, and that is said.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The report of a run with its attempts; `None` as long as it is not finished.
pub fn report(run: &Run, attempts: &[Attempt]) -> Option<String> {
    let RunState::Finished { outcome, at, .. } = &run.state else { return None };
    let class = format!("{}.{}", run.spec.family, run.spec.suite);
    let own = own_case(outcome);
    let count = |status: CaseStatus| outcome.cases.iter().filter(|case| case.status == status).count();
    let of_own =
        |errs: bool| own.as_ref().map_or(0, |own| usize::from(own.bad.is_some() && own.is_error == errs));
    let took = at.since(run.created_at).as_secs_f64();
    let started = attempts.last().map_or(run.created_at, |attempt| attempt.started_at);
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 2);
    let written = out
        .create_element("testsuites")
        .write_inner_content(|out| {
            let suite = out
                .create_element("testsuite")
                .with_attribute(("name", plain(&class).as_str()))
                .with_attribute(("timestamp", started.rfc3339().as_str()))
                .with_attribute(("time", format!("{took:.3}").as_str()))
                .with_attribute((
                    "tests",
                    (outcome.cases.len() + usize::from(own.is_some())).to_string().as_str(),
                ))
                .with_attribute((
                    "failures",
                    (count(CaseStatus::Failed) + of_own(false)).to_string().as_str(),
                ))
                .with_attribute(("errors", of_own(true).to_string().as_str()))
                .with_attribute((
                    "skipped",
                    (count(CaseStatus::Skipped) + count(CaseStatus::ExpectedFailure)).to_string().as_str(),
                ));
            suite.write_inner_content(|out| {
                properties(out, run, attempts, outcome)?;
                if let Some(own) = &own {
                    own.write(out, &class)?;
                }
                for case in &outcome.cases {
                    write_case(out, &class, case)?;
                }
                Ok(())
            })?;
            Ok(())
        })
        .map(|_| ());
    // A vector takes everything.
    debug_assert!(written.is_ok(), "{written:?}");
    let xml = String::from_utf8(out.into_inner()).unwrap_or_default();
    Some(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}\n"))
}

/// How the run itself ended, where its cases do not say it.
struct Own {
    name: String,
    is_error: bool,
    /// Cause and text; `None` when it passed.
    bad: Option<(String, String)>,
}

fn own_case(outcome: &Outcome) -> Option<Own> {
    let told_by_cases = outcome.cases.iter().any(|case| case.status == CaseStatus::Failed);
    let name = outcome.stage.as_str().to_owned();
    let is_error = match outcome.verdict {
        Verdict::Passed if outcome.cases.is_empty() => {
            return Some(Own { name: "run".into(), is_error: false, bad: None });
        }
        Verdict::Passed => return None,
        Verdict::Failed if told_by_cases && outcome.cause == super::verdict::cause::TESTS_FAILED => {
            return None;
        }
        Verdict::Failed => false,
        Verdict::Infra | Verdict::TimedOut | Verdict::Cancelled => true,
    };
    let kind = match outcome.verdict {
        Verdict::Infra => format!("infra.{}", outcome.cause),
        verdict => format!("{}.{}", verdict.as_str(), outcome.cause),
    };
    let text = std::iter::once(outcome.detail.as_str()).chain(outcome.excerpt.iter().map(String::as_str));
    Some(Own { name, is_error, bad: Some((kind, text.collect::<Vec<_>>().join("\n"))) })
}

type Out = Writer<Vec<u8>>;

impl Own {
    fn write(&self, out: &mut Out, class: &str) -> std::io::Result<()> {
        let case = out
            .create_element("testcase")
            .with_attribute(("classname", plain(class).as_str()))
            .with_attribute(("name", self.name.as_str()));
        let Some((kind, text)) = &self.bad else { return case.write_empty().map(|_| ()) };
        let element = if self.is_error { "error" } else { "failure" };
        case.write_inner_content(|out| {
            let first = text.lines().next().unwrap_or_default();
            out.create_element(element)
                .with_attribute(("type", plain(kind).as_str()))
                .with_attribute(("message", plain(first).as_str()))
                .write_text_content(BytesText::new(&plain(text)))
                .map(|_| ())
        })?;
        Ok(())
    }
}

fn write_case(out: &mut Out, class: &str, case: &TestCase) -> std::io::Result<()> {
    let seconds = case.took_us.map(|us| format!("{:.6}", us as f64 / 1e6));
    let mut element = out
        .create_element("testcase")
        .with_attribute(("classname", plain(class).as_str()))
        .with_attribute(("name", plain(&case.name).as_str()));
    if let Some(seconds) = &seconds {
        element = element.with_attribute(("time", seconds.as_str()));
    }
    let measured = case.measurement.as_ref().map(|m| format!("{} {}", m.value, m.unit));
    if case.status == CaseStatus::Passed && measured.is_none() && case.note.is_empty() {
        return element.write_empty().map(|_| ());
    }
    element.write_inner_content(|out| {
        let note = plain(&case.note);
        let message = note.lines().next().unwrap_or_default().to_owned();
        match case.status {
            CaseStatus::Failed => {
                out.create_element("failure")
                    .with_attribute(("message", message.as_str()))
                    .write_text_content(BytesText::new(&note))?;
            }
            CaseStatus::Skipped => {
                out.create_element("skipped").with_attribute(("message", message.as_str())).write_empty()?;
            }
            CaseStatus::ExpectedFailure => {
                let message = format!("failed as expected {message}");
                out.create_element("skipped").with_attribute(("message", message.trim())).write_empty()?;
            }
            CaseStatus::Passed if !note.is_empty() => {
                out.create_element("system-out").write_text_content(BytesText::new(&note))?;
            }
            CaseStatus::Passed => {}
        }
        if let Some(measured) = &measured {
            out.create_element("system-out")
                .write_text_content(BytesText::new(&plain(&format!("measured {}", measured.trim()))))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// What a reader of the report may look for: what was tested, on which boards, after which attempts.
fn properties(out: &mut Out, run: &Run, attempts: &[Attempt], outcome: &Outcome) -> std::io::Result<()> {
    let number = run.number.to_string();
    let mut each = vec![
        ("run".to_owned(), number),
        ("build".to_owned(), run.spec.build.clone()),
        ("verdict".to_owned(), outcome.verdict.as_str().to_owned()),
    ];
    for attempt in attempts {
        let ended =
            attempt.outcome.as_ref().map(|ended| format!("{} {}", ended.verdict.as_str(), ended.cause));
        let ended = ended.unwrap_or_else(|| "not ended".into());
        let said = format!("{} {}", attempt.board, ended.trim());
        each.push((format!("attempt.{}", attempt.number), said));
    }
    out.create_element("properties").write_inner_content(|out| {
        for (name, value) in &each {
            out.create_element("property")
                .with_attribute(("name", name.as_str()))
                .with_attribute(("value", plain(value).as_str()))
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

/// A text that XML 1.0 can hold ("Extensible Markup Language 1.0", 2.2), bounded.
fn plain(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    let allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let mut kept: String = text[..end].chars().filter(allowed).collect();
    if end < text.len() {
        kept.push_str("\n… cut");
    }
    kept
}

#[cfg(test)]
mod tests;
