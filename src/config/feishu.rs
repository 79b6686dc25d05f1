//! Feishu's settings, all or none. A webhook without an Encrypt Key is refused unless that is asked for by name: its
//! requests are neither signed nor covered, so whoever learns the token may type at boards.

use secrecy::SecretString;

use super::{Env, secret};
use crate::chat::feishu::client::FEISHU_BASE_URL;

/// Feishu's settings.
#[derive(Debug, Clone)]
pub struct FeishuSettings {
    /// `cli_…`.
    pub app_id: String,
    /// The app's secret.
    pub app_secret: SecretString,
    /// How events come.
    pub events: FeishuEventSettings,
    /// `https://open.feishu.cn`, or `https://open.larksuite.com`: tenants and apps of one are unknown to the other.
    pub base_url: String,
    /// Whether people sign in to the pages with it.
    pub sign_in: bool,
}

/// How events come.
#[derive(Debug, Clone)]
pub enum FeishuEventSettings {
    /// Feishu posts them to the webhook.
    Webhook {
        /// Signs and covers requests.
        encrypt_key: Option<SecretString>,
        /// Stands in every request.
        verification_token: SecretString,
    },
    /// Over a connection that this server dials; nothing else needs to be known.
    Socket,
}

/// A group's custom bot, which is only told.
#[derive(Debug, Clone)]
pub struct FeishuHook {
    /// Its address, which is all that it takes to post there.
    pub url: SecretString,
    /// Signs posts, where the group asks for that.
    pub secret: Option<SecretString>,
}

/// Reads the variables of a custom bot.
pub(super) fn hook(env: Env<'_>, app: bool, problems: &mut Vec<String>) -> Option<FeishuHook> {
    let [url, signs] =
        ["FEISHU_WEBHOOK_URL", "FEISHU_WEBHOOK_SECRET"].map(|name| secret(env, name, problems));
    let Some(url) = url else {
        if signs.is_some() {
            problems
                .push("FEISHU_WEBHOOK_URL: missing; FEISHU_WEBHOOK_SECRET signs what is posted there".into());
        }
        return None;
    };
    if app {
        problems.push(
            "FEISHU_WEBHOOK_URL: the app (FEISHU_APP_ID) tells all that a custom bot could; unset one of them".into(),
        );
    }
    if super::public_url(&url).is_err() {
        // Never the address itself: it is a secret.
        problems.push("FEISHU_WEBHOOK_URL: it must begin with https:// (the group's settings, Bots)".into());
    }
    Some(FeishuHook { url: url.into(), secret: signs.map(SecretString::from) })
}

const CONSOLE: &str = "the developer console of the app";

/// Reads Feishu's variables; tells every problem.
pub(super) fn settings(env: Env<'_>, problems: &mut Vec<String>) -> Option<FeishuSettings> {
    let told = problems.len();
    let names = [
        "FEISHU_APP_ID",
        "FEISHU_APP_SECRET",
        "FEISHU_VERIFICATION_TOKEN",
        "FEISHU_ENCRYPT_KEY",
        "FEISHU_CONNECTION",
    ];
    let [app_id, app_secret, token, encrypt_key, connection] = names.map(|name| secret(env, name, problems));
    if problems.len() > told {
        return None;
    }
    if app_id.is_none() && app_secret.is_none() && token.is_none() && encrypt_key.is_none() {
        if truth(env, "FEISHU_SIGN_IN", problems) {
            problems.push("FEISHU_APP_ID: missing; FEISHU_SIGN_IN needs Feishu to be connected".into());
        }
        return None;
    }
    let by_socket = match connection.as_deref() {
        None | Some("webhook") => false,
        Some("socket") => true,
        Some(other) => {
            problems.push(format!("FEISHU_CONNECTION: {other:?} is neither webhook nor socket"));
            false
        }
    };
    let sign_in = truth(env, "FEISHU_SIGN_IN", problems);
    let unencrypted = truth(env, "FEISHU_ALLOW_UNENCRYPTED", problems);
    if encrypt_key.is_none() && !unencrypted && !by_socket {
        problems.push(format!(
            "FEISHU_ENCRYPT_KEY: missing; without it nobody signs what reaches the webhook ({CONSOLE}, Encryption \
             Strategy). FEISHU_ALLOW_UNENCRYPTED=true does without"
        ));
    }
    for (name, value, where_) in [
        ("FEISHU_APP_ID", &app_id, "Credentials"),
        ("FEISHU_APP_SECRET", &app_secret, "Credentials"),
        ("FEISHU_VERIFICATION_TOKEN", &token, "Encryption Strategy"),
    ] {
        // Over a socket nothing carries the token.
        if value.is_none() && !(by_socket && name == "FEISHU_VERIFICATION_TOKEN") {
            problems
                .push(format!("{name}: missing; Feishu needs it beside the others ({CONSOLE}, {where_})"));
        }
    }
    let base_url = env("FEISHU_BASE_URL").filter(|url| !url.is_empty());
    let base_url = match base_url.as_deref().map(super::public_url) {
        None => FEISHU_BASE_URL.to_owned(),
        Some(Ok(url)) => url,
        Some(Err(problem)) => {
            problems.push(format!("FEISHU_BASE_URL: {problem}"));
            String::new()
        }
    };
    if sign_in && base_url.starts_with("http://") && !super::is_here(&base_url) {
        problems.push(
            "FEISHU_BASE_URL: FEISHU_SIGN_IN needs https://, which proves that it is Feishu who says who somebody is".into(),
        );
    }
    let events = match by_socket {
        true => FeishuEventSettings::Socket,
        false => FeishuEventSettings::Webhook {
            encrypt_key: encrypt_key.map(SecretString::from),
            verification_token: SecretString::from(token?),
        },
    };
    Some(FeishuSettings {
        app_id: app_id?,
        app_secret: SecretString::from(app_secret?),
        events,
        base_url,
        sign_in,
    })
}

fn truth(env: Env<'_>, name: &str, problems: &mut Vec<String>) -> bool {
    match env(name).as_deref() {
        None | Some("" | "false" | "0" | "no") => false,
        Some("true" | "1" | "yes") => true,
        Some(other) => {
            problems.push(format!("{name}: {other:?} is neither true nor false"));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [(&str, &str); 4] = [
        ("FEISHU_APP_ID", "cli_a"),
        ("FEISHU_APP_SECRET", "s3cret"),
        ("FEISHU_VERIFICATION_TOKEN", "tok"),
        ("FEISHU_ENCRYPT_KEY", "key"),
    ];

    fn read(change: &[(&str, Option<&str>)]) -> (Option<FeishuSettings>, Vec<String>) {
        let env = |name: &str| {
            let changed = change.iter().find(|(n, _)| *n == name);
            let value =
                changed.map_or_else(|| WHOLE.iter().find(|(n, _)| *n == name).map(|(_, v)| *v), |c| c.1);
            value.map(str::to_owned)
        };
        let mut problems = Vec::new();
        (settings(&env, &mut problems), problems)
    }

    #[test]
    fn it_is_on_with_all_of_them_and_off_with_none() {
        let (on, problems) = read(&[]);
        assert_eq!((on.expect("on").base_url.as_str(), problems.len()), (FEISHU_BASE_URL, 0));
        let none: Vec<_> = WHOLE.iter().map(|(name, _)| (*name, None)).collect();
        let (off, problems) = read(&none);
        assert!(off.is_none() && problems.is_empty());
    }

    #[test]
    fn every_missing_one_is_named_and_an_unencrypted_webhook_must_be_asked_for() {
        let (_, problems) = read(&[("FEISHU_APP_SECRET", None), ("FEISHU_VERIFICATION_TOKEN", Some(" "))]);
        let named: Vec<&str> = problems.iter().map(|p| p.split(':').next().unwrap_or_default()).collect();
        assert_eq!(named, ["FEISHU_APP_SECRET", "FEISHU_VERIFICATION_TOKEN"]);
        let (_, problems) = read(&[("FEISHU_ENCRYPT_KEY", None)]);
        assert!(problems[0].starts_with("FEISHU_ENCRYPT_KEY: missing"), "{problems:?}");
        let (on, problems) =
            read(&[("FEISHU_ENCRYPT_KEY", None), ("FEISHU_ALLOW_UNENCRYPTED", Some("true"))]);
        let plain = |on: FeishuSettings| match on.events {
            FeishuEventSettings::Webhook { encrypt_key, .. } => encrypt_key.is_none(),
            FeishuEventSettings::Socket => false,
        };
        assert!(on.is_some_and(plain) && problems.is_empty());
    }

    #[test]
    fn a_socket_needs_the_app_and_nothing_else() {
        let socket = ("FEISHU_CONNECTION", Some("socket"));
        let without = [socket, ("FEISHU_ENCRYPT_KEY", None), ("FEISHU_VERIFICATION_TOKEN", None)];
        let (on, problems) = read(&without);
        assert!(matches!(on.map(|on| on.events), Some(FeishuEventSettings::Socket)), "{problems:?}");
        assert_eq!(problems, [""; 0]);
        let (_, problems) = read(&[socket, ("FEISHU_APP_SECRET", None)]);
        assert!(problems.len() == 1 && problems[0].starts_with("FEISHU_APP_SECRET: missing"), "{problems:?}");
    }

    #[test]
    fn a_custom_bot_is_on_with_its_address_and_not_beside_an_app() {
        let read = |url: Option<&str>, secret: Option<&str>, app: bool| {
            let env = |name: &str| match name {
                "FEISHU_WEBHOOK_URL" => url.map(str::to_owned),
                "FEISHU_WEBHOOK_SECRET" => secret.map(str::to_owned),
                _ => None,
            };
            let mut problems = Vec::new();
            (hook(&env, app, &mut problems).is_some(), problems)
        };
        let url = Some("https://open.feishu.cn/open-apis/bot/v2/hook/x");
        assert_eq!(read(None, None, false), (false, vec![]));
        assert_eq!(read(url, None, false), (true, vec![]));
        assert_eq!(read(url, Some("s"), false), (true, vec![]));
        assert!(read(url, None, true).1[0].starts_with("FEISHU_WEBHOOK_URL: the app"));
        assert!(read(None, Some("s"), false).1[0].starts_with("FEISHU_WEBHOOK_URL: missing"));
        let (_, problems) = read(Some("ftp://hook/secret"), None, false);
        assert!(problems.len() == 1 && !problems[0].contains("secret"), "{problems:?}");
    }

    #[test]
    fn words_that_are_none_are_told() {
        let (_, problems) = read(&[
            ("FEISHU_CONNECTION", Some("pigeon")),
            ("FEISHU_BASE_URL", Some("open.feishu.cn")),
            ("FEISHU_ALLOW_UNENCRYPTED", Some("perhaps")),
        ]);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
