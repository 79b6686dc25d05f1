//! What Slack says of who somebody is: the claims of an ID token (OpenID Connect Core 2). It is read as it came from the
//! token endpoint over TLS, which stands for its signature (3.1.3.7, rule 6); everything else that the standard asks for
//! is asked here. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;

/// Longest token that is read.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How far the two clocks may be apart, in seconds.
const SKEW_SECS: i64 = 60;
/// Slack's own claims.
const TEAM: &str = "https://slack.com/team_id";
const USER: &str = "https://slack.com/user_id";

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'e> {
    /// Who says it.
    pub issuer: &'e str,
    /// Whom it is said to: the app.
    pub client: &'e str,
    /// What was sent along.
    pub nonce: &'e str,
    /// The time.
    pub now: Timestamp,
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Their id.
    pub user: String,
    /// Their workspace.
    pub team: String,
    /// Their name; empty where the token has none.
    pub name: String,
}

/// Who a token says that somebody is; or what of it does not hold.
pub fn read(token: &str, expected: &Expected<'_>) -> Result<Claims, &'static str> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err("the ID token is too long");
    }
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let [_, payload, _] = parts[..] else { return Err("the ID token is none") };
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('='));
    let claims = payload.ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let claims = claims.filter(Value::is_object).ok_or("the ID token cannot be read")?;
    let text = |name: &str| claims[name].as_str().unwrap_or_default();
    if text("iss") != expected.issuer {
        return Err("the ID token is of another issuer");
    }
    if !is_for(&claims, expected.client) {
        return Err("the ID token is for another app");
    }
    let now = expected.now.as_secs();
    let Some(ends) = claims["exp"].as_i64() else { return Err("the ID token has no end") };
    if ends <= now - SKEW_SECS {
        return Err("the ID token has expired");
    }
    if claims["iat"].as_i64().is_some_and(|made| made > now + SKEW_SECS) {
        return Err("the ID token is of a time to come");
    }
    if !bool::from(text("nonce").as_bytes().ct_eq(expected.nonce.as_bytes())) || expected.nonce.is_empty() {
        return Err("the ID token is of another sign-in");
    }
    let (user, team) = (text("sub"), text(TEAM));
    if claims.get(USER).is_some_and(|named| named != user) {
        return Err("the ID token names two people");
    }
    if !is_id(user) || !is_id(team) {
        return Err("the ID token names nobody");
    }
    Ok(Claims { user: user.to_owned(), team: team.to_owned(), name: text("name").to_owned() })
}

/// Whether the audience is this app, and where there are more, whether it is said to be ours.
fn is_for(claims: &Value, client: &str) -> bool {
    match &claims["aud"] {
        Value::String(one) => one == client,
        Value::Array(several) => {
            several.iter().any(|one| one == client) && (several.len() == 1 || claims["azp"] == client)
        }
        _ => false,
    }
}

/// Whether it is an id as Slack gives them.
fn is_id(id: &str) -> bool {
    (2..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://slack.com", client: "1.2", nonce: "n-1", now: NOW }
    }

    fn token(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({ "alg": "RS256" })), part(claims))
    }

    fn good() -> Value {
        json!({ "iss": "https://slack.com", "sub": "U0ALICE", "aud": "1.2", "exp": NOW.as_secs() + 300,
            "iat": NOW.as_secs(), "nonce": "n-1", TEAM: "T0LAB", USER: "U0ALICE", "name": "Alice" })
    }

    #[test]
    fn a_token_of_this_sign_in_names_somebody() {
        let claims = read(&token(&good()), &expected()).expect("claims");
        assert_eq!(
            (claims.user.as_str(), claims.team.as_str(), claims.name.as_str()),
            ("U0ALICE", "T0LAB", "Alice")
        );
        let mut several = good();
        several["aud"] = json!(["1.2", "9.9"]);
        several["azp"] = json!("1.2");
        assert!(read(&token(&several), &expected()).is_ok());
    }

    #[test]
    fn what_does_not_hold_is_told() {
        let late = json!(NOW.as_secs() - 61);
        for (claim, value, problem) in [
            ("iss", json!("https://slack.com.evil.example"), "another issuer"),
            ("aud", json!("9.9"), "another app"),
            ("aud", json!(["1.2", "9.9"]), "another app"),
            ("aud", json!(null), "another app"),
            ("exp", late, "expired"),
            ("exp", json!("soon"), "no end"),
            ("iat", json!(NOW.as_secs() + 3600), "time to come"),
            ("nonce", json!("n-2"), "another sign-in"),
            ("nonce", json!(null), "another sign-in"),
            ("sub", json!(""), "two people"),
            ("sub", json!("U0BOB"), "two people"),
            (USER, json!("U0BOB"), "two people"),
            (TEAM, json!(null), "nobody"),
            (TEAM, json!("T<b>"), "nobody"),
        ] {
            let mut claims = good();
            claims[claim] = value;
            let said = read(&token(&claims), &expected()).expect_err(claim);
            assert!(said.contains(problem), "{claim}: {said}");
        }
        for bad in ["", "a.b", "a.b.c.d", "a.!.c", "a.bnVsbA.c", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(read(bad, &expected()).is_err(), "{bad}");
        }
        let none = Expected { nonce: "", ..expected() };
        let mut claims = good();
        claims["nonce"] = json!("");
        assert!(read(&token(&claims), &none).is_err());
    }
}
