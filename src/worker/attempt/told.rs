//! What an attempt comes to: what stopped it, what the watch found on the way, and the outcome of all of it. What each
//! console error means is `meaning`'s, the verdict `outcome::verdict`'s.

use super::{Attempt, Ended, Halt, What};
use crate::console::{ConsoleError, Session, printk};
use crate::outcome::excerpt::{EndedBy, redacted_excerpt};
use crate::outcome::trace;
use crate::outcome::verdict::{Event, Evidence, Happened, weigh};
use crate::outcome::{Outcome, Verdict};
use crate::run::transition::HANDED_BACK;
use crate::run::{Request, Stage};
use crate::store::StoreError;
use crate::worker::meaning;
use crate::worker::runner::Order;

/// Most findings of the watch that an attempt keeps; the first say the most.
const WATCHED_MAX: usize = 16;

impl Attempt {
    /// What an order that came meanwhile makes of it. The cases seen so far are kept. A power cycle that was asked for
    /// is done before anything is told of it.
    pub(in crate::worker) async fn interrupted(&mut self, order: &Order) -> Ended {
        if let Order::Asked(request) = order {
            // Whoever tells the outcome says who asked.
            self.view.run.request = Some(request.clone());
        }
        let tail = self.tail();
        if let Order::Asked(Request::PowerCycle { .. }) = order
            && let Err(Halt::Stale) = self.cycle_as_asked().await
        {
            return Ended::Stale;
        }
        let (happened, detail) = match order {
            Order::Asked(Request::Cancel { by }) => {
                (Happened::CancelledBy { actor: by.key() }, format!("ended by {}", by.shown()))
            }
            Order::Asked(Request::PowerCycle { by }) => {
                let detail = match self.cycled() {
                    Some(Ok(())) => format!("power-cycled by {}", by.shown()),
                    Some(Err(problem)) => format!("{} asked for a power cycle; {problem}", by.shown()),
                    None => format!("{} asked for a power cycle; boards.yaml has no such board", by.shown()),
                };
                let done = matches!(self.cycled(), Some(Ok(())));
                (Happened::PowerCycledBy { actor: by.key(), done }, detail)
            }
            Order::HandBack | Order::GoOn => (Happened::WorkerLost, "the server was stopped".into()),
        };
        let event = Event { stage: self.stage, happened, detail };
        let mut outcome = self.outcome(Some(What { event, tail }));
        if matches!(order, Order::HandBack | Order::GoOn) {
            // As after a crash: the run gets a whole attempt, whatever failed in this half of one.
            (outcome.verdict, outcome.cause) = (Verdict::Infra, HANDED_BACK.to_owned());
        }
        Ended::Outcome(Box::new(outcome))
    }

    /// What the store refuses for good ends the attempt: it would drive a board that nobody hears of.
    pub(super) fn not_kept(&self, error: &StoreError) -> Halt {
        tracing::error!(%error, "the attempt cannot be kept");
        self.halt(Happened::HostStepFailed, format!("boardhand cannot keep this run: {error}"))
    }

    /// What a console error means in the stage that was reached.
    pub(super) fn console_halt(&self, error: ConsoleError) -> Halt {
        self.console_halt_in(self.stage, error)
    }

    /// What a console error means in this stage.
    pub(super) fn console_halt_in(&self, stage: Stage, error: ConsoleError) -> Halt {
        if let ConsoleError::LeaseOver { .. } = error {
            return Halt::Stale;
        }
        let kernel_spoke = self.session.as_ref().is_some_and(Session::kernel_spoke);
        let happened = meaning::happened(&error, stage, kernel_spoke);
        let event = Event { stage, happened, detail: error.to_string() };
        Halt::Happened(Box::new(What { event, tail: error.tail().to_vec() }))
    }

    pub(super) fn halt(&self, happened: Happened, detail: impl Into<String>) -> Halt {
        let event = Event { stage: self.stage, happened, detail: detail.into() };
        Halt::Happened(Box::new(What { event, tail: self.tail() }))
    }

    /// The outcome of everything so far: the worst of what halted the attempt and of the tests.
    pub(super) fn outcome(&mut self, what: Option<What>) -> Outcome {
        if what.is_some() {
            self.results.end(None);
        }
        self.note_hits();
        let mut events = self.watched.clone();
        events.extend_from_slice(self.results.events());
        // What stands in a test's output already is told once.
        let mut tail: String = self.results.tail();
        let missing = self.traces.iter().filter(|line| !tail.contains(line.as_str()));
        tail.insert_str(0, &missing.flat_map(|line| [line.as_str(), "\n"]).collect::<String>());
        let (mut halted, mut died) = (None, Vec::new());
        if let Some(What { event, tail: last }) = what {
            if let Happened::WatchFatal { .. } = event.happened {
                died.clone_from(&last);
            }
            halted = Some(event);
            // The console's last lines go on where the test's output ends.
            let known = tail.lines().next_back().and_then(|end| last.iter().rposition(|line| line == end));
            tail.push_str(&last[known.map_or(0, |at| at + 1)..].join("\n"));
        }
        let redactor = &self.lab.redactor;
        for event in events.iter_mut().chain(&mut halted) {
            event.detail = redactor.redact(&event.detail).into_owned();
        }
        let cases: Vec<_> = self.results.cases().iter().map(|case| case.redacted(redactor)).collect();
        let silent = halted.as_ref().is_some_and(|event| event.happened.is_silence());
        let ended = if silent { EndedBy::Silence } else { EndedBy::Word };
        let excerpt = redacted_excerpt(redactor, &tail, &cases, ended);
        let mut outcome = weigh(Evidence {
            events: &events,
            halted: halted.as_ref(),
            stage: self.stage,
            cases,
            counts: self.results.counts(),
            excerpt,
            golden: self.plan.golden,
            board: &self.grip.lease().board,
            before: &self.view.attempts,
        });
        let trace = self.trace_of(&outcome.detail, &died);
        let trace = redactor.redact(&trace);
        outcome.excerpt = trace::told(outcome.excerpt, &trace.lines().collect::<Vec<_>>());
        if let Some(error) = self.session.as_mut().and_then(Session::transcript_error) {
            tracing::error!(%error, "the transcript has gaps");
            let gaps = format!("its console log has gaps: {error}");
            let said = std::mem::take(&mut outcome.detail);
            outcome.detail = if said.is_empty() { gaps } else { format!("{said}; {gaps}") };
        }
        outcome
    }

    /// The trace that begins with the line by which the outcome is named, if one does: the last one, of a kernel that
    /// died, or one of a kernel that went on.
    fn trace_of(&self, named: &str, died: &[String]) -> String {
        let is_first = |line: &String, named: &str| self.lab.redactor.redact(printk::unstamp(line)) == named;
        if died.first().is_some_and(|line| is_first(line, named)) {
            return died.join("\n");
        }
        let Some(from) = self.traces.iter().position(|line| is_first(line, named)) else {
            return String::new();
        };
        let trace = &self.traces[from..];
        let begins = |line: &String| self.watched.iter().any(|event| is_first(line, &event.detail));
        let end = trace.iter().skip(1).position(begins).map_or(trace.len(), |next| next + 1);
        trace[..end].join("\n")
    }

    /// Keeps what the watch found since the last call: a kernel that stumbled and went on is a failure all the same.
    /// While evidence is gathered an old trace may be shown again, which is none.
    pub(super) fn note_hits(&mut self) {
        let Some(session) = self.session.as_mut() else { return };
        let hits = session.take_hits().kept;
        if self.stage >= Stage::Collecting {
            return;
        }
        for hit in hits {
            let Some(verdict) = hit.meaning.verdict.filter(|_| self.watched.len() < WATCHED_MAX) else {
                continue;
            };
            let detail = printk::unstamp(hit.line()).to_owned();
            let happened = Happened::WatchFatal { verdict, cause: hit.meaning.cause };
            self.watched.push(Event { stage: self.stage, happened, detail });
            self.traces.extend(hit.trace.into_iter().filter(|line| !session.is_ours(line)));
        }
    }
}

impl Halt {
    /// What happened, for people.
    pub(in crate::worker) fn detail(&self) -> &str {
        match self {
            Halt::Stale => "the lease is gone",
            Halt::Happened(what) => &what.event.detail,
        }
    }
}
