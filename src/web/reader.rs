//! Whoever reads a page: who they are where they signed in, what language they read, and the key that only a page made for
//! them has. Pages are made here, and secured.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use minijinja::{Value, context};

use super::session::{self, Session};
use super::words::Tongue;
use super::{PAGES, go, secured};
use crate::command::{AuditAsked, Command};
use crate::door::{Door, Visitor};

/// Whoever reads a page.
pub(super) struct Reader {
    /// Who signed in.
    pub(super) visitor: Option<Visitor>,
    /// What they read.
    pub(super) tongue: Tongue,
    session: Option<Session>,
    /// What the forms of this page carry, once.
    once: Option<String>,
    /// What is read.
    path: String,
    is_admin: bool,
}

impl FromRequestParts<Arc<Door>> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, door: &Arc<Door>) -> Result<Self, Infallible> {
        let mut cookies = parts.headers.get_all(header::COOKIE).iter();
        let now = door.clock.now();
        let session = cookies.find_map(|cookie| session::of(cookie.as_bytes(), &door.links, now));
        let visitor = match &session {
            Some(session) if session.of_person => door.signed_in(&session.digest).await,
            Some(session) => door.visitor(&session.digest).await,
            None => None,
        };
        let session = session.filter(|_| visitor.is_some());
        let once = session.as_ref().map(|session| session.once(&door.links, &door.handler.ids));
        let is_admin = match &visitor {
            Some(visitor) => door.may(visitor, &Command::Audit(AuditAsked::default())).await,
            None => false,
        };
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Reader { visitor, tongue: Tongue::asked(&parts.headers), session, once, path, is_admin })
    }
}

impl Reader {
    /// What a form of theirs carries, where it was made for this sign-in.
    pub(super) fn opened(&self, door: &Door, once: &str) -> Option<String> {
        self.session.as_ref()?.opens(&door.links, once).map(str::to_owned)
    }

    /// The same for a page that is at another address, where its own holds what nobody may send twice.
    pub(super) fn standing_at(self, path: &str) -> Reader {
        Reader { path: path.to_owned(), ..self }
    }

    /// A page, as the browser may show it.
    pub(super) fn page(&self, status: StatusCode, name: &str, facts: Value) -> Response {
        let facts = context! {
            lang => self.tongue.as_str(),
            signed_in => self.visitor.is_some(),
            is_admin => self.is_admin,
            who => self.visitor.as_ref().filter(|visitor| visitor.is_person()).map(|visitor| visitor.actor.shown()),
            once => self.once.as_deref(),
            here => self.path.as_str(),
            ..facts
        };
        let text = PAGES.get_template(name).and_then(|template| template.render(facts));
        let mut response = match text {
            Ok(text) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
            Err(error) => {
                tracing::error!(page = name, %error, "a page cannot be made");
                let said = "this page cannot be made; the log says why\n";
                (StatusCode::INTERNAL_SERVER_ERROR, said).into_response()
            }
        };
        // A page says how things are now, to this person.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Cookie, Accept-Language"));
        secured(&mut response);
        // Their forms say where they come from; a page that a link's key opened tells nobody.
        if self.visitor.is_some() {
            response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        }
        response
    }

    /// A page that says one thing.
    pub(super) fn told(&self, status: StatusCode, title: &str, said: &str, back: &str) -> Response {
        let facts = context! { title => self.tongue.say(title), said => self.tongue.say(said), back };
        self.page(status, "missing.html", facts)
    }

    /// The store does not answer.
    pub(super) fn not_now(&self, error: &dyn std::fmt::Display) -> Response {
        tracing::warn!(%error, "the store does not answer a page");
        let said = "The database does not answer. Try again in a moment.";
        self.told(StatusCode::SERVICE_UNAVAILABLE, "Not now", said, &self.path)
    }

    /// Where somebody goes who must sign in first, and comes back from.
    pub(super) fn to_sign_in(&self) -> Response {
        self.to_sign_in_for(&self.path)
    }

    /// The same for another page.
    pub(super) fn to_sign_in_for(&self, path: &str) -> Response {
        let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
        go(&format!("/signin?next={next}"))
    }
}
