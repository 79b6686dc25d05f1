//! What may stand behind the `?` of a request: only what its description names, each once, and numbers where numbers belong.
//! A name that is misspelled is refused with what comes near, since it would otherwise change nothing and nobody would see it.
//! What a value means is for the request itself to say; nothing is decided here.

use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::super::machine::Problem;
use super::routes::Opens;
use super::shapes::Kind;
use crate::board::near::nearest;
use crate::chat::plain::one_line;

/// A parameter: its name, what stands there, what it is.
pub(super) type Asked = (&'static str, Kind, &'static str);
/// Longest name that is repeated in an answer, in characters.
const SHOWN_MAX: usize = 60;

/// Refuses a query that asks for what this request has not. Whoever must show a token is asked for that first.
pub(super) async fn only(known: &[Asked], opens: Opens, request: Request, next: Next) -> Response {
    if opens == Opens::Token && !request.headers().contains_key(header::AUTHORIZATION) {
        return next.run(request).await;
    }
    match look(known, opens == Opens::Link, request.uri()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn look(known: &[Asked], with_key: bool, uri: &Uri) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let (name, kind) = match known.iter().find(|(known, ..)| *known == name) {
            Some((name, kind, _)) => (*name, *kind),
            None if with_key && name == "key" => ("key", Kind::Text),
            None => return Err(unknown(known, &name)),
        };
        if seen.contains(&name) {
            return Err(none(format!("{name} stands twice")));
        }
        seen.push(name);
        let must = match kind {
            Kind::Number if value.parse::<u64>().is_err() => "a whole number",
            Kind::Flag if !matches!(&*value, "true" | "false") => "true or false",
            _ => continue,
        };
        return Err(none(format!("{name} must be {must}")));
    }
    Ok(())
}

fn unknown(known: &[Asked], name: &str) -> Problem {
    let names = || known.iter().map(|(name, ..)| *name);
    let shown: String = one_line(name).chars().take(SHOWN_MAX).collect();
    let has = match names().collect::<Vec<_>>().join(", ") {
        names if names.is_empty() => "this request takes nothing behind the ?".to_owned(),
        names => format!("this request takes {names}"),
    };
    none(format!("there is no {shown:?}: {has}")).near(nearest(name, names()))
}

fn none(why: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "this query is none", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_request_takes_may_stand_in_its_query() {
        const KNOWN: &[Asked] =
            &[("limit", Kind::Number, ""), ("family", Kind::Text, ""), ("mine", Kind::Flag, "")];
        let look = |query: &str| {
            let uri: Uri = format!("/api/v1/runs?{query}").parse().expect("an address");
            let told = look(KNOWN, false, &uri).err().map(|problem| serde_json::json!(problem));
            told.map(|told| (told["detail"].as_str().unwrap_or_default().to_owned(), told["near"].clone()))
        };
        for good in ["", "limit=5", "family=&mine=true", "limit=5&family=soc%41"] {
            assert_eq!(look(good), None, "{good}");
        }
        let (said, near) = look("limt=5").expect("it is none");
        assert_eq!(said, "there is no \"limt\": this request takes limit, family, mine");
        assert_eq!(near, serde_json::json!(["limit"]));
        for (bad, why) in [
            ("limit=abc", "limit must be a whole number"),
            ("limit=-1", "limit must be a whole number"),
            ("limit=", "limit must be a whole number"),
            ("mine=yes", "mine must be true or false"),
            ("limit=1&limit=2", "limit stands twice"),
            ("key=x", "there is no \"key\": this request takes limit, family, mine"),
        ] {
            assert_eq!(look(bad).expect("it is none").0, why, "{bad}");
        }
        let (long, _) = look(&"x".repeat(2_000)).expect("it is none");
        assert!(long.len() < 200, "{long}");
    }
}
