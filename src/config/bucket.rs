//! The settings of artifacts in a bucket: where it is, and who asks, by the names that every tool of S3 knows.

use secrecy::SecretString;

use super::{Env, public_url, secret, setting};
use crate::artifact::bucket::BucketSettings;

/// The region of stores that have none.
const REGION: &str = "us-east-1";

/// Reads `s3://bucket/prefix` and the variables beside it.
pub(super) fn settings(address: &str, env: Env<'_>, problems: &mut Vec<String>) -> Option<BucketSettings> {
    let (bucket, prefix) =
        match address.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
            Some((bucket, prefix)) if !bucket.is_empty() => (bucket, prefix),
            Some(_) | None => {
                problems.push(format!(
                    "BOARDHAND_ARTIFACTS: {address:?} is neither a folder nor s3://bucket/prefix"
                ));
                return None;
            }
        };
    let endpoint =
        env("AWS_ENDPOINT_URL").and_then(|url| setting("AWS_ENDPOINT_URL", public_url(&url), problems));
    let before = problems.len();
    let key_id = secret(env, "AWS_ACCESS_KEY_ID", problems);
    let secret = secret(env, "AWS_SECRET_ACCESS_KEY", problems);
    if problems.len() == before {
        for (name, missing) in
            [("AWS_ACCESS_KEY_ID", key_id.is_none()), ("AWS_SECRET_ACCESS_KEY", secret.is_none())]
        {
            if missing {
                problems.push(format!("{name}: missing; artifacts in a bucket need it"));
            }
        }
    }
    Some(BucketSettings {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
        endpoint,
        region: env("AWS_REGION").unwrap_or_else(|| REGION.to_owned()),
        key_id: key_id?,
        secret: SecretString::from(secret?),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(address: &str, pairs: &[(&str, &str)]) -> Result<BucketSettings, String> {
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let mut problems = Vec::new();
        let settings = settings(address, &env, &mut problems);
        settings.filter(|_| problems.is_empty()).ok_or(problems.join("; "))
    }

    #[test]
    fn a_bucket_is_named_with_its_prefix_and_asked_with_a_key() {
        let keys = [("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "s3cret")];
        let bucket = read("s3://builds/ci/main/", &keys).expect("valid");
        assert_eq!(
            (bucket.bucket.as_str(), bucket.prefix.as_str(), bucket.region.as_str()),
            ("builds", "ci/main", REGION)
        );
        assert_eq!(
            (bucket.key_id.as_str(), bucket.secret.expose_secret(), bucket.endpoint),
            ("lab", "s3cret", None)
        );
        let own = [keys[0], keys[1], ("AWS_ENDPOINT_URL", "http://10.0.0.9:9000/"), ("AWS_REGION", "lab")];
        let bucket = read("s3://builds", &own).expect("valid");
        assert_eq!((bucket.prefix.as_str(), bucket.region.as_str()), ("", "lab"));
        assert_eq!(bucket.endpoint.as_deref(), Some("http://10.0.0.9:9000"));
    }

    #[test]
    fn what_is_wrong_with_a_bucket_names_its_variable_and_tells_no_secret() {
        let check = |address: &str, pairs: &[(&str, &str)], says: &[&str]| {
            let problems = read(address, pairs).expect_err("refused");
            assert!(
                says.iter().all(|says| problems.contains(says)) && !problems.contains("s3cret"),
                "{problems}"
            );
        };
        check("s3://b", &[], &["AWS_ACCESS_KEY_ID: missing", "AWS_SECRET_ACCESS_KEY: missing"]);
        check("s3://b", &[("AWS_SECRET_ACCESS_KEY", "s3cret")], &["AWS_ACCESS_KEY_ID: missing"]);
        check("s3://b", &[("AWS_SECRET_ACCESS_KEY_FILE", "/none")], &["AWS_SECRET_ACCESS_KEY_FILE: /none"]);
        check("s3://", &[], &["BOARDHAND_ARTIFACTS: \"s3://\" is neither"]);
        check("gs://b", &[], &["BOARDHAND_ARTIFACTS: \"gs://b\" is neither a folder nor s3://bucket/prefix"]);
        let keys =
            [("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "s3cret"), ("AWS_ENDPOINT_URL", "here")];
        check("s3://b", &keys, &["AWS_ENDPOINT_URL: \"here\" must begin with"]);
    }
}
