//! Bearer tokens: the header that carries one, and whether it is one of ours. Pure.

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
        let given = digest(token);
        let matched = self.0.iter().fold(Choice::from(0), |matched, token| matched | token.ct_eq(&given));
        bool::from(matched)
    }
}

/// The token of an `Authorization` header.
pub fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
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
    fn a_header_has_the_scheme_and_something_behind_it() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer abc"), Some(&b"abc"[..]));
        for none in [&b"Bearer "[..], b"Basic abc", b"\xff", b""] {
            assert_eq!(bearer(none), None);
        }
    }
}
