//! The simulated tenant's own page for signing in elsewhere with it, and what it gives for a code. It holds an app to what
//! the real one does: the address that is registered, one use of a code, its secret, and the verifier of what it was shown.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api::{code as refuse, stumble};
use super::{Call, Fault, SimFeishu, TENANT};
use crate::clock::Timestamp;

/// How long a code counts.
const CODE_LIVES: Duration = Duration::from_secs(300);
const BAD_TOKEN: i64 = 20_005;

/// What is known of sign-ins.
#[derive(Default)]
pub(super) struct SignIns {
    redirects: Vec<String>,
    codes: HashMap<String, Code>,
    /// Whose each token is.
    tokens: HashMap<String, String>,
    /// The tenants of those who are of another one.
    tenants: HashMap<String, String>,
}

struct Code {
    person: String,
    redirect: String,
    challenge: String,
    made_at: Timestamp,
    used: bool,
}

type Asked = Query<HashMap<String, String>>;

impl SimFeishu {
    /// Registers an address to which the app has people sent back.
    pub fn register_redirect(&self, url: &str) {
        self.lock().sign_ins.redirects.push(url.to_owned());
    }

    /// Somebody is of this tenant.
    pub fn set_tenant_of(&self, person: &str, tenant: &str) {
        self.lock().sign_ins.tenants.insert(person.to_owned(), tenant.to_owned());
    }

    fn takes(&self, asked: &HashMap<String, String>) -> bool {
        let field = |name: &str| asked.get(name).map_or("", String::as_str);
        let registered = &self.lock().sign_ins.redirects;
        field("client_id") == self.config.app_id
            && field("response_type") == "code"
            && registered.iter().any(|url| url == field("redirect_uri"))
            && matches!(field("code_challenge_method"), "" | "S256")
    }
}

pub(super) async fn authorize(State(feishu): State<SimFeishu>, Query(asked): Asked) -> Response {
    if !feishu.takes(&asked) {
        let page = "<!doctype html><title>Feishu</title><h1>Request is invalid</h1><p>20029 redirect_uri</p>";
        return (StatusCode::BAD_REQUEST, Html(page)).into_response();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&asked).finish();
    let world = feishu.lock();
    let people: String = world
        .people
        .iter()
        .map(|(id, name)| {
            format!("<p><a href=\"/open-apis/authen/v1/allow?{query}&amp;user={id}\">Allow as {name}</a></p>")
        })
        .collect();
    let page = format!(
        "<!doctype html><title>Feishu</title><h1>boardhand</h1>{people}\
         <p><a href=\"/open-apis/authen/v1/allow?{query}\">Cancel</a></p>"
    );
    Html(page).into_response()
}

/// Somebody allows it, or cancels.
pub(super) async fn allow(State(feishu): State<SimFeishu>, Query(asked): Asked) -> Response {
    if !feishu.takes(&asked) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let field = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let mut back = form_urlencoded::Serializer::new(String::new());
    match asked.get("user") {
        Some(person) => {
            let code = feishu.ids.letters(24);
            back.append_pair("code", &code);
            let code_of = Code {
                person: person.clone(),
                redirect: field("redirect_uri"),
                challenge: field("code_challenge"),
                made_at: feishu.clock.now(),
                used: false,
            };
            feishu.lock().sign_ins.codes.insert(code, code_of);
        }
        None => drop(back.append_pair("error", "access_denied")),
    }
    let back = back.append_pair("state", &field("state")).finish();
    (StatusCode::FOUND, [(header::LOCATION, format!("{}?{back}", field("redirect_uri")))]).into_response()
}

/// An answer of the token endpoint that gives none, after RFC 6749 with a number beside.
fn no_token(code: i64, error: &str) -> Response {
    let body = json!({ "code": code, "error": error, "error_description": "as the documentation says" });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

pub(super) async fn token(State(feishu): State<SimFeishu>, Json(asked): Json<Value>) -> Response {
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let now = feishu.clock.now();
    let mut world = feishu.lock();
    match world.take_fault(Call::SignIn) {
        Some(Fault::Code(code)) => return no_token(code, "access_denied"),
        Some(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        None => {}
    }
    if text("client_id") != feishu.config.app_id || text("client_secret") != feishu.config.app_secret {
        return no_token(20_002, "invalid_client");
    }
    if text("grant_type") != "authorization_code" {
        return no_token(20_036, "unsupported_grant_type");
    }
    let Some(code) = world.sign_ins.codes.get_mut(text("code")) else {
        return no_token(20_003, "invalid_grant");
    };
    if code.used || now.since(code.made_at) > CODE_LIVES {
        return no_token(if code.used { 20_065 } else { 20_004 }, "invalid_grant");
    }
    code.used = true;
    let shown = URL_SAFE_NO_PAD.encode(Sha256::digest(text("code_verifier").as_bytes()));
    if code.redirect != text("redirect_uri") || (code.challenge != shown && !code.challenge.is_empty()) {
        return no_token(20_049, "invalid_grant");
    }
    let person = code.person.clone();
    let token = format!("u-{}", feishu.ids.letters(24));
    world.sign_ins.tokens.insert(token.clone(), person);
    Json(json!({ "code": 0, "access_token": token, "expires_in": 7200, "token_type": "Bearer", "scope": "auth:user.id:read" }))
        .into_response()
}

pub(super) async fn user_info(State(feishu): State<SimFeishu>, headers: HeaderMap) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let world = feishu.lock();
    let Some(person) = world.sign_ins.tokens.get(bearer) else {
        return refuse(BAD_TOKEN, "invalid access token");
    };
    let name = world.people.get(person).cloned().unwrap_or_default();
    let tenant = world.sign_ins.tenants.get(person).map_or(TENANT, String::as_str);
    let data = json!({ "name": name, "en_name": name, "open_id": person, "union_id": format!("on_{person}"),
        "tenant_key": tenant });
    Json(json!({ "code": 0, "msg": "success", "data": data })).into_response()
}

/// The app's own tenant.
pub(super) async fn tenant(State(feishu): State<SimFeishu>, headers: HeaderMap) -> Response {
    let mut world = feishu.lock();
    if let Err(response) = stumble(&mut world, Call::Tenant, &headers) {
        return *response;
    }
    let tenant = json!({ "name": "Lab", "display_id": "F123", "tenant_tag": 0, "tenant_key": TENANT });
    Json(json!({ "code": 0, "msg": "success", "data": { "tenant": tenant } })).into_response()
}
