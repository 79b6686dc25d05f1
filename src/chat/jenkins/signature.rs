//! How a machine proves itself, over the raw bytes of its request and before anything is parsed. Pure: the time is an
//! argument. Four schemes, of which a request must have exactly one:
//!
//! - `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 of the body, as GitHub signs its webhooks. It says nothing of the
//!   time: a repeat is told by its key alone.
//! - `webhook-signature`, `webhook-id`, `webhook-timestamp`: Standard Webhooks, HMAC-SHA256 of `id.timestamp.body` under
//!   the bytes behind `whsec_`, in base64; several signatures while rotating.
//! - `X-Slack-Signature`, `X-Slack-Request-Timestamp`: Slack's scheme under a secret of Jenkins' own.
//! - `Authorization: Bearer <token>`, for plugins that cannot sign.
//!
//! Which are accepted follows from what is configured: a `whsec_` secret is for Standard Webhooks alone, any other for
//! the two hexadecimal schemes, and a token for the last.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::chat::slack::signature::{self as slack, SignatureProblem};
use crate::chat::token::{Tokens, bearer};
use crate::clock::Timestamp;

/// What a secret for Standard Webhooks begins with.
pub const STANDARD_PREFIX: &str = "whsec_";
/// How long the key behind [`STANDARD_PREFIX`] must be, in bytes (Standard Webhooks, "Signature scheme").
pub const STANDARD_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 8;
/// Longest `webhook-id`, in bytes.
const ID_BYTES_MAX: usize = 150;

/// The headers of a request that prove something; raw, as they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signed<'a> {
    /// `X-Hub-Signature-256`.
    pub hub: Option<&'a [u8]>,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    pub standard: [Option<&'a [u8]>; 3],
    /// `X-Slack-Request-Timestamp`, `X-Slack-Signature`.
    pub slack: [Option<&'a [u8]>; 2],
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
}

/// What was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Which scheme did.
    pub scheme: Scheme,
    /// The request's own id, the same for its repeats, where the scheme covers one.
    pub id: Option<String>,
}

/// A scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `X-Hub-Signature-256`.
    Hub,
    /// Standard Webhooks.
    Standard,
    /// Slack's.
    Slack,
    /// A bearer token.
    Bearer,
}

/// Proves requests under what is configured. Cheap to share.
pub struct Verifier {
    /// HMAC states that have absorbed their key already; cloned for every request.
    hub: Vec<Hmac<Sha256>>,
    standard: Vec<Hmac<Sha256>>,
    slack: slack::Verifier,
    tokens: Tokens,
}

impl Verifier {
    /// A verifier under any of `secrets` and `tokens`.
    pub fn new(secrets: &[SecretString], tokens: &[SecretString]) -> Self {
        let (standard, plain): (Vec<_>, Vec<_>) =
            secrets.iter().cloned().partition(|secret| secret.expose_secret().starts_with(STANDARD_PREFIX));
        let standard = standard.iter().filter_map(|secret| standard_key(secret.expose_secret()));
        Verifier {
            standard: standard.map(|bytes| key(&bytes)).collect(),
            hub: plain.iter().map(|secret| key(secret.expose_secret().as_bytes())).collect(),
            slack: slack::Verifier::new(&plain),
            tokens: Tokens::new(tokens),
        }
    }

    /// What the headers prove about `body`.
    pub fn verify(
        &self,
        now: Timestamp,
        signed: &Signed<'_>,
        body: &[u8],
    ) -> Result<Proof, SignatureProblem> {
        let standard = signed.standard.iter().any(Option::is_some);
        let slack = signed.slack.iter().any(Option::is_some);
        match (signed.hub, standard, slack, signed.authorization) {
            (Some(hub), false, false, None) => self.hub(hub, body),
            (None, true, false, None) => self.standard(now, signed.standard, body),
            (None, false, true, None) => {
                let [timestamp, signature] = signed.slack;
                self.slack.verify(now, timestamp, signature, body)?;
                Ok(Proof { scheme: Scheme::Slack, id: None })
            }
            (None, false, false, Some(authorization)) => self.bearer(authorization),
            (None, false, false, None) => Err(SignatureProblem::Missing),
            // Which of them is meant is not for us to guess.
            _ => Err(SignatureProblem::Malformed),
        }
    }

    fn hub(&self, header: &[u8], body: &[u8]) -> Result<Proof, SignatureProblem> {
        let digits = header.strip_prefix(b"sha256=").ok_or(SignatureProblem::Malformed)?;
        let mut claimed = [0; 32];
        hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureProblem::Malformed)?;
        believe(&self.hub, &[body], &[claimed])?;
        Ok(Proof { scheme: Scheme::Hub, id: None })
    }

    fn standard(
        &self,
        now: Timestamp,
        [id, timestamp, signatures]: [Option<&[u8]>; 3],
        body: &[u8],
    ) -> Result<Proof, SignatureProblem> {
        let (Some(id), Some(timestamp), Some(signatures)) = (id, timestamp, signatures) else {
            return Err(SignatureProblem::Missing);
        };
        let name = std::str::from_utf8(id).ok().filter(|id| is_id(id)).ok_or(SignatureProblem::Malformed)?;
        slack::in_window(now, timestamp)?;
        let claimed: Vec<[u8; 32]> = signatures
            .split(|byte| *byte == b' ')
            .filter_map(|signature| signature.strip_prefix(b"v1,"))
            .take(SIGNATURES_MAX)
            .filter_map(|text| BASE64.decode(text).ok()?.try_into().ok())
            .collect();
        if claimed.is_empty() {
            return Err(SignatureProblem::Malformed);
        }
        believe(&self.standard, &[id, b".", timestamp, b".", body], &claimed)?;
        Ok(Proof { scheme: Scheme::Standard, id: Some(name.to_owned()) })
    }

    fn bearer(&self, header: &[u8]) -> Result<Proof, SignatureProblem> {
        let token = bearer(header).ok_or(SignatureProblem::Malformed)?;
        if !self.tokens.know(token) {
            return Err(SignatureProblem::Wrong);
        }
        Ok(Proof { scheme: Scheme::Bearer, id: None })
    }
}

/// The key behind a secret of Standard Webhooks; `None` when it is none.
pub fn standard_key(secret: &str) -> Option<Vec<u8>> {
    let key = BASE64.decode(secret.strip_prefix(STANDARD_PREFIX)?).ok()?;
    STANDARD_KEY_BYTES.contains(&key.len()).then_some(key)
}

/// The signatures of what we send, as `webhook-signature` has them: one under each of `secrets`.
pub fn sign_standard(secrets: &[SecretString], id: &str, timestamp: i64, body: &str) -> String {
    let keys = secrets.iter().filter_map(|secret| standard_key(secret.expose_secret()));
    let sign = |bytes: Vec<u8>| {
        let mut state = key(&bytes);
        [id, ".", &timestamp.to_string(), ".", body].iter().for_each(|part| state.update(part.as_bytes()));
        format!("v1,{}", BASE64.encode(state.finalize().into_bytes()))
    };
    keys.map(sign).collect::<Vec<_>>().join(" ")
}

/// Whether one of `claimed` is the digest of `parts` under one of `keys`. Every pair is tried, whichever matches, so
/// that the time taken does not tell which one did.
fn believe(keys: &[Hmac<Sha256>], parts: &[&[u8]], claimed: &[[u8; 32]]) -> Result<(), SignatureProblem> {
    let mut matched = Choice::from(0);
    for state in keys {
        let mut state = state.clone();
        parts.iter().for_each(|part| state.update(part));
        let ours: [u8; 32] = state.finalize().into_bytes().into();
        matched = claimed.iter().fold(matched, |matched, claimed| matched | ours.ct_eq(claimed));
    }
    if bool::from(matched) { Ok(()) } else { Err(SignatureProblem::Wrong) }
}

/// The same as a line of a log and a key of a table.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn key(bytes: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Standard Webhooks' documentation.
    const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &[u8] = b"msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    /// The example of GitHub's documentation.
    const HUB: &str = "It's a Secret to Everybody";
    const HUB_BODY: &[u8] = b"Hello, World!";
    const HUB_SIGNATURE: &[u8] = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn verifier() -> Verifier {
        let secret = |text: &str| SecretString::from(text);
        Verifier::new(&[secret(STANDARD), secret(HUB)], &[secret("old-token"), secret("new-token")])
    }

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn standard<'a>(id: &'a [u8], timestamp: &'a [u8], signature: &'a [u8]) -> Signed<'a> {
        Signed { standard: [Some(id), Some(timestamp), Some(signature)], ..Signed::default() }
    }

    #[track_caller]
    fn check(now: i64, signed: Signed<'_>, body: &[u8], expect: Result<Scheme, SignatureProblem>) {
        assert_eq!(verifier().verify(secs(now), &signed, body).map(|proof| proof.scheme), expect);
    }

    #[test]
    fn the_examples_of_both_documentations_are_proved() {
        check(AT, standard(ID, b"1614265330", SIGNATURE.as_bytes()), BODY, Ok(Scheme::Standard));
        check(0, Signed { hub: Some(HUB_SIGNATURE), ..Signed::default() }, HUB_BODY, Ok(Scheme::Hub));
    }

    #[test]
    fn an_id_comes_with_standard_webhooks_alone() {
        let signed = standard(ID, b"1614265330", SIGNATURE.as_bytes());
        let proof = verifier().verify(secs(AT), &signed, BODY).expect("proved");
        assert_eq!(proof.id.as_deref(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek"));
        let signed = Signed { hub: Some(HUB_SIGNATURE), ..Signed::default() };
        assert_eq!(verifier().verify(secs(AT), &signed, HUB_BODY).expect("proved").id, None);
    }

    #[test]
    fn a_signature_may_stand_among_others_while_a_secret_is_rotated() {
        let among = format!("v1a,xyz v1,AAAA {SIGNATURE} v2,{}", "A".repeat(44));
        check(AT, standard(ID, b"1614265330", among.as_bytes()), BODY, Ok(Scheme::Standard));
        let beyond =
            format!("{}{SIGNATURE}", format!("v1,{} ", BASE64.encode([0; 32])).repeat(SIGNATURES_MAX));
        check(AT, standard(ID, b"1614265330", beyond.as_bytes()), BODY, Err(SignatureProblem::Wrong));
    }

    #[test]
    fn a_changed_body_id_or_time_is_not_believed() {
        use SignatureProblem::{Malformed, Stale, Wrong};
        let by = |seconds| Stale { by: std::time::Duration::from_secs(seconds) };
        let signature = SIGNATURE.as_bytes();
        check(AT, standard(ID, b"1614265330", signature), b"{}", Err(Wrong));
        check(AT, standard(b"msg_other", b"1614265330", signature), BODY, Err(Wrong));
        check(AT, standard(ID, b"1614265331", signature), BODY, Err(Wrong));
        check(AT + 300, standard(ID, b"1614265330", signature), BODY, Ok(Scheme::Standard));
        check(AT + 301, standard(ID, b"1614265330", signature), BODY, Err(by(301)));
        check(AT - 301, standard(ID, b"1614265330", signature), BODY, Err(by(301)));
        check(AT, standard(b"msg\xff", b"1614265330", signature), BODY, Err(Malformed));
        check(AT, standard(ID, b"+1614265330", signature), BODY, Err(Malformed));
        check(AT, standard(ID, b"1614265330", b"v1,!"), BODY, Err(Malformed));
        check(0, Signed { hub: Some(HUB_SIGNATURE), ..Signed::default() }, b"Hello, World", Err(Wrong));
        check(0, Signed { hub: Some(b"sha1=00"), ..Signed::default() }, HUB_BODY, Err(Malformed));
    }

    #[test]
    fn a_request_has_one_scheme_and_all_of_it() {
        use SignatureProblem::{Malformed, Missing};
        check(0, Signed::default(), HUB_BODY, Err(Missing));
        let both = Signed {
            hub: Some(HUB_SIGNATURE),
            authorization: Some(b"Bearer new-token"),
            ..Signed::default()
        };
        check(0, both, HUB_BODY, Err(Malformed));
        let half = Signed { standard: [Some(ID), None, Some(SIGNATURE.as_bytes())], ..Signed::default() };
        check(AT, half, BODY, Err(Missing));
    }

    #[test]
    fn a_token_is_the_whole_token() {
        use SignatureProblem::{Malformed, Wrong};
        let check = |header: &[u8], expect| {
            check(0, Signed { authorization: Some(header), ..Signed::default() }, b"any", expect);
        };
        check(b"Bearer new-token", Ok(Scheme::Bearer));
        check(b"bearer old-token", Ok(Scheme::Bearer));
        check(b"Bearer new-toke", Err(Wrong));
        check(b"Bearer new-token ", Err(Wrong));
        check(b"Bearer ", Err(Malformed));
        check(b"Basic bmV3LXRva2Vu", Err(Malformed));
        check(b"\xff", Err(Malformed));
    }

    #[test]
    fn slacks_scheme_is_proved_under_jenkins_own_secret() {
        let signature = slack::sign(HUB, AT, BODY);
        let signed = Signed { slack: [Some(b"1614265330"), Some(signature.as_bytes())], ..Signed::default() };
        check(AT, signed, BODY, Ok(Scheme::Slack));
        let other = slack::sign("another", AT, BODY);
        let signed = Signed { slack: [Some(b"1614265330"), Some(other.as_bytes())], ..Signed::default() };
        check(AT, signed, BODY, Err(SignatureProblem::Wrong));
    }

    #[test]
    fn a_secret_of_standard_webhooks_signs_nothing_else() {
        let only = Verifier::new(&[SecretString::from(STANDARD)], &[]);
        let mut state = key(STANDARD.as_bytes());
        state.update(BODY);
        let hub = format!("sha256={}", hex::encode(state.finalize().into_bytes()));
        let signed = Signed { hub: Some(hub.as_bytes()), ..Signed::default() };
        assert_eq!(only.verify(secs(AT), &signed, BODY), Err(SignatureProblem::Wrong));
        assert_eq!(standard_key("whsec_dG9vIHNob3J0"), None);
    }
}
