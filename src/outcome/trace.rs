//! Traces: what a kernel printed as it died or stumbled comes first where a failure is told, and what is left out of it
//! is said; the whole of it stands in the transcript. Pure; lines are redacted before.

use super::excerpt::{EXCERPT_LINES_MAX, EXCERPT_TRACE_LINES_MAX, cut};
use crate::console::printk::unstamp;

/// How many lines before a trace an excerpt may begin with: what led to it.
const LED_TO_IT_MAX: usize = 2;

/// Whether the excerpt begins with the line that the failure is named by, or with what led to it.
pub fn leads(excerpt: &[String], detail: &str) -> bool {
    !detail.is_empty() && excerpt.iter().take(LED_TO_IT_MAX + 1).any(|line| unstamp(line) == cut(detail))
}

/// The excerpt where it begins with the trace already, else the trace; and how many of the trace's lines it leaves out.
pub fn told(excerpt: Vec<String>, trace: &[&str]) -> Vec<String> {
    let Some(first) = trace.first() else { return excerpt };
    let shown: Vec<String> = trace.iter().map(|line| cut(line)).collect();
    let mut told = if leads(&excerpt, unstamp(first)) {
        excerpt
    } else {
        let most = if shown.len() <= EXCERPT_TRACE_LINES_MAX { shown.len() } else { EXCERPT_LINES_MAX };
        shown[..most].to_vec()
    };
    match shown.iter().filter(|line| !told.contains(line)).count() {
        0 => {}
        1 => told.push("… 1 more line in the console log".to_owned()),
        more => told.push(format!("… {more} more lines in the console log")),
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("[    2.{n:06}]  frame_{n}+0x1/0x2")).collect()
    }

    #[track_caller]
    fn check(excerpt: &[&str], trace: &[String], first: &str, last: &str, count: usize) {
        let excerpt = excerpt.iter().map(|line| (*line).to_owned()).collect();
        let told = told(excerpt, &trace.iter().map(String::as_str).collect::<Vec<_>>());
        let ends = (told.first().map(String::as_str), told.last().map(String::as_str), told.len());
        assert_eq!(ends, (Some(first), Some(last), count), "{told:#?}");
    }

    #[test]
    fn a_trace_comes_first_and_what_is_left_out_of_it_is_said() {
        let (three, forty, many) = (lines(3), lines(40), lines(41));
        check(&["not ok 1 a"], &three, &three[0], &three[2], 3);
        check(&["not ok 1 a"], &forty, &forty[0], &forty[39], 40);
        check(&["not ok 1 a"], &many, &many[0], "… 26 more lines in the console log", 16);
        // What an excerpt picked of it already stays, with what led to it.
        check(
            &["what led to it", &three[0], &three[1]],
            &three,
            "what led to it",
            "… 1 more line in the console log",
            4,
        );
        check(&["a", "b", "c", &three[0]], &three, &three[0], &three[2], 3);
        check(&["only this"], &[], "only this", "only this", 1);
    }

    #[test]
    fn an_excerpt_leads_with_what_the_failure_is_named_by() {
        let excerpt = ["[    1.0] x".to_owned(), "[    2.000000] Oops".to_owned()];
        assert!(leads(&excerpt, "Oops") && !leads(&excerpt, "") && !leads(&excerpt, "a test failed"));
    }
}
