//! Slack's request signature: the first thing that happens to a request of Slack, over its raw bytes and before
//! anything is parsed. Pure: the time is an argument.
//!
//! `X-Slack-Signature` is `v0=` and the lower-case hex HMAC-SHA256 of `v0:{X-Slack-Request-Timestamp}:{body}` under
//! the signing secret ("Verifying requests from Slack").

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::clock::Timestamp;

/// How far a request's timestamp may be from our clock, either way. Slack's own bound; 300 s is accepted, 301 s is
/// not.
pub const WINDOW_SECS: u64 = 300;

/// Most digits of a timestamp: enough for the next 30,000 years.
const TIMESTAMP_DIGITS_MAX: usize = 12;

/// Verifies requests under one signing secret, or two while they are rotated. Cheap to share.
pub struct Verifier {
    /// HMAC states that have absorbed their key already; cloned for every request.
    keys: Vec<Hmac<Sha256>>,
}

/// Why a request is not believed. None of these says more to the sender than "401".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// A header is missing.
    #[error("a signature header is missing")]
    Missing,
    /// A header is not of Slack's form.
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
}

impl Verifier {
    /// A verifier that accepts a signature under any of `secrets`.
    pub fn new(secrets: &[SecretString]) -> Self {
        Verifier { keys: secrets.iter().map(|s| key(s.expose_secret())).collect() }
    }

    /// Whether `body` with these two headers was signed by Slack within [`WINDOW_SECS`] of `now`.
    pub fn verify(
        &self,
        now: Timestamp,
        timestamp_header: Option<&[u8]>,
        signature_header: Option<&[u8]>,
        body: &[u8],
    ) -> Result<(), SignatureProblem> {
        let (Some(timestamp), Some(signature)) = (timestamp_header, signature_header) else {
            return Err(SignatureProblem::Missing);
        };
        let claimed = parse_signature(signature).ok_or(SignatureProblem::Malformed)?;
        in_window(now, timestamp)?;
        // Every key is tried, whichever matches, so that the time taken does not tell which one did.
        let matched = self.keys.iter().fold(Choice::from(0), |matched, key| {
            matched | mac(key.clone(), timestamp, body).ct_eq(&claimed)
        });
        if bool::from(matched) { Ok(()) } else { Err(SignatureProblem::Wrong) }
    }
}

/// The `X-Slack-Signature` of `body` sent at `timestamp` (seconds since the Unix epoch), as Slack would make it.
pub fn sign(secret: &str, timestamp: i64, body: &[u8]) -> String {
    let digest = mac(key(secret), timestamp.to_string().as_bytes(), body);
    format!("v0={}", hex::encode(digest))
}

fn key(secret: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length")
}

fn mac(mut state: Hmac<Sha256>, timestamp: &[u8], body: &[u8]) -> [u8; 32] {
    state.update(b"v0:");
    state.update(timestamp);
    state.update(b":");
    state.update(body);
    state.finalize().into_bytes().into()
}

/// Whether a timestamp (seconds since the Unix epoch, in digits) is within [`WINDOW_SECS`] of `now`.
pub fn in_window(now: Timestamp, timestamp: &[u8]) -> Result<(), SignatureProblem> {
    let signed_at = parse_timestamp(timestamp).ok_or(SignatureProblem::Malformed)?;
    let away = now.as_secs().abs_diff(signed_at);
    if away > WINDOW_SECS {
        return Err(SignatureProblem::Stale { by: Duration::from_secs(away) });
    }
    Ok(())
}

/// Digits only: no sign, no space, no other script's digits.
fn parse_timestamp(header: &[u8]) -> Option<i64> {
    let plain =
        !header.is_empty() && header.len() <= TIMESTAMP_DIGITS_MAX && header.iter().all(u8::is_ascii_digit);
    plain.then(|| header.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
}

fn parse_signature(header: &[u8]) -> Option<[u8; 32]> {
    let digits = header.strip_prefix(b"v0=")?;
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut claimed = [0; 32];
    hex::decode_to_slice(digits, &mut claimed).ok()?;
    Some(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: i64 = 1_531_420_618;
    const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=\
        G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
        response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
        trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn verifier(secrets: &[&str]) -> Verifier {
        Verifier::new(&secrets.iter().map(|s| SecretString::from(*s)).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(
        now: i64,
        timestamp: Option<&[u8]>,
        signature: Option<&[u8]>,
        expect: Result<(), SignatureProblem>,
    ) {
        assert_eq!(verifier(&[SECRET]).verify(secs(now), timestamp, signature, BODY), expect);
    }

    #[test]
    fn the_documentations_example_verifies_and_is_what_we_would_sign() {
        check(AT, Some(b"1531420618"), Some(SIGNATURE.as_bytes()), Ok(()));
        assert_eq!(sign(SECRET, AT, BODY), SIGNATURE);
    }

    #[test]
    fn a_request_is_fresh_for_300_s_both_ways_and_not_longer() {
        let stale = Err(SignatureProblem::Stale { by: Duration::from_secs(301) });
        for (now, expect) in [(AT + 300, Ok(())), (AT - 300, Ok(())), (AT + 301, stale), (AT - 301, stale)] {
            check(now, Some(b"1531420618"), Some(SIGNATURE.as_bytes()), expect);
        }
    }

    #[test]
    fn a_missing_header_is_told_apart() {
        check(AT, None, Some(SIGNATURE.as_bytes()), Err(SignatureProblem::Missing));
        check(AT, Some(b"1531420618"), None, Err(SignatureProblem::Missing));
    }

    #[test]
    fn timestamps_of_another_form_are_malformed() {
        let odd: [&[u8]; 9] = [
            b"",
            b" 1531420618",
            b"+1531420618",
            b"-1",
            b"1531420618.0",
            b"0x5b",
            b"abc",
            b"\xff\xfe",
            &[b'1'; 13],
        ];
        for timestamp in odd {
            check(AT, Some(timestamp), Some(SIGNATURE.as_bytes()), Err(SignatureProblem::Malformed));
        }
        check(
            AT,
            Some("１５３１４２０６１８".as_bytes()),
            Some(SIGNATURE.as_bytes()),
            Err(SignatureProblem::Malformed),
        );
    }

    #[test]
    fn signatures_of_another_form_are_malformed() {
        let upper = SIGNATURE.to_uppercase();
        let hex_upper = format!("v0={}", &SIGNATURE[3..].to_uppercase());
        let long = format!("{SIGNATURE}00");
        for signature in
            ["", "v0=", &SIGNATURE[3..], &SIGNATURE[..66], &long, &upper, &hex_upper, "v0=zz", "v1=00"]
        {
            check(AT, Some(b"1531420618"), Some(signature.as_bytes()), Err(SignatureProblem::Malformed));
        }
        check(AT, Some(b"1531420618"), Some(b"v0=\xff\x00"), Err(SignatureProblem::Malformed));
    }

    #[test]
    fn any_flipped_bit_is_wrong() {
        let verifier = verifier(&[SECRET]);
        for byte in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[byte] ^= 1;
            let answer = verifier.verify(secs(AT), Some(b"1531420618"), Some(SIGNATURE.as_bytes()), &body);
            assert_eq!(answer, Err(SignatureProblem::Wrong), "byte {byte}");
        }
        check(AT, Some(b"1531420619"), Some(SIGNATURE.as_bytes()), Err(SignatureProblem::Wrong));
    }

    #[test]
    fn bodies_that_are_not_text_are_signed_as_bytes() {
        let body = b"\xff\xfe\x00not text";
        let signature = sign(SECRET, AT, body);
        let answer =
            verifier(&[SECRET]).verify(secs(AT), Some(b"1531420618"), Some(signature.as_bytes()), body);
        assert_eq!(answer, Ok(()));
    }

    #[test]
    fn both_secrets_are_good_while_they_are_rotated_and_none_without_secrets() {
        let (old, new) = (sign("old", AT, BODY), sign("new", AT, BODY));
        let rotating = verifier(&["new", "old"]);
        for signature in [&old, &new] {
            let answer = rotating.verify(secs(AT), Some(b"1531420618"), Some(signature.as_bytes()), BODY);
            assert_eq!(answer, Ok(()));
        }
        let nobody = verifier(&[]).verify(secs(AT), Some(b"1531420618"), Some(new.as_bytes()), BODY);
        assert_eq!(nobody, Err(SignatureProblem::Wrong));
    }
}
