//! Signing in with a chat platform: a browser is sent there, comes back with a code, and the platform says for that code
//! who it is. What ties the two ways together is made here from one secret that only the browser has; it is kept nowhere.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Actor, Platform};

/// Longest code of a platform that is sent back to it.
pub const CODE_BYTES_MAX: usize = 1024;
/// Longest word of a platform that is passed on.
const WORD_BYTES_MAX: usize = 64;

/// One sign-in on its way.
#[derive(Clone)]
pub struct Going {
    /// Comes back as it went: whoever brings another one was sent by somebody else.
    pub state: String,
    /// Stands in what the platform says of who it is.
    pub nonce: String,
    /// What only we know of what the platform was shown (PKCE, RFC 7636).
    pub verifier: String,
    /// Where the browser comes back to.
    pub redirect: String,
}

impl Going {
    /// What the platform is shown of the verifier.
    pub fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.as_bytes()))
    }
}

/// Whom a platform says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The same as in its chats.
    pub actor: Actor,
    /// Whether they are of another workspace or tenant than the app.
    pub foreign: bool,
}

/// Why a platform did not say who it is. No secret, code or token stands in any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The code is none, was used, or is too old.
    #[error("it does not take the code: {0}")]
    Code(String),
    /// It is the app, or how it is set up here.
    #[error("it does not take the app: {code}: {remedy}")]
    SetUp {
        /// The platform's own word.
        code: String,
        /// What to do.
        remedy: &'static str,
    },
    /// It does not answer, or not now.
    #[error("it does not answer: {0}")]
    Away(String),
    /// What it says cannot be relied on.
    #[error("what it says does not hold: {0}")]
    Doubtful(&'static str),
}

/// A platform that people sign in with.
#[async_trait]
pub trait SignIn: Send + Sync {
    /// Which one.
    fn platform(&self) -> Platform;
    /// What people call it.
    fn name(&self) -> &'static str;
    /// Where a browser is sent.
    async fn address(&self, going: &Going) -> String;
    /// Who came back with this code.
    async fn prove(&self, code: &str, going: &Going) -> Result<Proven, Unproven>;
}

/// An address with these fields in its query.
pub fn with_query(base: &str, fields: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    format!("{base}?{query}")
}

/// A platform's word for what went wrong, when it looks like one: it ends up in logs and in front of people.
pub fn word(said: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let good = (1..=WORD_BYTES_MAX).contains(&said.len()) && said.bytes().all(plain);
    if good { said.to_owned() } else { "unreadable_error".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let going = Going { state: String::new(), nonce: String::new(), verifier, redirect: String::new() };
        assert_eq!(going.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_word_that_is_none_is_not_passed_on() {
        assert_eq!(word("access_denied"), "access_denied");
        for bad in ["", "<b>", "two words", &"a".repeat(65), "ключ"] {
            assert_eq!(word(bad), "unreadable_error");
        }
    }
}
