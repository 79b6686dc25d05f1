//! Addresses of artifacts: templates over the build's id, for builds that nobody registered. Pure.

use super::{Part, Placeholder, TemplateProblem, split};

/// An address in boards.yaml, such as `http://ci.lab.local/{{ build.id }}/test.bin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    parts: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The build's id goes here.
    Build,
    /// The address of boardhand's own artifacts goes here.
    Served,
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
    /// Reads an address. It may name `build.id`, may begin with `artifacts.url`, and names nothing else.
    pub fn parse(text: &str) -> Result<Self, TemplateProblem> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let is_scheme = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+';
        let has_scheme = !scheme.is_empty() && scheme.bytes().all(is_scheme);
        if let Some(offset) = text.find(|c: char| c.is_control()) {
            return Err(TemplateProblem { offset, message: "an address holds no control characters".into() });
        }
        let part = |part| match part {
            Part::Text(text) => Ok(Piece::Text(text)),
            Part::Value { placeholder: Placeholder::BuildId, .. } => Ok(Piece::Build),
            Part::Value { placeholder: Placeholder::ServedUrl, offset: 0, .. } => Ok(Piece::Served),
            Part::Value { placeholder: Placeholder::ServedUrl, offset, .. } => {
                let message = "artifacts.url stands at the beginning of an address".to_owned();
                Err(TemplateProblem { offset, message })
            }
            Part::Value { placeholder, offset, .. } => {
                let message = format!("an artifact's address may name build.id, not {placeholder}");
                Err(TemplateProblem { offset, message })
            }
        };
        let parts: Vec<Piece> = split(text)?.into_iter().map(part).collect::<Result<_, _>>()?;
        if !has_scheme && parts.first() != Some(&Piece::Served) {
            let message = "an artifact's address begins with http://, https:// or another scheme".to_owned();
            return Err(TemplateProblem { offset: 0, message });
        }
        Ok(UrlTemplate { parts })
    }

    /// The address for one build. The id is percent-encoded where it holds anything but `A-Z a-z 0-9 . _ ~ - / : @ +`,
    /// so it can neither add a query nor end the word it stands in. `served` is where boardhand's own artifacts are.
    pub fn render(&self, build: &str, served: &str) -> ArtifactUrl {
        let mut url = String::new();
        for part in &self.parts {
            match part {
                Piece::Text(text) => url.push_str(text),
                Piece::Build => encode_into(&mut url, build),
                Piece::Served => url.push_str(served),
            }
        }
        ArtifactUrl { url, from_lab_file: true }
    }

    /// Its texts, without what stands between them.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Build | Piece::Served => None,
        })
    }

    /// Whether it leads to boardhand's own artifacts.
    pub fn is_served(&self) -> bool {
        self.parts.first() == Some(&Piece::Served)
    }
}

/// The host of an address, without its port.
pub(super) fn host_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        Some(_) | None => host,
    }
}

/// What stands behind the host and the port of an address.
pub(super) fn path_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    rest.find('/').map_or("", |at| &rest[at..])
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
            assert_eq!(template.render(build, "").url, expect);
        };
        check("build-123", "http://ci.lab/build-123/test.bin");
        check("main/42@x", "http://ci.lab/main/42@x/test.bin");
        check("a?b#c d'e;f$(g)", "http://ci.lab/a%3Fb%23c%20d%27e%3Bf%24%28g%29/test.bin");
        check("\u{e4}", "http://ci.lab/%C3%A4/test.bin");
    }

    #[test]
    fn an_address_may_begin_with_boardhands_own() {
        let template = UrlTemplate::parse("{{ artifacts.url }}/{{ build.id }}/t").expect("an address");
        assert!(template.is_served() && !UrlTemplate::parse("http://ci/t").expect("an address").is_served());
        let url = template.render("b 1", "http://lab:8080/artifacts/7-1-ab").url;
        assert_eq!(url, "http://lab:8080/artifacts/7-1-ab/b%201/t");
    }

    #[test]
    fn an_address_comes_apart_into_host_and_path() {
        let check =
            |url: &str, host: &str, path: &str| assert_eq!((host_of(url), path_of(url)), (host, path));
        check("http://10.0.0.1:8080/artifacts/7", "10.0.0.1", "/artifacts/7");
        check("https://lab.example.com/x/artifacts/7", "lab.example.com", "/x/artifacts/7");
        check("http://[fe80::1]:80/a", "[fe80::1]", "/a");
        check("http://[fe80::1]/a", "[fe80::1]", "/a");
        check("http://lab", "lab", "");
    }

    #[test]
    fn an_address_that_names_something_else_is_refused() {
        let check = |text: &str, expect: (usize, &str)| {
            let problem = UrlTemplate::parse(text).expect_err(text);
            assert_eq!((problem.offset, problem.message.as_str()), expect, "{text}");
        };
        check("http://ci/{{ board.id }}", (10, "an artifact's address may name build.id, not board.id"));
        check("http://a/{{ artifacts.url }}", (9, "artifacts.url stands at the beginning of an address"));
        check("/srv/x", (0, "an artifact's address begins with http://, https:// or another scheme"));
        check("http://a\nb", (8, "an address holds no control characters"));
    }
}
