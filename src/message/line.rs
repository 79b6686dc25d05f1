//! The line to a platform: whether it takes what is sent. When it takes nothing of ours, whatever the message, the
//! relay stops trying one message after the other: it tries one now and then, and everything stays owed. Pure: time
//! comes in as an argument, and what the log should say goes out.

use std::time::Duration;

use crate::chat::Outage;
use crate::clock::Timestamp;

/// First pause while the platform takes nothing; doubles with every try.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// Longest pause while the platform is not reached: it comes back by itself.
const AWAY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause while it does not accept us: somebody has to act first.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(120);
/// How long one try may take before another message is the next one.
const TRY_WITHIN: Duration = Duration::from_secs(2);
/// Failures without an answer in succession before the platform counts as away: one is the network's daily bread.
const SILENT_MAX: u32 = 3;
/// How often the log repeats that the platform still takes nothing.
const TOLD_EVERY: Duration = Duration::from_secs(15 * 60);

/// The line to one platform.
#[derive(Debug, Default)]
pub struct Line {
    /// Failures without an answer in succession.
    silent: u32,
    out: Option<Out>,
}

#[derive(Debug)]
struct Out {
    trouble: Trouble,
    tries: u32,
    /// Nothing is tried before. Away platforms that are only silent are tried all the time.
    try_at: Timestamp,
    told_at: Timestamp,
}

/// What is wrong with a line, for the health page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// The platform's own error code, or why it is not reached.
    pub error: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What the log should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The platform takes nothing any more.
    Down(Trouble),
    /// It still does not.
    StillDown(Trouble),
    /// It takes messages again, after so long.
    Back(Duration),
}

impl Line {
    /// Whether to try now; otherwise, from when on. Whoever may try is the only one for a moment.
    pub fn may_try(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        match &mut self.out {
            Some(out) if now < out.try_at => Err(out.try_at),
            Some(out) if out.tries > 0 => {
                out.try_at = now + TRY_WITHIN;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The platform took something, or refused just that: it is there, and accepts us.
    pub fn works(&mut self, now: Timestamp) -> Option<News> {
        self.silent = 0;
        self.out.take().map(|out| News::Back(now.since(out.trouble.since)))
    }

    /// The platform takes nothing of ours; gives when to try again.
    pub fn fails(&mut self, outage: &Outage, now: Timestamp) -> (Timestamp, Option<News>) {
        let (error, remedy, longest) = match outage {
            Outage::NotAccepted { code, remedy } => (code, *remedy, REFUSED_PAUSE_MAX),
            Outage::Away(reason) => (reason, AWAY, AWAY_PAUSE_MAX),
        };
        let news = self.down(error, remedy, now);
        let out = self.out.as_mut().expect("the line was just found down");
        let pause = PAUSE_FIRST.saturating_mul(1 << out.tries.min(16)).min(longest);
        out.tries = out.tries.saturating_add(1);
        out.try_at = now + pause;
        (out.try_at, news)
    }

    /// No answer, or one that says nothing: each message has its own pause for that, but many in succession are told.
    pub fn silent(&mut self, reason: &str, now: Timestamp) -> Option<News> {
        self.silent = self.silent.saturating_add(1);
        if self.silent < SILENT_MAX { None } else { self.down(reason, AWAY, now) }
    }

    /// What is wrong now.
    pub fn trouble(&self) -> Option<&Trouble> {
        self.out.as_ref().map(|out| &out.trouble)
    }

    fn down(&mut self, error: &str, remedy: &'static str, now: Timestamp) -> Option<News> {
        let Some(out) = &mut self.out else {
            let trouble = Trouble { since: now, error: error.to_owned(), remedy };
            self.out = Some(Out { trouble: trouble.clone(), tries: 0, try_at: now, told_at: now });
            return Some(News::Down(trouble));
        };
        // Another remedy is another trouble: who mends the first should hear of the next one at once.
        let other = out.trouble.remedy != remedy;
        error.clone_into(&mut out.trouble.error);
        out.trouble.remedy = remedy;
        (other || now.since(out.told_at) >= TOLD_EVERY).then(|| {
            out.told_at = now;
            News::StillDown(out.trouble.clone())
        })
    }
}

/// What to do about a platform that is not reached.
const AWAY: &str =
    "nothing, if it comes back: it is tried again; else check the network and the platform's status page";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_micros(0) + Duration::from_secs(secs)
    }

    fn revoked() -> Outage {
        Outage::NotAccepted { code: "token_revoked".into(), remedy: "set it" }
    }

    fn trouble(since: u64, error: &str, remedy: &'static str) -> Trouble {
        Trouble { since: at(since), error: error.into(), remedy }
    }

    #[test]
    fn a_line_goes_down_once_and_comes_back_once() {
        let mut line = Line::default();
        assert_eq!(line.works(at(0)), None);
        let down = trouble(1, "token_revoked", "set it");
        assert_eq!(line.fails(&revoked(), at(1)), (at(6), Some(News::Down(down.clone()))));
        assert_eq!(line.trouble(), Some(&down));
        assert_eq!(line.fails(&revoked(), at(6)), (at(16), None));
        assert_eq!(line.works(at(20)), Some(News::Back(Duration::from_secs(19))));
        assert_eq!((line.works(at(21)), line.trouble()), (None, None));
    }

    #[test]
    fn one_try_is_made_at_a_time_and_pauses_have_a_longest() {
        let mut line = Line::default();
        let (mut now, mut pauses) = (at(0), Vec::new());
        for _ in 0..8 {
            let (until, _) = line.fails(&revoked(), now);
            pauses.push(until.since(now).as_secs());
            assert_eq!(line.may_try(now), Err(until));
            assert_eq!(line.may_try(until), Ok(()));
            assert!(line.may_try(until).is_err(), "the next one waits for how this one goes");
            now = until;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120, 120]);
        let mut line = Line::default();
        let away = Outage::Away("refused".into());
        let last = (0..40).map(|_| line.fails(&away, at(0)).0).max();
        assert_eq!(last, Some(at(30)));
    }

    #[test]
    fn the_log_is_reminded_now_and_then_and_at_once_of_another_trouble() {
        let mut line = Line::default();
        line.fails(&revoked(), at(0));
        assert_eq!(line.fails(&revoked(), at(899)).1, None);
        let still = |error: &str, remedy| Some(News::StillDown(trouble(0, error, remedy)));
        assert_eq!(line.fails(&revoked(), at(900)).1, still("token_revoked", "set it"));
        let scope = Outage::NotAccepted { code: "missing_scope".into(), remedy: "grant it" };
        assert_eq!(line.fails(&scope, at(901)).1, still("missing_scope", "grant it"));
    }

    #[test]
    fn a_platform_that_is_silent_is_told_and_still_tried() {
        let mut line = Line::default();
        assert_eq!((line.silent("http_500", at(0)), line.silent("http_500", at(1))), (None, None));
        assert_eq!(line.silent("http_500", at(2)), Some(News::Down(trouble(2, "http_500", AWAY))));
        assert_eq!((line.may_try(at(2)), line.may_try(at(2))), (Ok(()), Ok(())));
        assert_eq!(line.works(at(3)), Some(News::Back(Duration::from_secs(1))));
    }
}
