//! Links into this server that a person can open from a chat, or a board from its plan, without signing in: each carries
//! its own signature, so that who may read the thread may read the log, and nobody can guess another one.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Length of a link's signature in hex digits: 128 bits.
const KEY_DIGITS: usize = 32;

/// Makes and checks links.
#[derive(Clone)]
pub struct Links {
    public_url: String,
    board_url: String,
    secret: [u8; 32],
}

impl Links {
    /// Links to `public_url` (no slash at its end), signed with the store's secret.
    pub fn new(public_url: impl Into<String>, secret: [u8; 32]) -> Self {
        let public_url = public_url.into();
        Links { board_url: public_url.clone(), public_url, secret }
    }

    /// The same, with another address for boards (no slash at its end).
    pub fn for_boards(mut self, board_url: impl Into<String>) -> Self {
        self.board_url = board_url.into();
        self
    }

    /// The console log of one attempt.
    pub fn log(&self, run: i64, attempt: u32) -> String {
        format!("{}/runs/{run}/log/{attempt}?key={}", self.public_url, self.key("log", run, attempt))
    }

    /// A run, for a program that started it.
    pub fn run(&self, run: i64) -> String {
        format!("{}/api/v1/runs/{run}?key={}", self.public_url, self.key("run", run, 0))
    }

    /// Its test cases as JUnit XML.
    pub fn junit(&self, run: i64) -> String {
        format!("{}/api/v1/runs/{run}/junit.xml?key={}", self.public_url, self.key("run", run, 0))
    }

    /// Whether `key` opens that run.
    pub fn opens_run(&self, run: i64, key: &str) -> bool {
        self.key("run", run, 0).as_bytes().ct_eq(key.as_bytes()).into()
    }

    /// Whether `key` opens the log of that attempt.
    pub fn opens(&self, run: i64, attempt: u32, key: &str) -> bool {
        self.key("log", run, attempt).as_bytes().ct_eq(key.as_bytes()).into()
    }

    /// Where the board of an attempt finds artifacts; a file's path follows behind a slash.
    pub fn artifacts(&self, run: i64, attempt: u32) -> String {
        let key = self.key("artifacts", run, attempt);
        format!("{}/artifacts/{run}-{attempt}-{key}", self.board_url)
    }

    /// The run and the attempt whose board was given this pass: the part of its address behind `/artifacts/`.
    pub fn board_pass(&self, pass: &str) -> Option<(i64, u32)> {
        let mut parts = pass.splitn(3, '-');
        let (run, attempt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let key = self.key("artifacts", run, attempt);
        bool::from(key.as_bytes().ct_eq(parts.next()?.as_bytes())).then_some((run, attempt))
    }

    /// A run's page.
    pub fn page(&self, run: i64) -> String {
        format!("{}/runs/{run}?key={}", self.public_url, self.key("run", run, 0))
    }

    /// The same without what opens it: where others read it, they sign in.
    pub fn closed_page(&self, run: i64) -> String {
        format!("{}/runs/{run}", self.public_url)
    }

    /// Where two runs stand side by side, for whoever signs in.
    pub fn compared(&self, from: i64, to: i64) -> String {
        format!("{}/compare?from={from}&to={to}", self.public_url)
    }

    /// Where a browser comes back to from signing in with a platform.
    pub fn signed_in_with(&self, platform: &str) -> String {
        signed_in_with(&self.public_url, platform)
    }

    /// Whether people reach this server over TLS.
    pub fn are_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    /// Whether this is where people reach this server: `https://lab.example`.
    pub fn are_at(&self, origin: &str) -> bool {
        !origin.is_empty()
            && self
                .public_url
                .strip_prefix(origin)
                .is_some_and(|path| path.is_empty() || path.starts_with('/'))
    }

    /// A signature of `what`, which begins with a word that no link's begins with.
    pub fn seal(&self, what: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(what.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    fn key(&self, what: &str, run: i64, attempt: u32) -> String {
        let mut digits = self.seal(&format!("{what}:{run}:{attempt}"));
        digits.truncate(KEY_DIGITS);
        digits
    }
}

/// Where a browser comes back to from signing in with a platform, to a server at this public address.
pub fn signed_in_with(public_url: &str, platform: &str) -> String {
    format!("{}/signin/{platform}/back", public_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_opens_its_own_log_only() {
        let links = Links::new("https://lab", [7; 32]);
        let link = links.log(42, 1);
        let key = link.split_once("key=").expect("has a key").1;
        assert!(link.starts_with("https://lab/runs/42/log/1?key=") && key.len() == KEY_DIGITS);
        assert!(links.opens(42, 1, key));
        assert!(!links.opens(43, 1, key) && !links.opens(42, 2, key) && !links.opens(42, 1, ""));
        assert!(!Links::new("https://lab", [8; 32]).opens(42, 1, key));
    }

    #[test]
    fn a_board_is_given_a_pass_to_the_artifacts_of_its_attempt() {
        let links = Links::new("https://lab", [7; 32]).for_boards("http://10.0.0.1:8080");
        let base = links.artifacts(42, 2);
        let pass = base.strip_prefix("http://10.0.0.1:8080/artifacts/").expect("the boards' address");
        assert_eq!(links.board_pass(pass), Some((42, 2)));
        let log = links.log(42, 2);
        let of_the_log = format!("42-2-{}", log.split_once("key=").expect("has a key").1);
        let (_, key) = pass.rsplit_once('-').expect("has a key");
        for wrong in ["", "42", "42-2", "42-2-", &format!("42-1-{key}"), &format!("043-2-{key}"), &of_the_log]
        {
            assert_eq!(links.board_pass(wrong), None, "{wrong}");
        }
        assert!(crate::board::quoting::is_plain(&base), "a boot loader takes it: {base}");
    }
}
