//! The description of the API, made of the table of its requests: OpenAPI 3.1 for programs, and one page for people that
//! needs nothing else from anywhere.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::Json;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::routes::{self, Gives, Opens, Route};
use super::shapes::{Kind, PROBLEM, Shape};

/// The description.
pub(super) async fn document() -> Response {
    Json(described(&routes::table())).into_response()
}

/// The same as a page.
pub(super) async fn page() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, Html(shown(&routes::table()))).into_response()
}

fn described(table: &[Route]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    for route in table {
        route.body.into_iter().for_each(|shape| gather(&mut schemas, shape, Way::In));
        let given = route.answers.iter().filter_map(|(_, _, gives)| gives.shape());
        given.chain([&PROBLEM]).for_each(|shape| gather(&mut schemas, shape, Way::Out));
        paths
            .entry(route.path.replace("{*", "{"))
            .or_default()
            .insert(route.method.to_owned(), operation(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "boardhand",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs, boards and leases of a lab of SoC boards.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "link": { "type": "apiKey", "in": "query", "name": "key" },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let path = placeholders(route.path).map(|name| parameter(name, "path", Kind::Text, ""));
    let query = route.query.iter().map(|(name, kind, says)| parameter(name, "query", *kind, says));
    let once = "the same key from the same token at the same address is answered as it was, for a day";
    let header = route.once.then(|| parameter("Idempotency-Key", "header", Kind::Text, once));
    let parameters: Vec<Value> = path.chain(query).chain(header).collect();
    let mut responses = Map::new();
    for (status, says, gives) in &route.answers {
        responses.insert(status.to_string(), answer(says, *gives));
    }
    let is_json =
        |gives: &Gives| matches!(gives, Gives::One(_) | Gives::List(_) | Gives::Media("application/json"));
    if route.method == "get"
        && route.answers.iter().any(|(status, _, gives)| *status == 200 && is_json(gives))
    {
        responses
            .insert("304".to_owned(), json!({ "description": "as it was: If-None-Match names its ETag" }));
    }
    for (status, says) in refusals(route) {
        responses.entry(status).or_insert_with(|| answer(says, Gives::One(&PROBLEM)));
    }
    let security = match route.opens {
        Opens::Token => json!([{ "token": [] }]),
        Opens::Link => json!([{ "token": [] }, { "link": [] }]),
        Opens::Nothing => json!([]),
    };
    let mut operation = json!({
        "summary": route.says,
        "operationId": name_of(route),
        "parameters": parameters,
        "responses": responses,
        "security": security,
    });
    if let Some(shape) = route.body {
        operation["requestBody"] = json!({
            "required": !shape.needed.is_empty(),
            "content": { "application/json": { "schema": reference(shape) } },
        });
    }
    operation
}

/// What a request of this kind can be refused with, whatever it asks for.
fn refusals(route: &Route) -> impl Iterator<Item = (&'static str, &'static str)> {
    let asks = route.opens != Opens::Nothing;
    let all = [
        (true, "400", "the query is none, and why"),
        (asks, "401", "the token is missing or opens nothing"),
        (asks, "403", "the token may not"),
        (placeholders(route.path).next().is_some(), "404", "there is no such thing, and what comes near"),
        (route.once, "409", "something else was asked for under this key"),
        (route.once || route.body.is_some(), "422", "it cannot be carried out, and why"),
        (asks, "429", "these are too many requests; Retry-After says when to ask again"),
        (asks, "503", "not now, try again"),
    ];
    all.into_iter().filter(|(can, ..)| *can).map(|(_, status, says)| (status, says))
}

/// `getApiV1RunsRun`: unique, as long as path and method are.
fn name_of(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
    route.method.to_owned() + &words.collect::<String>()
}

fn placeholders(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/')
        .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.trim_start_matches('*')))
}

fn parameter(name: &str, place: &str, kind: Kind, says: &str) -> Value {
    let mut parameter =
        json!({ "name": name, "in": place, "required": place == "path", "schema": schema(kind, false) });
    if !says.is_empty() {
        parameter["description"] = says.into();
    }
    parameter
}

fn answer(says: &str, gives: Gives) -> Value {
    let (media, schema) = match gives {
        Gives::One(shape) if shape.name == PROBLEM.name => ("application/problem+json", reference(shape)),
        Gives::One(shape) => ("application/json", reference(shape)),
        Gives::List(shape) => {
            let next = json!({ "type": ["string", "null"], "description": "the address of what follows" });
            let items = json!({ "type": "array", "items": reference(shape) });
            let list = json!({ "type": "object", "properties": { "items": items, "next": next } });
            ("application/json", list)
        }
        Gives::Media(media) => (media, json!({})),
    };
    json!({ "description": says, "content": { media: { "schema": schema } } })
}

fn reference(shape: &Shape) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", shape.name) })
}

/// Whether a shape is sent to the server or comes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// A shape and those within it. What is wanted has what it needs and nothing unknown; what is given has all of its keys.
/// Null is nothing in both.
fn gather(schemas: &mut BTreeMap<&'static str, Value>, shape: &'static Shape, way: Way) {
    if schemas.contains_key(shape.name) {
        return;
    }
    let properties: Map<String, Value> = shape
        .fields
        .iter()
        .map(|field| {
            let nullable = !shape.needed.contains(&field.0);
            let mut schema = match way {
                Way::In => wanted(field.1, nullable),
                Way::Out => schema(field.1, nullable),
            };
            schema["description"] = field.2.into();
            (field.0.to_owned(), schema)
        })
        .collect();
    let mut described = json!({ "type": "object", "properties": properties, "required": shape.needed });
    if way == Way::In {
        described["additionalProperties"] = false.into();
    }
    schemas.insert(shape.name, described);
    for field in shape.fields {
        if let Kind::Of(inner) | Kind::Many(inner) = field.1 {
            gather(schemas, inner, way);
        }
    }
}

/// A value that is sent here: what is needed is not empty, and no number is negative.
fn wanted(kind: Kind, nullable: bool) -> Value {
    let mut wanted = schema(kind, nullable);
    match kind {
        Kind::Text if !nullable => wanted["minLength"] = 1.into(),
        Kind::Number => {
            wanted["type"] = if nullable { json!(["integer", "null"]) } else { json!("integer") };
            wanted["minimum"] = 0.into();
        }
        _ => {}
    }
    wanted
}

fn schema(kind: Kind, nullable: bool) -> Value {
    let plain = |word: &str| if nullable { json!([word, "null"]) } else { json!(word) };
    match kind {
        Kind::Text => json!({ "type": plain("string") }),
        // A place far behind is a text.
        Kind::Number => {
            json!({ "type": if nullable { json!(["integer", "string", "null"]) } else { json!("integer") } })
        }
        Kind::Flag => json!({ "type": plain("boolean") }),
        Kind::Time => json!({ "type": plain("string"), "format": "date-time" }),
        Kind::Id => json!({ "type": plain("string"), "format": "uuid" }),
        Kind::Texts => json!({ "type": plain("array"), "items": { "type": "string" } }),
        Kind::Shares => json!({ "type": plain("array"), "items": { "type": ["string", "integer"] } }),
        Kind::Map => json!({ "type": plain("object") }),
        Kind::Words(words) => {
            let words: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            let null = nullable.then_some(Value::Null);
            json!({ "enum": words.into_iter().chain(null).collect::<Vec<_>>() })
        }
        Kind::Of(shape) => json!({ "anyOf": [reference(shape), { "type": "null" }] }),
        Kind::Many(shape) => json!({ "type": "array", "items": reference(shape) }),
    }
}

impl Gives {
    fn shape(self) -> Option<&'static Shape> {
        match self {
            Gives::One(shape) | Gives::List(shape) => Some(shape),
            Gives::Media(_) => None,
        }
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1d1d1f;background:#fff}h2{margin-top:2.2rem;font-size:1.05rem}code{font-family:ui-monospace,monospace}\
b{display:inline-block;min-width:4.2rem;color:#0a5}table{border-collapse:collapse;width:100%}\
td{border-top:1px solid #ddd;padding:.25rem .6rem .25rem 0;vertical-align:top}td:first-child{white-space:nowrap}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161618}td{border-color:#333}b{color:#5d9}a{color:#8bf}}";

fn shown(table: &[Route]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>boardhand: the API</title><style>{STYLE}</style><h1>boardhand: the API</h1><p>Each request has the \
         header <code>Authorization: Bearer …</code>, where nothing else is said. For programs: \
         <a href=/api/v1/openapi.json>openapi.json</a>."
    );
    for route in table {
        let _ = write!(
            page,
            "<h2><b>{}</b> <code>{}</code></h2><p>{}{}<table>",
            route.method.to_ascii_uppercase(),
            escaped(route.path),
            escaped(route.says),
            match route.opens {
                Opens::Token => ".",
                Opens::Link => ". A link's <code>key</code> opens it too.",
                Opens::Nothing => ". It needs no token.",
            },
        );
        for (name, _, says) in &route.query {
            let _ = write!(page, "<tr><td><code>?{name}=</code><td>{}", escaped(says));
        }
        for field in route.body.into_iter().flat_map(|shape| shape.fields) {
            let _ = write!(page, "<tr><td><code>\"{}\"</code><td>{}", field.0, escaped(field.2));
        }
        for (status, says, gives) in &route.answers {
            let keys = gives.shape().filter(|shape| shape.name != PROBLEM.name);
            let keys =
                keys.map(|shape| shape.fields.iter().map(|field| field.0).collect::<Vec<_>>().join(", "));
            let keys = keys.map(|keys| format!(": <code>{keys}</code>")).unwrap_or_default();
            let _ = write!(page, "<tr><td>{status}<td>{}{keys}", escaped(says));
        }
        page.push_str("</table>");
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
