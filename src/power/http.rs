//! Power by HTTP: one request switches, another tells the state; what they are stands in the lab file or in a preset.
//!
//! Digest needs a challenge, so the first request goes out without credentials and the device refuses it unread. A
//! redirect is not followed: it would carry the credentials elsewhere.

use std::time::Duration;

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};
use regex::Regex;
use secrecy::ExposeSecret;

use super::Outlet;
use super::fault::{Fault, silence};
use crate::board::power::{Credentials, HttpCall, HttpLogin, HttpStatus, HttpSwitch, StatePlace};
use crate::net::{DeviceHttp, DeviceRequest, HttpReply, NetError};

/// Longest answer that is searched for a state, in bytes.
const SEARCHED_BYTES_MAX: usize = 64 * 1024;
/// Longest challenge that is read, in bytes.
const CHALLENGE_BYTES_MAX: usize = 1024;

/// Sets the outlet with `Some`, reads it with `None`.
pub(super) async fn request(
    http: &DeviceHttp,
    switch: &HttpSwitch,
    set: Option<Outlet>,
) -> Result<Option<Outlet>, Fault> {
    let call = match (set, &switch.status) {
        (Some(Outlet::On), _) => &switch.on,
        (Some(Outlet::Off), _) => &switch.off,
        (None, Some(status)) => &status.call,
        (None, None) => return Ok(None),
    };
    let wire = Wire { http, login: &switch.login, insecure: switch.insecure, within: switch.within };
    let reply = wire.call(call).await?;
    succeeded(&reply)?;
    let body = text(&reply);
    if let Some(expect) = &call.expect
        && !expect.is_match(&body)
    {
        return Err(Fault::passing("its answer is not what a switched outlet says"));
    }
    match (set, &switch.status) {
        (None, Some(status)) => state(status, &body).map(Some),
        _ => Ok(None),
    }
}

/// How a device is spoken to.
pub(super) struct Wire<'w> {
    pub(super) http: &'w DeviceHttp,
    pub(super) login: &'w HttpLogin,
    pub(super) insecure: bool,
    pub(super) within: Duration,
}

impl Wire<'_> {
    async fn call(&self, call: &HttpCall) -> Result<HttpReply, Fault> {
        let headers: Vec<(&str, &str)> =
            call.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        let body = call.body.as_ref().map(|body| body.expose_secret());
        self.send(&call.method, call.url.expose_secret(), &headers, body).await
    }

    /// Sends a request as who asks, and gives whatever is answered.
    pub(super) async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<HttpReply, Fault> {
        let authorization;
        let mut headers = headers.to_vec();
        let mut address = url.to_owned();
        match self.login {
            HttpLogin::Nobody | HttpLogin::Digest(_) => {}
            HttpLogin::Basic(credentials) => {
                authorization = basic(credentials);
                headers.push(("Authorization", &authorization));
            }
            HttpLogin::Bearer(token) => {
                authorization = format!("Bearer {}", token.expose_secret());
                headers.push(("Authorization", &authorization));
            }
            HttpLogin::Query(Credentials { username, password }) => {
                let pairs = [("user", username.as_str()), ("password", password.expose_secret())];
                let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                address = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
            }
        }
        let reply = self.once(method, &address, &headers, body).await?;
        match self.login {
            HttpLogin::Digest(credentials) if reply.status == 401 => {
                let answer = digest(&reply, credentials, method, url, body)?;
                headers.push(("Authorization", &answer));
                self.once(method, &address, &headers, body).await
            }
            _ => Ok(reply),
        }
    }

    async fn once(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<HttpReply, Fault> {
        let (insecure, within) = (self.insecure, self.within);
        let sent = self.http.send(&DeviceRequest { method, url, headers, body, insecure, within }).await;
        sent.map_err(|error| match error {
            NetError::Timeout => Fault::passing(silence(within)),
            NetError::Address(_) => Fault::lasting(error.to_string()),
            NetError::Connect(ref why) if why.contains("ertificate") => Fault::lasting(format!(
                "its certificate is not one that this machine trusts: {why}; `insecure: true` takes any"
            )),
            _ => Fault::passing(error.to_string()),
        })
    }
}

fn basic(Credentials { username, password }: &Credentials) -> String {
    format!("Basic {}", base64(format!("{username}:{}", password.expose_secret()).as_bytes()))
}

/// Base64 with padding (RFC 4648 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for piece in bytes.chunks(3) {
        let group =
            piece.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - piece.len()));
        for n in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * n)) as usize & 63];
            text.push(if n <= piece.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The answer to a digest challenge: the strongest one that is offered.
fn digest(
    reply: &HttpReply,
    credentials: &Credentials,
    method: &str,
    url: &str,
    body: Option<&str>,
) -> Result<String, Fault> {
    let offered = reply.headers("www-authenticate").filter(|offer| offer.len() <= CHALLENGE_BYTES_MAX);
    let is_digest =
        |offer: &&str| offer.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("digest "));
    let mut challenges: Vec<WwwAuthenticateHeader> =
        offered.filter(is_digest).filter_map(|offer| digest_auth::parse(offer).ok()).collect();
    challenges.sort_by_key(|challenge| challenge.algorithm.to_string().contains("MD5"));
    let Some(challenge) = challenges.first_mut() else {
        return Err(Fault::lasting("it does not offer digest; does it want `auth: basic`?"));
    };
    let path = url.find("://").and_then(|at| url[at + 3..].find('/').map(|slash| &url[at + 3 + slash..]));
    let asked = AuthContext::new_with_method(
        credentials.username.as_str(),
        credentials.password.expose_secret(),
        path.unwrap_or("/"),
        body.map(str::as_bytes),
        HttpMethod::from(method),
    );
    let answer =
        challenge.respond(&asked).map_err(|_| Fault::passing("its digest challenge makes no sense"))?;
    Ok(answer.to_header_string())
}

/// Whether a device did what it was asked, by its status.
pub(super) fn succeeded(reply: &HttpReply) -> Result<(), Fault> {
    match reply.status {
        200..=299 => Ok(()),
        status @ (301 | 302 | 303 | 307 | 308) => Err(Fault::lasting(format!(
            "it answered with a redirect ({status}), which is not followed: is the address right, or `tls: true` missing?"
        ))),
        status @ (401 | 403) => {
            Err(Fault::lasting(format!("it refused who asks ({status}): user name, password or token?")))
        }
        404 => Err(Fault::lasting("it knows no such address (404): another preset, or another outlet?")),
        status @ (408 | 429 | 500..=599) => Err(Fault::passing(format!("it answered with status {status}"))),
        status => Err(Fault::lasting(format!("it answered with status {status}"))),
    }
}

/// The body as text, as far as it is looked at.
pub(super) fn text(reply: &HttpReply) -> String {
    String::from_utf8_lossy(&reply.body[..reply.body.len().min(SEARCHED_BYTES_MAX)]).into_owned()
}

fn state(status: &HttpStatus, body: &str) -> Result<Outlet, Fault> {
    let nothing = || Fault::passing("its answer holds no state where one should be");
    let word = match &status.place {
        StatePlace::Pattern(pattern) => first_group(pattern, body).ok_or_else(nothing)?.to_owned(),
        StatePlace::Pointer(pointer) => {
            let json: serde_json::Value =
                serde_json::from_str(body).map_err(|_| Fault::passing("its answer is no JSON"))?;
            match json.pointer(pointer).ok_or_else(nothing)? {
                serde_json::Value::String(word) => word.clone(),
                other => other.to_string(),
            }
        }
    };
    named(&word, &status.on, &status.off)
}

/// What a pattern finds: its first group, or everything where it has none.
pub(super) fn first_group<'t>(pattern: &Regex, text: &'t str) -> Option<&'t str> {
    let found = pattern.captures(text)?;
    found.get(1).or_else(|| found.get(0)).map(|group| group.as_str())
}

/// The state that a word means.
pub(super) fn named(word: &str, on: &[String], off: &[String]) -> Result<Outlet, Fault> {
    let is = |words: &[String]| words.iter().any(|known| known.eq_ignore_ascii_case(word.trim()));
    match (is(on), is(off)) {
        (true, _) => Ok(Outlet::On),
        (_, true) => Ok(Outlet::Off),
        _ => Err(Fault::passing(format!(
            "its state is {}, neither on nor off",
            crate::board::shown(&word.chars().take(40).collect::<String>())
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let check = |text: &str, expect: &str| assert_eq!(base64(text.as_bytes()), expect);
        check("", "");
        check("f", "Zg==");
        check("fo", "Zm8=");
        check("foo", "Zm9v");
        check("foob", "Zm9vYg==");
        check("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(base64(&[0xff, 0xfe, 0xfd, 0xfb, 0xf0]), "//79+/A=");
    }

    #[test]
    fn a_state_is_a_word_or_nothing() {
        let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let check = |word: &str, expect: Result<Outlet, &str>| {
            let is = named(word, &words(&["on", "1"]), &words(&["off", "0"]));
            assert_eq!(is.as_ref().map_err(Fault::problem).copied(), expect, "{word}");
        };
        check("ON", Ok(Outlet::On));
        check(" off\n", Ok(Outlet::Off));
        check("0", Ok(Outlet::Off));
        check("unavailable", Err("its state is \"unavailable\", neither on nor off"));
    }

    proptest! {
        #[test]
        fn no_challenge_makes_the_answering_panic(
            noise in "[ -~]{0,80}", pieces in prop::collection::vec("[a-z]{1,9}=\"?[ -~]{0,12}\"?", 0..6),
        ) {
            let good = "realm=\"r\", nonce=\"n\"";
            for challenge in [format!("Digest {noise}"), format!("Digest {good}, {}", pieces.join(", "))] {
                if let Ok(mut header) = digest_auth::parse(&challenge) {
                    let asked = AuthContext::new_with_method("u", "p", "/", None::<&[u8]>, HttpMethod::from("GET"));
                    let _ = header.respond(&asked).map(|answer| answer.to_header_string());
                }
            }
        }
    }
}
