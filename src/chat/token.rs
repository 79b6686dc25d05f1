//! Bearer tokens: the header that carries one, whether it is one of ours, and new ones. Only hashes are ever kept. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Tokens that are accepted, as digests: those are of one length, and compared in constant time.
#[derive(Default)]
pub struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    /// Any of these.
    pub fn new(tokens: &[SecretString]) -> Self {
        Tokens(tokens.iter().map(|token| digest(token.expose_secret().as_bytes())).collect())
    }

    /// Whether this is one of them. Every one is compared, whichever matches.
    pub fn know(&self, token: &[u8]) -> bool {
        self.know_digest(&digest(token))
    }

    /// Whether one of them has this digest.
    pub fn know_digest(&self, given: &[u8; 32]) -> bool {
        let matched = self.0.iter().fold(Choice::from(0), |matched, token| matched | token.ct_eq(given));
        bool::from(matched)
    }
}

/// The token of an `Authorization` header.
pub fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// What every token begins with that this server made: whoever finds one knows what it opens.
pub const PREFIX: &str = "boardhand_";
/// Random bytes of a token.
pub const RANDOM_BYTES: usize = 32;
/// Longest token that is looked for.
const TOKEN_BYTES_MAX: usize = 128;

/// A new token and what is kept of it.
pub fn fresh(random: &[u8; RANDOM_BYTES]) -> (String, [u8; 32]) {
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = digest(token.as_bytes());
    (token, hash)
}

/// What would be kept of this token; nothing where this server made no such.
pub fn kept(token: &[u8]) -> Option<[u8; 32]> {
    let ours = token.starts_with(PREFIX.as_bytes()) && token.len() <= TOKEN_BYTES_MAX;
    ours.then(|| digest(token))
}

/// Whether two hashes are the same, in constant time.
pub fn is_same(kept: &[u8; 32], given: &[u8; 32]) -> bool {
    bool::from(kept.ct_eq(given))
}

/// What is kept of a token.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_whole_token() {
        let tokens = Tokens::new(&["old-token", "new-token"].map(SecretString::from));
        assert!(tokens.know(b"old-token") && tokens.know(b"new-token"));
        assert!(!tokens.know(b"new-toke") && !tokens.know(b"new-token ") && !tokens.know(b""));
        assert!(!Tokens::default().know(b""));
    }

    #[test]
    fn a_token_that_was_made_is_known_by_its_hash() {
        let (token, hash) = fresh(&[7; RANDOM_BYTES]);
        assert_eq!((token.len(), &token[..13]), (53, "boardhand_Bwc"));
        assert!(kept(token.as_bytes()).is_some_and(|given| is_same(&hash, &given)));
        assert!(kept(&token.as_bytes()[..52]).is_some_and(|given| !is_same(&hash, &given)));
        assert_eq!((kept(b"xoxb-1"), kept(&[PREFIX.as_bytes(), &[b'a'; 200]].concat())), (None, None));
    }

    #[test]
    fn a_header_has_the_scheme_and_something_behind_it() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer abc"), Some(&b"abc"[..]));
        for none in [&b"Bearer "[..], b"Basic abc", b"\xff", b""] {
            assert_eq!(bearer(none), None);
        }
    }
}
