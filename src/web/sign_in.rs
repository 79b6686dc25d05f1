//! Signing in as in a chat: a browser is sent to the platform with something that only it has in a cookie, and comes back
//! with a code for which the platform says who it is. It is let in where the lab's roles let that person in, and led back to
//! the page that it wanted. No code and no token is logged, shown or kept.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minijinja::{Value, context};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::reader::Reader;
use super::session::{self, SECRET_BYTES, SESSION_LIVES};
use super::{Next, go, html, own_path};
use crate::chat::plain::one_line;
use crate::chat::sign_in::{CODE_BYTES_MAX, Going, Proven, SignIn, Unproven, word};
use crate::chat::{Actor, Platform, token};
use crate::clock::Timestamp;
use crate::door::Door;
use crate::door::sign_in::LOOKS;
use crate::door::throttle::Refused;
use crate::message::links::Links;
use crate::store::{NewSession, SESSION_NAME_BYTES_MAX};

/// How long a sign-in may be on its way.
const GOING_LIVES: Duration = Duration::from_secs(10 * 60);
/// The cookie's name.
const COOKIE: &str = "boardhand_signin";
/// Longest page that is led back to, and longest cookie header that is read.
const NEXT_BYTES_MAX: usize = 1024;
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// The platforms that people sign in with here, and where that begins.
pub(super) fn ways(door: &Door, next: &str) -> Vec<Value> {
    let next: String = form_urlencoded::byte_serialize(own_path(next).as_bytes()).collect();
    let way = |way: &Arc<dyn SignIn>| {
        let path = format!("/signin/{}?next={next}", way.platform().as_str());
        context! { path, name => way.name() }
    };
    door.sign_ins.all().iter().map(way).collect()
}

/// A sign-in on its way: what the cookie of a browser holds.
#[derive(Debug, PartialEq, Eq)]
struct Begun {
    platform: Platform,
    ends_at: i64,
    secret: String,
    next: String,
}

impl Begun {
    fn sealed(&self, links: &Links) -> String {
        let Begun { platform, ends_at, secret, next } = self;
        let next = URL_SAFE_NO_PAD.encode(next);
        let said = format!("{}.{ends_at}.{secret}.{next}", platform.as_str());
        let seal = links.seal(&format!("signing-in:{said}"));
        format!("{said}.{seal}")
    }

    fn cookie(&self, links: &Links) -> String {
        let age = GOING_LIVES.as_secs();
        format!("{COOKIE}={}; Max-Age={age}; {}", self.sealed(links), session::terms(links))
    }

    /// The one of these cookies that is not over.
    fn of(headers: &HeaderMap, links: &Links, now: Timestamp) -> Option<Begun> {
        let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let texts = texts.filter(|text| text.len() <= HEADER_BYTES_MAX);
        texts
            .flat_map(|text| text.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
            .find_map(|cookie| Begun::read(cookie, links, now))
    }

    fn read(cookie: &str, links: &Links, now: Timestamp) -> Option<Begun> {
        let (said, given) = cookie.rsplit_once('.')?;
        let seal = links.seal(&format!("signing-in:{said}"));
        if !bool::from(seal.as_bytes().ct_eq(given.as_bytes())) {
            return None;
        }
        let mut parts = said.splitn(4, '.');
        let platform = Platform::from_word(parts.next()?)?;
        let (ends_at, secret) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let next = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let begun = Begun { platform, ends_at, secret, next: String::from_utf8(next).ok()? };
        (now.as_secs() < ends_at).then_some(begun)
    }

    /// What the platform is told, each made from the secret: none tells another.
    fn going(&self, links: &Links) -> Going {
        let made = |what: &str| links.seal(&format!("signing-in-{what}:{}", self.secret));
        Going {
            state: made("state"),
            nonce: made("nonce"),
            verifier: made("verifier"),
            redirect: links.signed_in_with(self.platform.as_str()),
        }
    }
}

fn cleared(links: &Links) -> String {
    format!("{COOKIE}=; Max-Age=0; {}", session::terms(links))
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Sends a browser to the platform.
pub(super) async fn begin(
    State(door): State<Arc<Door>>,
    reader: Reader,
    Path(platform): Path<String>,
    Query(query): Query<Next>,
) -> Response {
    let way = Platform::from_word(&platform).and_then(|platform| door.sign_ins.with(platform));
    let Some(way) = way else { return not_here(&reader) };
    let next = own_path(&query.next);
    let begun = Begun {
        platform: way.platform(),
        ends_at: (door.clock.now() + GOING_LIVES).as_secs(),
        secret: hex::encode(door.handler.ids.bytes::<SECRET_BYTES>()),
        next: if next.len() <= NEXT_BYTES_MAX { next.to_owned() } else { "/".to_owned() },
    };
    let Some(address) = door.sign_ins.address(way.as_ref(), &begun.going(&door.links)).await else {
        let said = "Too many people sign in at once. Try again in a moment.";
        return reader.told(StatusCode::SERVICE_UNAVAILABLE, "Not now", said, "/signin");
    };
    let mut response = go(&address);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    set_cookie(&mut response, &begun.cookie(&door.links));
    response
}

/// What a browser comes back with.
#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
}

/// Lets somebody in who comes back from the platform.
pub(super) async fn back(
    State(door): State<Arc<Door>>,
    reader: Reader,
    Path(platform): Path<String>,
    headers: HeaderMap,
    Query(back): Query<Back>,
) -> Response {
    let reader = reader.standing_at("/signin");
    let platform = Platform::from_word(&platform);
    let Some(way) = platform.and_then(|platform| door.sign_ins.with(platform)) else {
        return not_here(&reader);
    };
    let begun = Begun::of(&headers, &door.links, door.clock.now());
    let begun = begun.filter(|begun| begun.platform == way.platform());
    let mut response = match begun {
        Some(begun) => came_back(&door, &reader, way.as_ref(), &begun, &back).await,
        None => another(&reader, way.as_ref(), "/"),
    };
    // It is over, however it ended.
    set_cookie(&mut response, &cleared(&door.links));
    response
}

async fn came_back(door: &Door, reader: &Reader, way: &dyn SignIn, begun: &Begun, back: &Back) -> Response {
    let going = begun.going(&door.links);
    if !bool::from(going.state.as_bytes().ct_eq(back.state.as_bytes())) {
        return another(reader, way, &begun.next);
    }
    if !back.error.is_empty() || back.code.is_empty() || back.code.len() > CODE_BYTES_MAX {
        return not_allowed(reader, way, &back.error, &begun.next);
    }
    let Proven { actor, foreign } = match door.sign_ins.prove(way, &back.code, &going).await {
        Ok(proven) => proven,
        Err(unproven) => return not_proved(reader, way, &unproven, &begun.next),
    };
    let actor = Actor { name: name(&actor.name), ..actor };
    let visitor = door.person(actor.clone(), foreign);
    if !door.may(&visitor, &LOOKS).await {
        // The words, and the line on record, are those of the chats.
        return match door.look(&visitor, LOOKS).await {
            Ok(note) => {
                let card = door.composer.page_note(&note, reader.tongue.as_str());
                let facts = context! {
                    title => card.summary.as_str(),
                    card => Value::from_safe_string(html::card(&card, false)),
                    back => "/signin",
                };
                reader.page(StatusCode::FORBIDDEN, "answer.html", facts)
            }
            Err(error) => reader.not_now(&error),
        };
    }
    let (cookie, hash) = session::begin_person(&door.handler.ids.bytes::<SECRET_BYTES>(), &door.links);
    let now = door.clock.now();
    let new = NewSession {
        hash,
        sign_in: token::digest(going.state.as_bytes()),
        by: actor,
        foreign,
        made_at: now,
        expires_at: now + SESSION_LIVES,
    };
    match door.store.session_begin(&new).await {
        Ok(true) => {}
        Ok(false) => return another(reader, way, &begun.next),
        Err(error) => return reader.not_now(&error),
    }
    tracing::info!(actor = new.by.key(), foreign, "somebody signed in");
    let mut response = go(own_path(&begun.next));
    set_cookie(&mut response, &cookie);
    response
}

/// A name as it is kept.
fn name(said: &str) -> String {
    let mut name = one_line(said);
    while name.len() > SESSION_NAME_BYTES_MAX {
        name.pop();
    }
    name
}

fn not_here(reader: &Reader) -> Response {
    let said = "Nobody signs in this way here.";
    reader.told(StatusCode::NOT_FOUND, "Nobody was signed in", said, "/signin")
}

/// Nobody is signed in: what is wrong and what to do.
fn refused(reader: &Reader, (status, said): (StatusCode, String), next: &str) -> Response {
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let title = reader.tongue.say("Nobody was signed in");
    let facts = context! { title, said, back => format!("/signin?next={next}"), again => true };
    reader.page(status, "missing.html", facts)
}

/// It is no sign-in that this browser began, or one that is over.
fn another(reader: &Reader, way: &dyn SignIn, next: &str) -> Response {
    let said = "This sign-in was not begun in this browser, took longer than 10 minutes, or was used before. Begin again.";
    let mut response = refused(reader, (StatusCode::FORBIDDEN, reader.tongue.say(said).to_owned()), next);
    let reason = format!("a sign-in with {} that did not begin here, or is over", way.name());
    response.extensions_mut().insert(Refused(reason));
    response
}

/// The platform sent no code, because somebody did not allow it or for another reason.
fn not_allowed(reader: &Reader, way: &dyn SignIn, error: &str, next: &str) -> Response {
    let error = if error.is_empty() { "no_code".to_owned() } else { word(error) };
    tracing::info!(platform = way.name(), error, "somebody did not sign in");
    let facts = [("platform", way.name()), ("error", &*error)];
    let said = match error.as_str() {
        "access_denied" => reader.tongue.fill("You did not allow {platform} to say who you are.", &facts),
        _ => reader.tongue.fill("{platform} did not let you in: {error}. Begin again; if it stays so, tell whoever runs this server.", &facts),
    };
    refused(reader, (StatusCode::FORBIDDEN, said), next)
}

/// The platform did not say who it is.
fn not_proved(reader: &Reader, way: &dyn SignIn, unproven: &Unproven, next: &str) -> Response {
    tracing::warn!(platform = way.name(), error = %unproven, "somebody did not sign in");
    let why = unproven.to_string();
    let facts = [("platform", way.name()), ("why", &*why)];
    let tongue = reader.tongue;
    let (status, said) = match unproven {
        Unproven::Code(_) => (
            StatusCode::FORBIDDEN,
            tongue.fill("{platform} did not say who you are: {why}. A code counts once and for minutes: begin again.", &facts),
        ),
        Unproven::SetUp { .. } => (
            StatusCode::BAD_GATEWAY,
            tongue.fill("{platform} did not say who you are: {why}. Tell whoever runs this server.", &facts),
        ),
        Unproven::Away(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            tongue.fill("{platform} did not say who you are: {why}. Try again in a moment; a token signs you in meanwhile.", &facts),
        ),
        Unproven::Doubtful(_) => (
            StatusCode::BAD_GATEWAY,
            tongue.fill("{platform} did not say who you are: {why}. Begin again; if it stays so, tell whoever runs this server.", &facts),
        ),
    };
    refused(reader, (status, said), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn begun() -> Begun {
        let ends_at = (NOW + GOING_LIVES).as_secs();
        Begun { platform: Platform::Slack, ends_at, secret: "5ec2e7".into(), next: "/runs/4?key=a.b".into() }
    }

    #[test]
    fn a_sign_in_is_that_of_its_browser_and_not_for_long() {
        let links = Links::new("https://lab", [7; 32]);
        let cookie = begun().cookie(&links);
        assert!(cookie.ends_with("; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        let of = |cookie: &str, links: &Links, now| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, format!("theme=dark; {cookie}").parse().expect("a header"));
            Begun::of(&headers, links, now)
        };
        let good = cookie.split(';').next().expect("a cookie");
        assert_eq!(of(good, &links, NOW), Some(begun()));
        assert_eq!(of(good, &links, NOW + GOING_LIVES), None, "over");
        assert_eq!(of(good, &Links::new("https://lab", [8; 32]), NOW), None, "another server");
        let elsewhere = good.replace("slack", "feishu");
        for bad in [&elsewhere, &good[..good.len() - 1], "boardhand_signin=", "boardhand_signin=....."] {
            assert_eq!(of(bad, &links, NOW), None, "{bad}");
        }
    }

    #[test]
    fn nothing_that_the_platform_is_told_tells_the_rest() {
        let links = Links::new("https://lab", [7; 32]);
        let Going { state, nonce, verifier, redirect } = begun().going(&links);
        assert!(state != nonce && nonce != verifier && (43..=128).contains(&verifier.len()));
        assert_eq!(redirect, "https://lab/signin/slack/back");
        let other = Begun { secret: "an0ther".into(), ..begun() }.going(&links);
        assert_ne!(other.state, state);
    }
}
