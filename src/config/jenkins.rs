//! Jenkins' settings: what its posts prove themselves with. One of the two is enough.

use secrecy::SecretString;

use super::{Env, secret};
use crate::chat::jenkins::signature::{STANDARD_PREFIX, standard_key};

/// Shortest secret or token, in bytes: what is shorter is guessed.
const SECRET_BYTES_MIN: usize = 16;

/// Jenkins' settings.
#[derive(Debug, Clone)]
pub struct JenkinsSettings {
    /// Sign posts: one, or two while rotating.
    pub secrets: Vec<SecretString>,
    /// Stand in posts of plugins that cannot sign: one, or two while rotating.
    pub tokens: Vec<SecretString>,
}

/// Reads Jenkins' variables; tells every problem.
pub(super) fn settings(env: Env<'_>, problems: &mut Vec<String>) -> Option<JenkinsSettings> {
    let mut some = |name: &str| -> Vec<SecretString> {
        let Some(text) = secret(env, name, problems) else { return vec![] };
        let each: Vec<&str> = text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
        if each.is_empty() || each.len() > 2 {
            problems.push(format!("{name}: give one, or two separated by a comma while rotating"));
        }
        for one in &each {
            if one.starts_with(STANDARD_PREFIX) && standard_key(one).is_none() {
                problems.push(format!(
                    "{name}: behind {STANDARD_PREFIX} must stand 24 to 64 bytes in base64, as from `echo {STANDARD_PREFIX}$(openssl rand -base64 32)`"
                ));
            } else if one.len() < SECRET_BYTES_MIN {
                problems.push(format!(
                    "{name}: at least {SECRET_BYTES_MIN} characters are needed, as from `openssl rand -hex 32`"
                ));
            }
        }
        each.into_iter().map(SecretString::from).collect()
    };
    let (secrets, tokens) = (some("JENKINS_WEBHOOK_SECRET"), some("JENKINS_WEBHOOK_TOKEN"));
    (!secrets.is_empty() || !tokens.is_empty()).then_some(JenkinsSettings { secrets, tokens })
}

/// A secret that is not guessed.
pub(super) fn long_enough(env: Env<'_>, name: &str, problems: &mut Vec<String>) -> Option<SecretString> {
    let one = secret(env, name, problems)?;
    if one.len() < SECRET_BYTES_MIN {
        problems.push(format!(
            "{name}: at least {SECRET_BYTES_MIN} characters are needed, as from `openssl rand -hex 32`"
        ));
    }
    Some(SecretString::from(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(secret: Option<&str>, token: Option<&str>) -> (Option<(usize, usize)>, Vec<String>) {
        let env = |name: &str| match name {
            "JENKINS_WEBHOOK_SECRET" => secret.map(str::to_owned),
            "JENKINS_WEBHOOK_TOKEN" => token.map(str::to_owned),
            _ => None,
        };
        let mut problems = Vec::new();
        let settings = settings(&env, &mut problems);
        (settings.map(|settings| (settings.secrets.len(), settings.tokens.len())), problems)
    }

    #[test]
    fn it_is_on_with_either_and_off_with_none() {
        assert_eq!(read(None, None), (None, vec![]));
        assert_eq!(read(Some("0123456789abcdef"), None), (Some((1, 0)), vec![]));
        assert_eq!(read(None, Some("0123456789abcdef, fedcba9876543210")), (Some((0, 2)), vec![]));
        assert_eq!(read(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None), (Some((1, 0)), vec![]));
    }

    #[test]
    fn what_could_be_guessed_is_refused_and_never_shown() {
        let (_, problems) = read(Some("hunter2"), Some("a,b,c"));
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems[0].starts_with("JENKINS_WEBHOOK_SECRET: at least 16 characters"), "{problems:?}");
        assert!(problems.iter().all(|problem| !problem.contains("hunter2")), "{problems:?}");
        let (_, problems) = read(Some("whsec_dG9vIHNob3J0"), None);
        assert!(problems[0].contains("24 to 64 bytes"), "{problems:?}");
    }
}
