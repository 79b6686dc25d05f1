//! Templates of a mapping: text in which `{/build/number}` stands for the value at that place (a JSON pointer, RFC 6901)
//! of what was posted. Pure; a value is put in as it is, and checked as part of the document that it becomes.

use serde_json::Value;

/// Longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 500;
/// Most places in one.
const PLACES_MAX: usize = 10;
/// Longest value that is put in, in bytes.
const VALUE_BYTES_MAX: usize = 2_000;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The pointer, from the body's root or from the entry of a list.
    at: String,
    /// From where.
    from: From,
    /// Whether it may be missing; what needs it is left out then.
    optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Body,
    Item,
    Key,
}

/// Text with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Pointer),
}

/// Why a text is no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// Too much of it.
    #[error("it may have {TEMPLATE_BYTES_MAX} bytes and {PLACES_MAX} places")]
    TooLong,
    /// A brace without its other one.
    #[error("a {{ has no }}, or a }} no {{")]
    Brace,
    /// No pointer.
    #[error(
        "a place is a JSON pointer such as {{/build/number}}, or {{/build/number?}} where it may be missing"
    )]
    Pointer,
    /// An entry where there is none.
    #[error("{{item}} and {{key}} stand only in artifacts with \"each\"")]
    NoItem,
}

/// A value that is not there as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// Nothing is.
    #[error("there is nothing at {0}")]
    Nothing(String),
    /// Something else is.
    #[error("what stands at {0} is no text, number or truth value of at most {VALUE_BYTES_MAX} bytes")]
    NoText(String),
    /// Something else is.
    #[error("what stands at {0} is neither a list nor an object")]
    NoList(String),
}

impl Pointer {
    /// Reads `/build/number`, and `/build/number?` for what may be missing.
    pub fn parse(text: &str) -> Result<Pointer, TemplateProblem> {
        let (text, optional) = match text.strip_suffix('?') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (from, at) = match text.strip_prefix("item") {
            Some(at) => (From::Item, at),
            None if text == "key" => (From::Key, ""),
            None => (From::Body, text),
        };
        let good = match from {
            From::Body => is_pointer(at),
            From::Item => at.is_empty() || is_pointer(at),
            From::Key => true,
        };
        good.then(|| Pointer { at: at.to_owned(), from, optional }).ok_or(TemplateProblem::Pointer)
    }

    /// Whether it stands in the body, and not in an entry of a list.
    pub fn is_of_body(&self) -> bool {
        self.from == From::Body
    }

    fn shown(&self) -> String {
        match self.from {
            From::Body => self.at.clone(),
            From::Item => format!("item{}", self.at),
            From::Key => "key".to_owned(),
        }
    }

    fn value(&self, body: &Value, entry: Option<(&str, &Value)>) -> Result<Option<String>, Missing> {
        let value = match (self.from, entry) {
            (From::Body, _) => body.pointer(&self.at),
            (From::Item, Some((_, item))) => item.pointer(&self.at),
            (From::Key, Some((key, _))) => return Ok(Some(key.to_owned())),
            (From::Item | From::Key, None) => None,
        };
        let is_empty =
            |value: &&Value| value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        match value.filter(|value| !is_empty(value)) {
            None if self.optional => Ok(None),
            None => Err(Missing::Nothing(self.shown())),
            Some(value) => match text(value).filter(|text| text.len() <= VALUE_BYTES_MAX) {
                Some(text) => Ok(Some(text)),
                None => Err(Missing::NoText(self.shown())),
            },
        }
    }

    /// The entries of the list or object that stands there, each with its name or number.
    pub fn entries<'b>(&self, body: &'b Value) -> Result<Option<Vec<(String, &'b Value)>>, Missing> {
        match body.pointer(&self.at).filter(|value| !value.is_null()) {
            None if self.optional => Ok(None),
            None => Err(Missing::Nothing(self.shown())),
            Some(Value::Array(items)) => {
                Ok(Some(items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect()))
            }
            Some(Value::Object(items)) => {
                Ok(Some(items.iter().map(|(key, item)| (key.clone(), item)).collect()))
            }
            Some(_) => Err(Missing::NoList(self.shown())),
        }
    }
}

/// A pointer's tokens begin with `/`; `~` stands only before 0 and 1.
pub(super) fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && escapes && !text.chars().any(|c| c.is_control() || c == '{')
}

/// A value that can stand in a text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Template {
    /// Reads a template; `in_list` where an entry of a list may be named.
    pub fn parse(text: &str, in_list: bool) -> Result<Template, TemplateProblem> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateProblem::TooLong);
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let inner = rest[at..].strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (inner, after) = inner.ok_or(TemplateProblem::Brace)?;
            let pointer = Pointer::parse(inner)?;
            if !in_list && !pointer.is_of_body() {
                return Err(TemplateProblem::NoItem);
            }
            parts.push(Part::Text(rest[..at].to_owned()));
            parts.push(Part::Value(pointer));
            rest = after;
        }
        if parts.len() / 2 > PLACES_MAX {
            return Err(TemplateProblem::TooLong);
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template(parts))
    }

    /// The text, with values in their places; nothing where one is missing that may be.
    pub fn fill(&self, body: &Value, entry: Option<(&str, &Value)>) -> Result<Option<String>, Missing> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Value(pointer) => match pointer.value(body, entry)? {
                    Some(value) => filled.push_str(&value),
                    None => return Ok(None),
                },
            }
        }
        Ok(Some(filled))
    }
}
