//! Pages for people who would rather look: the board wall, boards, a run with its live console, the queue, history. What is
//! pressed on them is a command, as in a chat; nothing is decided here. Every page comes whole from here and asks nobody else for anything: no script, style,
//! font or picture of another server is ever loaded, and no board's byte becomes markup.
//!
//! Whoever signed in, with a token of the API or as in their chat, sees everything. Whoever follows a signed link of a message sees the run
//! that it leads to.

mod act;
mod admin;
mod ansi;
mod board;
mod compare;
mod console;
mod history;
mod html;
mod live;
mod plot;
mod reader;
mod run;
mod session;
mod sign_in;
mod wall;
mod words;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use minijinja::{Environment, Value, context};
use serde::Deserialize;

pub use self::live::Live;
use self::reader::Reader;
use self::words::Tongue;
use crate::chat::token;
use crate::door::Door;

/// What a browser may do with a page: load this server's own style and script, and nothing else at all.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Longest token that is read.
const TOKEN_BYTES_MAX: usize = 4096;

/// The pages' texts; what is put into them is escaped.
static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    words::teach(&mut pages);
    for (name, source) in [
        ("base.html", include_str!("pages/base.html")),
        ("signin.html", include_str!("pages/signin.html")),
        ("wall.html", include_str!("pages/wall.html")),
        ("wall_live.html", include_str!("pages/wall_live.html")),
        ("queue_live.html", include_str!("pages/queue_live.html")),
        ("run_live.html", include_str!("pages/run_live.html")),
        ("queue.html", include_str!("pages/queue.html")),
        ("run.html", include_str!("pages/run.html")),
        ("history.html", include_str!("pages/history.html")),
        ("suite.html", include_str!("pages/suite.html")),
        ("board.html", include_str!("pages/board.html")),
        ("compare.html", include_str!("pages/compare.html")),
        ("admin.html", include_str!("pages/admin.html")),
        ("sure.html", include_str!("pages/sure.html")),
        ("answer.html", include_str!("pages/answer.html")),
        ("missing.html", include_str!("pages/missing.html")),
    ] {
        pages.add_template(name, source).expect("a template that the tests have read");
    }
    pages
});

/// The pages' routes.
pub fn routes() -> Router<Arc<Door>> {
    Router::new()
        .route("/", get(wall::wall))
        .route("/boards", get(wall::wall))
        .route("/boards/{board}", get(board::board))
        .route("/queue", get(wall::queue))
        .route("/history", get(history::history))
        .route("/compare", get(compare::compare))
        .route("/admin", get(admin::admin))
        .route("/runs/{run}", get(run::run))
        .route("/runs/{run}/console/{attempt}", get(run::piece))
        .route("/act", post(act::act))
        .route("/power/{request}", get(act::power_request))
        .route("/language", post(language))
        .route("/live/boards", get(wall::follow_wall))
        .route("/live/queue", get(wall::follow_queue))
        .route("/live/runs/{run}", get(run::follow))
        .route("/signin", get(ask).post(sign_in))
        .route("/signin/{platform}", get(sign_in::begin))
        .route("/signin/{platform}/back", get(sign_in::back))
        .route("/signout", post(sign_out))
        .route("/assets/web.css", get(|| asset("text/css; charset=utf-8", include_str!("pages/web.css"))))
        .route(
            "/assets/web.js",
            get(|| asset("text/javascript; charset=utf-8", include_str!("pages/web.js"))),
        )
        .route("/favicon.ico", get(|| asset("image/svg+xml", include_str!("pages/icon.svg"))))
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")];
    let mut response = (headers, text).into_response();
    secured(&mut response);
    response
}

/// A part of a page that is sent anew by itself.
fn fragment(name: &str, tongue: Tongue, facts: Value) -> String {
    let facts = context! { lang => tongue.as_str(), ..facts };
    let text = PAGES.get_template(name).and_then(|template| template.render(facts));
    text.unwrap_or_else(|error| {
        tracing::error!(page = name, %error, "a part of a page cannot be made");
        String::new()
    })
}

fn secured(response: &mut Response) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A link's key must not go to where a page's links lead.
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

fn go(path: &str) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response();
    secured(&mut response);
    response
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

/// A path of this server, whatever was asked for.
fn own_path(next: &str) -> &str {
    let plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if next.starts_with('/') && !next.starts_with("//") && plain { next } else { "/" }
}

async fn ask(State(door): State<Arc<Door>>, reader: Reader, Query(query): Query<Next>) -> Response {
    reader.page(StatusCode::OK, "signin.html", asked(&door, &query.next, false))
}

fn asked(door: &Door, next: &str, wrong: bool) -> Value {
    context! { next => own_path(next), wrong => wrong, ways => sign_in::ways(door, next) }
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    to: String,
    #[serde(default)]
    back: String,
}

/// Keeps the language that somebody chose.
async fn language(State(door): State<Arc<Door>>, Form(choice): Form<Choice>) -> Response {
    let mut response = go(own_path(&choice.back));
    let tongue = Tongue::of(&choice.to).unwrap_or_default();
    let secure = if door.links.are_secure() { "; Secure" } else { "" };
    let cookie = format!(
        "{}={}; Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax{secure}",
        words::COOKIE,
        tongue.as_str()
    );
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[derive(Deserialize)]
struct SignIn {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

async fn sign_in(
    State(door): State<Arc<Door>>,
    reader: Reader,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Response {
    // Another site must not sign somebody in as somebody else.
    let foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let given = form.token.trim();
    let digest = token::digest(given.as_bytes());
    let known = given.len() <= TOKEN_BYTES_MAX && !foreign && door.visitor(&digest).await.is_some();
    let cookie = known.then(|| session::begin(&digest, &door.links, door.clock.now()));
    let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) else {
        tracing::warn!("somebody did not sign in: the token is not known");
        return reader.page(StatusCode::UNAUTHORIZED, "signin.html", asked(&door, &form.next, true));
    };
    tracing::info!("somebody signed in");
    let mut response = go(own_path(&form.next));
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

async fn sign_out(State(door): State<Arc<Door>>, reader: Reader, headers: HeaderMap) -> Response {
    let now = door.clock.now();
    let cookies = headers.get_all(header::COOKIE).iter();
    let sessions = cookies.filter_map(|cookie| session::of(cookie.as_bytes(), &door.links, now));
    for session in sessions.filter(|session| session.of_person) {
        if let Err(error) = door.store.session_end(&session.digest, now).await {
            return reader.not_now(&error);
        }
    }
    let mut response = go("/signin");
    if let Ok(cookie) = HeaderValue::from_str(&session::end(&door.links)) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_server() {
        for (next, path) in [
            ("/runs/42?key=ab&attempt=1", "/runs/42?key=ab&attempt=1"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\r\nset-cookie: a=b", "/"),
        ] {
            assert_eq!(own_path(next), path, "{next:?}");
        }
    }

    #[test]
    fn every_page_is_a_template() {
        assert_eq!(PAGES.templates().count(), 16);
    }
}
