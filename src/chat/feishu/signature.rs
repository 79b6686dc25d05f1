//! Feishu's proofs: the signature over a request's raw bytes, the cover that hides its body, and the token inside.
//! Pure: the time is an argument.
//!
//! `X-Lark-Signature` is the lower-case hex SHA-256 of timestamp, nonce, Encrypt Key and raw body, one after the other
//! (open.feishu.cn, "Event subscription, security verification"). The cover is AES-256-CBC with PKCS#7 padding under
//! the SHA-256 of the Encrypt Key, its first block being the IV. A cover says nothing about who wrote it, so the
//! signature is checked first wherever there is one, and every way in which a cover fails is the same error.

use std::time::Duration;

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;

/// How far a request's timestamp may be from our clock, either way. Feishu repeats an event for six hours, and nobody
/// says whether it stamps it anew; a delivery's key is kept longer than this, so that no replay has an effect.
pub const WINDOW: Duration = Duration::from_secs(24 * 3600);

const BLOCK_BYTES: usize = 16;
/// Most digits of a timestamp in seconds.
const TIMESTAMP_DIGITS_MAX: usize = 12;

/// Proves requests of one app. Cheap to share.
pub struct Verifier {
    encrypt_key: Option<SecretString>,
    token: SecretString,
}

/// Why a request is not believed. None of these says more to the sender than "401".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// A header is missing.
    #[error("a signature header is missing")]
    Missing,
    /// A header is not of Feishu's form.
    #[error("a signature header is malformed")]
    Malformed,
    /// The timestamp is too old or too far ahead.
    #[error("the timestamp is {by:?} away from our clock")]
    Stale {
        /// How far it is from our clock.
        by: Duration,
    },
    /// The signature is not one of ours.
    #[error("the signature is wrong")]
    Wrong,
    /// The body cannot be uncovered.
    #[error("the body cannot be decrypted: FEISHU_ENCRYPT_KEY is another app's, or the body is not Feishu's")]
    Cover,
    /// The token inside is not ours.
    #[error("the verification token is wrong")]
    Token,
}

/// The headers of a signed request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signed<'h> {
    /// `X-Lark-Request-Timestamp`.
    pub timestamp: Option<&'h [u8]>,
    /// `X-Lark-Request-Nonce`.
    pub nonce: Option<&'h [u8]>,
    /// `X-Lark-Signature`.
    pub signature: Option<&'h [u8]>,
}

impl Signed<'_> {
    /// Whether the request claims to be signed.
    pub fn is_there(&self) -> bool {
        self.signature.is_some()
    }
}

impl Verifier {
    /// A verifier for an app; without an Encrypt Key its requests are neither signed nor covered.
    pub fn new(encrypt_key: Option<SecretString>, token: SecretString) -> Self {
        Verifier { encrypt_key, token }
    }

    /// Whether requests of this app are signed and covered.
    pub fn encrypts(&self) -> bool {
        self.encrypt_key.is_some()
    }

    /// Whether `body` with these headers was signed by Feishu within [`WINDOW`] of `now`.
    pub fn verify(&self, now: Timestamp, signed: Signed<'_>, body: &[u8]) -> Result<(), SignatureProblem> {
        let key = self.encrypt_key.as_ref().ok_or(SignatureProblem::Wrong)?;
        let (Some(timestamp), Some(nonce), Some(signature)) =
            (signed.timestamp, signed.nonce, signed.signature)
        else {
            return Err(SignatureProblem::Missing);
        };
        let at = parse_timestamp(timestamp).ok_or(SignatureProblem::Malformed)?;
        let claimed = parse_signature(signature).ok_or(SignatureProblem::Malformed)?;
        let away = Duration::from_secs(now.as_secs().abs_diff(at));
        if away > WINDOW {
            return Err(SignatureProblem::Stale { by: away });
        }
        let expect = digest(timestamp, nonce, key.expose_secret(), body);
        if bool::from(expect.ct_eq(&claimed)) { Ok(()) } else { Err(SignatureProblem::Wrong) }
    }

    /// What stands under the cover of `{"encrypt": …}`.
    pub fn uncover(&self, cover: &str) -> Result<Vec<u8>, SignatureProblem> {
        let key = self.encrypt_key.as_ref().ok_or(SignatureProblem::Cover)?;
        let mut bytes = STANDARD.decode(cover.trim()).map_err(|_| SignatureProblem::Cover)?;
        if bytes.len() < 2 * BLOCK_BYTES || bytes.len() % BLOCK_BYTES != 0 {
            return Err(SignatureProblem::Cover);
        }
        let (iv, text) = bytes.split_at_mut(BLOCK_BYTES);
        let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&cover_key(key.expose_secret()), iv);
        let cipher = cipher.map_err(|_| SignatureProblem::Cover)?;
        let plain = cipher.decrypt_padded_mut::<Pkcs7>(text).map_err(|_| SignatureProblem::Cover)?;
        Ok(plain.to_vec())
    }

    /// Whether the token that a body carries is the app's.
    pub fn knows(&self, token: &str) -> Result<(), SignatureProblem> {
        let same = self.token.expose_secret().as_bytes().ct_eq(token.as_bytes());
        if bool::from(same) { Ok(()) } else { Err(SignatureProblem::Token) }
    }
}

/// The `X-Lark-Signature` of `body`, as Feishu would make it.
#[cfg(test)]
fn sign(encrypt_key: &str, timestamp: i64, nonce: &str, body: &[u8]) -> String {
    hex::encode(digest(timestamp.to_string().as_bytes(), nonce.as_bytes(), encrypt_key, body))
}

/// `text` under a cover, as Feishu would hide it.
#[cfg(test)]
fn cover(encrypt_key: &str, iv: [u8; BLOCK_BYTES], text: &[u8]) -> String {
    use cbc::cipher::BlockEncryptMut;
    let cipher = cbc::Encryptor::<Aes256>::new(&cover_key(encrypt_key).into(), &iv.into());
    let mut bytes = iv.to_vec();
    bytes.extend(cipher.encrypt_padded_vec_mut::<Pkcs7>(text));
    STANDARD.encode(bytes)
}

fn cover_key(encrypt_key: &str) -> [u8; 32] {
    Sha256::digest(encrypt_key.as_bytes()).into()
}

fn digest(timestamp: &[u8], nonce: &[u8], encrypt_key: &str, body: &[u8]) -> [u8; 32] {
    let mut state = Sha256::new();
    for part in [timestamp, nonce, encrypt_key.as_bytes(), body] {
        state.update(part);
    }
    state.finalize().into()
}

/// Digits only: no sign, no space, no other script's digits.
fn parse_timestamp(header: &[u8]) -> Option<i64> {
    let plain =
        !header.is_empty() && header.len() <= TIMESTAMP_DIGITS_MAX && header.iter().all(u8::is_ascii_digit);
    plain.then(|| header.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

fn parse_signature(header: &[u8]) -> Option<[u8; 32]> {
    if header.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut claimed = [0; 32];
    hex::decode_to_slice(header, &mut claimed).ok()?;
    Some(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Feishu's documentation, as its own SDK checks it.
    const KEY: &str = "test key";
    const AT: i64 = 1_609_073_151;
    const NONCE: &[u8] = b"nonce-1";
    const COVER: &str = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=";
    const BODY: &[u8] = br#"{"encrypt":"P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="}"#;
    const SIGNATURE: &str = "97f87d15d56b8fd0fd9c723f7c7a9373324661b516abef41bf874ab6dbdeebae";

    fn verifier(key: Option<&str>) -> Verifier {
        Verifier::new(key.map(SecretString::from), SecretString::from("the token"))
    }

    #[track_caller]
    fn check(now: i64, signed: Signed<'_>, body: &[u8], expect: Result<(), SignatureProblem>) {
        let now = Timestamp::from_micros(now * 1_000_000);
        assert_eq!(verifier(Some(KEY)).verify(now, signed, body), expect);
    }

    fn signed<'h>(timestamp: &'h [u8], signature: &'h [u8]) -> Signed<'h> {
        Signed { timestamp: Some(timestamp), nonce: Some(NONCE), signature: Some(signature) }
    }

    #[test]
    fn the_documentations_example_verifies_and_is_what_we_would_sign() {
        check(AT, signed(b"1609073151", SIGNATURE.as_bytes()), BODY, Ok(()));
        assert_eq!(sign(KEY, AT, "nonce-1", BODY), SIGNATURE);
    }

    #[test]
    fn the_documentations_example_is_uncovered_and_covers_come_off_again() {
        assert_eq!(verifier(Some(KEY)).uncover(COVER).expect("it is ours"), b"hello world");
        for text in ["", "x", "exactly sixteen!", "运行 socA build-123"] {
            let covered = cover(KEY, [7; 16], text.as_bytes());
            assert_eq!(verifier(Some(KEY)).uncover(&covered).expect("ours"), text.as_bytes());
        }
    }

    #[test]
    fn a_wrong_late_or_unreadable_signature_is_refused() {
        let good = SIGNATURE.as_bytes();
        let window = WINDOW.as_secs() as i64;
        check(AT + window, signed(b"1609073151", good), BODY, Ok(()));
        let by = Duration::from_secs(WINDOW.as_secs() + 1);
        check(AT + window + 1, signed(b"1609073151", good), BODY, Err(SignatureProblem::Stale { by }));
        check(AT - window - 1, signed(b"1609073151", good), BODY, Err(SignatureProblem::Stale { by }));
        check(AT, signed(b"1609073151", good), b"{}", Err(SignatureProblem::Wrong));
        check(AT, signed(b"1609073152", good), BODY, Err(SignatureProblem::Wrong));
        let loud = SIGNATURE.to_uppercase();
        for bad in [&b""[..], b"97f8", loud.as_bytes(), "签名".as_bytes()] {
            check(AT, signed(b"1609073151", bad), BODY, Err(SignatureProblem::Malformed));
        }
        for bad in [&b""[..], b"-1", b" 1609073151", b"9999999999999", "１".as_bytes()] {
            check(AT, signed(bad, good), BODY, Err(SignatureProblem::Malformed));
        }
        let missing = Signed { nonce: None, ..signed(b"1609073151", good) };
        check(AT, missing, BODY, Err(SignatureProblem::Missing));
        let none = verifier(None).verify(Timestamp::default(), signed(b"1609073151", good), BODY);
        assert_eq!(none, Err(SignatureProblem::Wrong), "without a key nothing is signed");
    }

    #[test]
    fn every_cover_that_fails_is_the_same_error() {
        let other = cover("another key", [7; 16], b"hello world");
        let cut = &COVER[..COVER.len() - 8];
        for bad in
            ["", "not base64!", "AAAA", cut, &other, &STANDARD.encode([0; 16]), &STANDARD.encode([0; 64])]
        {
            assert_eq!(verifier(Some(KEY)).uncover(bad), Err(SignatureProblem::Cover), "{bad}");
        }
        assert_eq!(verifier(None).uncover(COVER), Err(SignatureProblem::Cover));
    }

    #[test]
    fn the_token_is_the_whole_token() {
        let verifier = verifier(None);
        assert_eq!(verifier.knows("the token"), Ok(()));
        for other in ["", "the toke", "the token ", "The token"] {
            assert_eq!(verifier.knows(other), Err(SignatureProblem::Token));
        }
    }
}
