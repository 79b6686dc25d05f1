//! The simulated workspace's own pages for signing in elsewhere with it, and what it gives for a code: an ID token whose
//! claims can be made wrong. It holds an app to what the real one does: the address that is registered, one use of a code,
//! its secret, the scope.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::methods::{Answer, Failure, text};
use super::model::{BOT_USER, TEAM};
use super::{Shared, SimSlack};
use crate::clock::Timestamp;

/// The app's id and secret.
pub const CLIENT_ID: &str = "1234.5678";
/// The app's secret.
pub const CLIENT_SECRET: &str = "client-secret-of-slack";
/// How long a code counts.
const CODE_LIVES: Duration = Duration::from_secs(600);

/// What is known of sign-ins.
#[derive(Default)]
pub(super) struct SignIns {
    redirects: Vec<String>,
    codes: HashMap<String, Code>,
    /// Whose each access token is.
    tokens: HashMap<String, String>,
    forged: Vec<(String, Value)>,
}

struct Code {
    user: String,
    nonce: String,
    redirect: String,
    made_at: Timestamp,
    used: bool,
}

type Asked = Query<HashMap<String, String>>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/openid/connect/authorize", get(authorize))
        .route("/openid/connect/allow", get(allow))
}

impl SimSlack {
    /// Registers an address to which the app has people sent back.
    pub fn register_redirect(&self, url: &str) {
        self.0.shared.sign_ins.lock().expect("sign-ins").redirects.push(url.to_owned());
    }

    /// ID tokens say this from now on, whatever is true; `null` leaves a claim out.
    pub fn forge_claim(&self, claim: &str, value: Value) {
        self.0.shared.sign_ins.lock().expect("sign-ins").forged.push((claim.to_owned(), value));
    }

    /// ID tokens say what is true.
    pub fn forge_nothing(&self) {
        self.0.shared.sign_ins.lock().expect("sign-ins").forged.clear();
    }
}

fn field<'a>(asked: &'a HashMap<String, String>, name: &str) -> &'a str {
    asked.get(name).map_or("", String::as_str)
}

/// What is wrong with what an app asks for, as the workspace's own page says.
fn wrong(shared: &Shared, asked: &HashMap<String, String>) -> Option<&'static str> {
    let registered = &shared.sign_ins.lock().expect("sign-ins").redirects;
    if field(asked, "client_id") != CLIENT_ID {
        Some("invalid_client_id")
    } else if !registered.iter().any(|url| url == field(asked, "redirect_uri")) {
        Some("bad_redirect_uri")
    } else if field(asked, "response_type") != "code" {
        Some("invalid_response_type")
    } else if !field(asked, "scope").split(' ').any(|scope| scope == "openid") {
        Some("invalid_scope")
    } else if !field(asked, "code_challenge").is_empty() {
        // Only an app that has become a public client may.
        Some("pkce_not_allowed")
    } else {
        None
    }
}

async fn authorize(State(shared): State<Arc<Shared>>, Query(asked): Asked) -> Response {
    if let Some(wrong) = wrong(&shared, &asked) {
        let page = format!("<!doctype html><title>Slack</title><h1>Something went wrong</h1><p>{wrong}</p>");
        return (StatusCode::BAD_REQUEST, Html(page)).into_response();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&asked).finish();
    let world = shared.world.lock().expect("world");
    let people = world.users.values().filter(|user| user.id != BOT_USER);
    let people: String = people
        .map(|user| {
            let (id, name) = (&user.id, &user.name);
            format!("<p><a href=\"/openid/connect/allow?{query}&amp;user={id}\">Allow as {name}</a></p>")
        })
        .collect();
    let page = format!(
        "<!doctype html><title>Slack</title><h1>boardhand wants to know who you are</h1>{people}\
         <p><a href=\"/openid/connect/allow?{query}\">Cancel</a></p>"
    );
    Html(page).into_response()
}

/// Somebody allows it, or cancels.
async fn allow(State(shared): State<Arc<Shared>>, Query(asked): Asked) -> Response {
    if wrong(&shared, &asked).is_some() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let mut back = form_urlencoded::Serializer::new(String::new());
    match asked.get("user") {
        Some(user) => {
            let code = shared.ids.letters(24);
            back.append_pair("code", &code);
            let code_of = Code {
                user: user.clone(),
                nonce: field(&asked, "nonce").to_owned(),
                redirect: field(&asked, "redirect_uri").to_owned(),
                made_at: shared.clock.now(),
                used: false,
            };
            shared.sign_ins.lock().expect("sign-ins").codes.insert(code, code_of);
        }
        None => drop(back.append_pair("error", "access_denied")),
    }
    let back = back.append_pair("state", field(&asked, "state")).finish();
    let to = format!("{}?{back}", field(&asked, "redirect_uri"));
    (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
}

/// `openid.connect.token`.
pub(super) fn token(shared: &Shared, arguments: &Value) -> Answer {
    if text(arguments, "client_id") != CLIENT_ID {
        return Err(Failure::new("invalid_client_id"));
    }
    if text(arguments, "client_secret") != CLIENT_SECRET {
        return Err(Failure::new("bad_client_secret"));
    }
    if text(arguments, "grant_type") != "authorization_code" {
        return Err(Failure::new("invalid_grant_type"));
    }
    let now = shared.clock.now();
    let mut sign_ins = shared.sign_ins.lock().expect("sign-ins");
    let Some(code) = sign_ins.codes.get_mut(text(arguments, "code")) else {
        return Err(Failure::new("invalid_code"));
    };
    if code.used {
        return Err(Failure::new("code_already_used"));
    }
    code.used = true;
    if now.since(code.made_at) > CODE_LIVES {
        return Err(Failure::new("invalid_code"));
    }
    if text(arguments, "redirect_uri") != code.redirect {
        return Err(Failure::new("bad_redirect_uri"));
    }
    let (user, nonce) = (code.user.clone(), code.nonce.clone());
    let name = shared.world.lock().expect("world").name_of(&user).to_owned();
    let mut claims = json!({
        "iss": format!("http://{}", shared.addr), "sub": user, "aud": CLIENT_ID, "exp": now.as_secs() + 300,
        "iat": now.as_secs(), "auth_time": now.as_secs(), "nonce": nonce, "name": name, "locale": "en-US",
        "https://slack.com/team_id": TEAM, "https://slack.com/user_id": user,
    });
    for (claim, value) in &sign_ins.forged {
        claims[claim] = value.clone();
    }
    let access = format!("xoxp-{}", shared.ids.letters(24));
    sign_ins.tokens.insert(access.clone(), user);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "sim" });
    let id_token = format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("no signature"));
    Ok(json!({"ok": true, "access_token": access, "token_type": "Bearer", "id_token": id_token}))
}

/// `openid.connect.userInfo`.
pub(super) fn user_info(shared: &Shared, headers: &HeaderMap) -> Answer {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let sign_ins = shared.sign_ins.lock().expect("sign-ins");
    let user = sign_ins.tokens.get(bearer).ok_or_else(|| Failure::new("invalid_auth"))?;
    let name = shared.world.lock().expect("world").name_of(user).to_owned();
    Ok(json!({"ok": true, "sub": user, "https://slack.com/user_id": user, "https://slack.com/team_id": TEAM,
        "name": name, "locale": "en-US"}))
}
