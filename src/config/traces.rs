//! Where traces go: OpenTelemetry's own variables, so that a collector is named here as everywhere. Off without one.

use secrecy::SecretString;

use super::{Env, public_url, secret, setting};

/// What the service is called where nobody says.
const SERVICE: &str = "boardhand";

/// Where traces go.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The whole address.
    pub url: String,
    /// Headers of each request; they hold what opens the collector.
    pub headers: Vec<(String, SecretString)>,
    /// What this server is called there.
    pub service: String,
}

/// Reads the variables of traces; tells every problem.
pub(super) fn settings(env: Env<'_>, problems: &mut Vec<String>) -> Option<TraceSettings> {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let headers = headers(env, problems);
    let endpoint = setting(ENDPOINT, public_url(&env(ENDPOINT)?), problems)?;
    let service = env("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE.to_owned());
    Some(TraceSettings { url: format!("{endpoint}/v1/traces"), headers, service })
}

/// `name=value,name=value`, each value percent-encoded as the specification has it.
fn headers(env: Env<'_>, problems: &mut Vec<String>) -> Vec<(String, SecretString)> {
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let Some(text) = secret(env, HEADERS, problems) else { return vec![] };
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let read = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let name = name.trim();
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
        let printable = value.bytes().all(|b| (b' '..=b'~').contains(&b));
        (!name.is_empty() && name.bytes().all(is_name) && printable)
            .then(|| (name.to_ascii_lowercase(), SecretString::from(value.into_owned())))
    };
    let read: Option<Vec<_>> = pairs.map(read).collect();
    read.unwrap_or_else(|| {
        problems.push(format!("{HEADERS}: write it as name=value,name=value, each value percent-encoded"));
        vec![]
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(endpoint: Option<&str>, headers: Option<&str>) -> (Option<TraceSettings>, Vec<String>) {
        let env = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => endpoint.map(str::to_owned),
            "OTEL_EXPORTER_OTLP_HEADERS" => headers.map(str::to_owned),
            _ => None,
        };
        let mut problems = Vec::new();
        (settings(&env, &mut problems), problems)
    }

    #[test]
    fn a_collector_is_named_as_everywhere() {
        assert!(read(None, None).0.is_none());
        let (settings, problems) =
            read(Some("http://127.0.0.1:4318/"), Some("Authorization=Bearer%20abc,x-team=lab"));
        assert_eq!(problems, [""; 0]);
        let settings = settings.expect("a collector");
        assert_eq!(
            (settings.url.as_str(), settings.service.as_str()),
            ("http://127.0.0.1:4318/v1/traces", SERVICE)
        );
        let headers: Vec<(&str, &str)> =
            settings.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(headers, [("authorization", "Bearer abc"), ("x-team", "lab")]);
    }

    #[test]
    fn what_is_wrong_is_told_and_no_header_is_shown() {
        let (settings, problems) = read(Some("collector:4318"), Some("key=secret%0a"));
        assert!(settings.is_none() && problems.len() == 2, "{problems:?}");
        assert!(!problems.iter().any(|problem| problem.contains("secret")), "{problems:?}");
    }
}
