//! Redaction: secrets out of text that came from a board, a build or a person, before anybody sees it. Stands
//! between the transcript and every message, page and log of it. It knows shapes, not secrets: it lowers the risk
//! of a leak and cannot exclude one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{LazyLock, RwLock};

use regex::{Captures, Regex, RegexBuilder};
use secrecy::{ExposeSecret, SecretString};

/// Longest text that is looked at, in bytes; what is longer is cut, never shown unread.
pub const REDACT_BYTES_MAX: usize = 256 * 1024;
/// Most patterns that a lab may add.
pub const REDACT_PATTERNS_MAX: usize = 50;
/// Largest compiled pattern, in bytes.
pub const REDACT_PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Shortest known secret that is looked for: a shorter one stands in too much that is none.
pub const REDACT_KNOWN_BYTES_MIN: usize = 8;
/// What stands in a secret's place.
pub const REDACTED: &str = "[redacted]";

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// It is no regular expression, or too large a one.
    #[error("pattern {index} cannot be used")]
    Pattern {
        /// Which one, from 0.
        index: usize,
        /// What the regex compiler says.
        #[source]
        source: regex::Error,
    },
    /// It matches the empty text, so everything would be redacted.
    #[error("pattern {index} matches the empty text")]
    MatchesEmpty {
        /// Which one, from 0.
        index: usize,
    },
    /// The known secrets are too many or too long to look for.
    #[error("the known secrets cannot be looked for")]
    Known,
    /// There are too many.
    #[error("{count} patterns are given, at most {REDACT_PATTERNS_MAX} are used")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// The built-in shapes. A group `keep` is kept, the rest of a match is replaced.
const SHAPES: &[&str] = &[
    // Private keys, also when the end was cut off.
    r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
    // The same where the begin, or both ends, were cut off: full lines of a key's text, and what ends it.
    // Lines of a console's log have their time before them.
    r"(?m)(?:^(?:\[\d+\.\d+\] )?[A-Za-z0-9+/=]+\r?\n)+(?:\[\d+\.\d+\] )?-----END [A-Z ]*PRIVATE KEY-----",
    r"(?m)(?:^(?:\[\d+\.\d+\] )?(?:[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70})(?:\r?\n|\z)){3,}(?:(?:\[\d+\.\d+\] )?[A-Za-z0-9+/=]{1,70}$)?",
    // Slack: xoxb-, xapp- and their kin, and incoming webhooks.
    r"\b(?:xox[a-z]|xapp|xwfp)-[A-Za-z0-9-]{8,}",
    r"(?P<keep>https://hooks\.slack\.com/)[A-Za-z0-9/_+-]+",
    r"(?P<keep>/open-apis/bot/v2/hook/)[A-Za-z0-9-]+",
    // GitHub, GitLab, AWS, Google, npm, PyPI, Stripe-like keys, JSON web tokens.
    r"\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\b(?:npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,})",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"\bwhsec_[A-Za-z0-9+/=]{16,}",
    // Authorization headers and what curl -u takes.
    r"(?i)(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}",
    // Credentials in an address.
    r"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@:]{0,200}:[^\s/@]{1,500}@",
    // name=value, name: value, "name": "value".
    r#"(?i)(?P<keep>(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)["']?[ \t]{0,3}[=:][ \t]{0,3})(?:"[^"\n]{1,500}"|'[^'\n]{1,500}'|[^\s"',;&]{1,500})"#,
];

static BUILT_IN: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    SHAPES.iter().map(|shape| Regex::new(shape).expect("built-in shapes compile, as a test checks")).collect()
});

/// Takes secrets out of text. Made once, and told of the secrets of every boards.yaml.
#[derive(Default)]
pub struct Redactor {
    extra: Vec<Regex>,
    known: RwLock<Known>,
}

/// Secrets that are taken out wherever they stand, those of labs before among them: a board still knows its old one.
#[derive(Default)]
struct Known {
    secrets: BTreeSet<String>,
    pattern: Option<Regex>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("extra", &self.extra.len()).finish()
    }
}

impl Redactor {
    /// The built-in shapes and the lab's own patterns. A pattern's group `keep` is kept.
    pub fn new(patterns: &[String]) -> Result<Self, RedactError> {
        if patterns.len() > REDACT_PATTERNS_MAX {
            return Err(RedactError::TooMany { count: patterns.len() });
        }
        let compile = |(index, pattern): (usize, &String)| {
            let regex = RegexBuilder::new(pattern)
                .size_limit(REDACT_PATTERN_BYTES_MAX)
                .build()
                .map_err(|source| RedactError::Pattern { index, source })?;
            if regex.is_match("") { Err(RedactError::MatchesEmpty { index }) } else { Ok(regex) }
        };
        Ok(Redactor {
            extra: patterns.iter().enumerate().map(compile).collect::<Result<_, _>>()?,
            known: RwLock::default(),
        })
    }

    /// The same, and these secrets wherever they stand, if they are at least [`REDACT_KNOWN_BYTES_MIN`] bytes long.
    pub fn knowing(self, secrets: &[SecretString]) -> Result<Self, RedactError> {
        self.learn(secrets)?;
        Ok(self)
    }

    /// Takes these secrets out too from now on, on the same terms. If they cannot be known together with those before,
    /// they are not, and those before stay known.
    pub fn learn(&self, secrets: &[SecretString]) -> Result<(), RedactError> {
        let mut known = self.known.write().expect("nothing panics under this lock");
        let mut all = known.secrets.clone();
        let long = |secret: &&str| secret.len() >= REDACT_KNOWN_BYTES_MIN;
        all.extend(
            secrets.iter().map(|secret| secret.expose_secret().trim()).filter(long).map(str::to_owned),
        );
        if all.len() == known.secrets.len() {
            return Ok(());
        }
        // The longest first: one that begins with another is taken out whole. The compiler's own words would tell them.
        let mut words: Vec<String> = all.iter().map(|secret| regex::escape(secret)).collect();
        words.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        known.pattern = Some(Regex::new(&words.join("|")).map_err(|_| RedactError::Known)?);
        known.secrets = all;
        Ok(())
    }

    /// How long the longest secret is that it knows, in bytes.
    pub fn longest_known(&self) -> usize {
        let known = self.known.read().expect("nothing panics under this lock");
        known.secrets.iter().map(String::len).max().unwrap_or(0)
    }

    /// Covers every known secret, so that all that is beside one stays where it is.
    pub fn cover(&self, data: &mut [u8]) {
        let known = self.known.read().expect("nothing panics under this lock");
        for secret in &known.secrets {
            let found: Vec<usize> = memchr::memmem::find_iter(data, secret.as_bytes()).collect();
            found.into_iter().for_each(|at| data[at..at + secret.len()].fill(b'*'));
        }
    }

    /// How many bytes at the end may be the beginning of a known secret.
    pub fn open_end(&self, data: &[u8]) -> usize {
        let known = self.known.read().expect("nothing panics under this lock");
        let open = |secret: &String| {
            (1..secret.len().min(data.len() + 1)).rev().find(|n| data.ends_with(&secret.as_bytes()[..*n]))
        };
        known.secrets.iter().filter_map(open).max().unwrap_or(0)
    }

    /// `text` without secrets, at most its first [`REDACT_BYTES_MAX`] bytes (and what the replacements add).
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut clean = Cow::Borrowed(bounded(text));
        let known = self.known.read().expect("nothing panics under this lock");
        for regex in BUILT_IN.iter().chain(&self.extra).chain(&known.pattern) {
            let replaced = regex.replace_all(&clean, |hit: &Captures<'_>| {
                format!("{}{REDACTED}", hit.name("keep").map_or("", |keep| keep.as_str()))
            });
            if let Cow::Owned(replaced) = replaced {
                clean = Cow::Owned(replaced);
            }
        }
        clean
    }

    /// The whole of a long text without secrets, piece by piece.
    pub fn redact_whole(&self, text: &str) -> String {
        let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(piece_end(rest));
            clean.push_str(&self.redact(piece));
            rest = behind;
        }
        clean
    }
}

/// Where the first piece of a long text ends: behind a line, or a word where no line ends, and never within a key.
fn piece_end(text: &str) -> usize {
    if text.len() <= REDACT_BYTES_MAX {
        return text.len();
    }
    let most = text.floor_char_boundary(REDACT_BYTES_MAX);
    let head = &text[..most];
    let end = head.rfind('\n').or_else(|| head.rfind(char::is_whitespace)).map_or(most, |at| at + 1);
    let end = text.floor_char_boundary(end);
    match (text[..end].rfind("-----BEGIN "), text[..end].rfind("-----END ")) {
        (Some(begins), ends) if begins > 0 && ends.is_none_or(|ends| ends < begins) => begins,
        _ => end,
    }
}

/// The start of the text. It is cut between words where one ends nearby: half a token would not be recognised.
fn bounded(text: &str) -> &str {
    if text.len() <= REDACT_BYTES_MAX {
        return text;
    }
    let head = &text[..text.floor_char_boundary(REDACT_BYTES_MAX)];
    &head[..head.rfind(char::is_whitespace).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(Redactor::default().redact(text), expect);
    }

    #[test]
    fn known_secrets_are_taken_out_whole_and_short_ones_are_no_secrets() {
        let known = ["hunter2+hunter2", "hunter2+hunter2!", "root"].map(SecretString::from);
        let redactor = Redactor::default().knowing(&known).expect("known");
        let said = redactor.redact("root@soc-a-001:~# echo hunter2+hunter2! hunter2+hunter2");
        assert_eq!(said, "root@soc-a-001:~# echo [redacted] [redacted]");
        assert!(!format!("{redactor:?}").contains("hunter2"));
    }

    #[test]
    fn a_long_text_is_redacted_to_its_end_and_a_key_is_never_halved() {
        let line = "all is well, and has been for a long while now\n";
        let lines = line.repeat(REDACT_BYTES_MAX / line.len() - 2);
        let key = format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}-----END RSA PRIVATE KEY-----\n",
            "abcd\n".repeat(60)
        );
        let clean = Redactor::default().redact_whole(&format!("{lines}{key}{lines}token=abc{lines}"));
        assert!(!clean.contains("abc") && clean.contains("token=[redacted]"));
        assert_eq!(clean.matches(line).count(), 3 * lines.matches(line).count() - 1);
        // What has no line and no word to end at is looked at all the same.
        let flood = "x".repeat(3 * REDACT_BYTES_MAX + 1);
        assert_eq!(Redactor::default().redact_whole(&flood), flood);
    }

    #[test]
    fn tokens_are_taken_out_wherever_they_stand() {
        // Put together here so that no scanner takes this file for a leak.
        let slack = format!("xoxb-{}", "1234567890-abcdef");
        let github = format!("ghp_{}", "a1B2".repeat(9));
        let aws = format!("AKIA{}", "ABCDEFGH12345678");
        check(&format!("a {slack}, b"), "a [redacted], b");
        check(&format!("({github})"), "([redacted])");
        check(&format!("id={aws}"), "id=[redacted]");
        check("Authorization: Bearer abcdef123456", "Authorization: Bearer [redacted]");
        check("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2ln x", "jwt [redacted] x");
    }

    #[test]
    fn named_values_keep_their_name() {
        check("password=hunter2 next", "password=[redacted] next");
        check("DB_PASSWORD: 'a b c'", "DB_PASSWORD: [redacted]");
        check("{\"api_key\": \"abc\", \"n\": 1}", "{\"api_key\": [redacted], \"n\": 1}");
        check("?token=abc&x=1", "?token=[redacted]&x=1");
    }

    #[test]
    fn addresses_lose_their_credentials_only() {
        check("git clone https://li:pa55@ci.lab/x.git", "git clone https://[redacted]ci.lab/x.git");
        check("postgres://:pw@db/x", "postgres://[redacted]db/x");
        check("http://ci.lab:8080/a@b", "http://ci.lab:8080/a@b");
    }

    #[test]
    fn a_private_key_is_taken_out_whole_also_over_lines_and_when_cut() {
        let begin = format!("-----BEGIN OPENSSH {}-----", "PRIVATE KEY");
        let end = format!("-----END OPENSSH {}-----", "PRIVATE KEY");
        check(&format!("a\n{begin}\nAAAA\n{end}\nb"), "a\n[redacted]\nb");
        check(&format!("a\n{begin}\nAAAA"), "a\n[redacted]");
        check(&format!("AAAA\nBBB=\n{end}\nb"), "[redacted]\nb");
        let body = format!("{}\n", "aB3+".repeat(16)).repeat(3);
        check(&format!("a: b\n{body}aB==\nb c"), "a: b\n[redacted]\nb c");
        let timed = |text: &str| text.lines().map(|line| format!("[12.345] {line}\n")).collect::<String>();
        check(&timed(&format!("AAAA\nBBB=\n{end}\nb")), "[redacted]\n[12.345] b\n");
        check(&timed(&format!("a: b\n{body}aB==\nb c")), "[12.345] a: b\n[redacted]\n[12.345] b c\n");
        // Three lines are no key if they are shorter, and two are none.
        let words = "aB3+\n".repeat(3);
        check(&words, &words);
        check(&body[..130], &body[..130]);
    }

    #[test]
    fn ordinary_output_stays_and_is_not_copied() {
        let text =
            "[    2.4] Kernel panic - not syncing: dumptest\nlogin: root\nPassword: \n#12 token ring ok";
        assert!(matches!(Redactor::default().redact(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn a_lab_adds_its_own_patterns_within_bounds() {
        let own =
            |patterns: &[&str]| Redactor::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        let redactor = own(&[r"(?P<keep>serial )\w+", r"1\d{10}"]).expect("two good patterns");
        assert_eq!(redactor.redact("serial A77 of 13812345678"), "serial [redacted] of [redacted]");
        assert!(matches!(own(&["("]), Err(RedactError::Pattern { index: 0, .. })));
        assert!(matches!(own(&["x", "y*"]), Err(RedactError::MatchesEmpty { index: 1 })));
        assert!(matches!(own(&[r"\w{500}{500}"]), Err(RedactError::Pattern { .. })));
        assert!(own(&["x"; REDACT_PATTERNS_MAX]).is_ok());
        assert!(matches!(own(&["x"; REDACT_PATTERNS_MAX + 1]), Err(RedactError::TooMany { .. })));
    }

    #[test]
    fn a_long_text_is_cut_between_words() {
        let secret = format!("ghp_{}", "a".repeat(36));
        let text = format!("{} {secret}", "é".repeat(REDACT_BYTES_MAX / 2 - 10));
        let redacted = Redactor::default().redact(&text).into_owned();
        assert!(redacted.len() <= REDACT_BYTES_MAX && !redacted.contains("ghp_"));
        assert!(Redactor::default().redact(&"x".repeat(REDACT_BYTES_MAX)).len() == REDACT_BYTES_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn no_slack_token_survives(
            before in "\\PC{0,40}", token in "xoxb-[0-9]{10}-[a-zA-Z0-9]{12}", after in "\\PC{0,40}",
        ) {
            let text = format!("{before} {token} {after}");
            prop_assert!(!Redactor::default().redact(&text).contains(&token));
        }
    }
}
