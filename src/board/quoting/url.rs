//! Addresses of artifacts: templates over the build's id, for builds that nobody registered. Pure.

use super::{Part, Placeholder, TemplateProblem, split};

/// An address in boards.yaml, such as `http://ci.lab.local/{{ build.id }}/test.bin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    /// Text, and `None` where the build's id goes.
    parts: Vec<Option<String>>,
}

/// Where an artifact is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactUrl {
    /// Its address.
    pub url: String,
    /// Whether it comes from boards.yaml, not from whoever registered the build.
    pub from_lab_file: bool,
}

impl UrlTemplate {
    /// Reads an address. It may name `build.id` and nothing else.
    pub fn parse(text: &str) -> Result<Self, TemplateProblem> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        if scheme.is_empty()
            || !scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+')
        {
            let message = "an artifact's address begins with http://, https:// or another scheme".to_owned();
            return Err(TemplateProblem { offset: 0, message });
        }
        if let Some(offset) = text.find(|c: char| c.is_control()) {
            return Err(TemplateProblem { offset, message: "an address holds no control characters".into() });
        }
        let part = |part| match part {
            Part::Text(text) => Ok(Some(text)),
            Part::Value { placeholder: Placeholder::BuildId, .. } => Ok(None),
            Part::Value { placeholder, offset, .. } => {
                let message = format!("an artifact's address may name build.id, not {placeholder}");
                Err(TemplateProblem { offset, message })
            }
        };
        Ok(UrlTemplate { parts: split(text)?.into_iter().map(part).collect::<Result<_, _>>()? })
    }

    /// The address for one build. The id is percent-encoded where it holds anything but `A-Z a-z 0-9 . _ ~ - / : @ +`,
    /// so it can neither add a query nor end the word it stands in.
    pub fn render(&self, build: &str) -> ArtifactUrl {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Some(text) => url.push_str(text),
                None => encode_into(&mut url, build),
            }
        }
        ArtifactUrl { url, from_lab_file: true }
    }
}

fn encode_into(url: &mut String, build: &str) {
    for byte in build.bytes() {
        if byte.is_ascii_alphanumeric() || b"._~-/:@+".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_takes_the_builds_id_and_nothing_else_from_it() {
        let check = |build: &str, expect: &str| {
            let template = UrlTemplate::parse("http://ci.lab/{{ build.id }}/test.bin").expect("an address");
            assert_eq!(template.render(build).url, expect);
        };
        check("build-123", "http://ci.lab/build-123/test.bin");
        check("main/42@x", "http://ci.lab/main/42@x/test.bin");
        check("a?b#c d'e;f$(g)", "http://ci.lab/a%3Fb%23c%20d%27e%3Bf%24%28g%29/test.bin");
        check("\u{e4}", "http://ci.lab/%C3%A4/test.bin");
    }

    #[test]
    fn an_address_that_names_something_else_is_refused() {
        let check = |text: &str, expect: (usize, &str)| {
            let problem = UrlTemplate::parse(text).expect_err(text);
            assert_eq!((problem.offset, problem.message.as_str()), expect, "{text}");
        };
        check("http://ci/{{ board.id }}", (10, "an artifact's address may name build.id, not board.id"));
        check("/srv/x", (0, "an artifact's address begins with http://, https:// or another scheme"));
        check("http://a\nb", (8, "an address holds no control characters"));
    }
}
