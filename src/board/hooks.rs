//! Who outside is told what: webhooks of the lab file, and the callbacks that a run's request may name. Pure; nothing is
//! sent here, and where a name leads is not looked at.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::hosts::{Address, AddressProblem, HostRule, lists};

/// What can be told of, in the order of a manual.
pub const KINDS: [&str; 13] = [
    "run.accepted",
    "run.started",
    "run.stage",
    "run.asked",
    "run.attempt-ended",
    "run.retried",
    "run.finished",
    "lease.taken",
    "lease.released",
    "lease.lapsed",
    "board.quarantined",
    "board.changed",
    "build.registered",
];

/// What is told to whom.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// `webhooks:`, by name.
    pub webhooks: BTreeMap<String, Webhook>,
    /// `callbacks:`; none where a request must not name any.
    pub callbacks: Option<Callbacks>,
    /// `statuses:`, by name.
    pub statuses: BTreeMap<String, StatusSink>,
}

/// A forge that is told how the runs of its commits' builds ended.
#[derive(Debug, Clone)]
pub struct StatusSink {
    /// Which kind.
    pub forge: Forge,
    /// Where its API is.
    pub url: String,
    /// The repository there.
    pub project: String,
    /// Who tells it; Gerrit's only.
    pub user: String,
    /// What proves that.
    pub token: SecretString,
    /// The label that is voted on; Gerrit's only.
    pub label: String,
    /// Only of these families; empty for any.
    pub families: Vec<String>,
    /// Whether it may be at an address that only the lab's own network knows.
    pub private: bool,
}

/// A kind of forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    /// GitHub, and what speaks like it.
    Github,
    /// GitLab.
    Gitlab,
    /// Gerrit.
    Gerrit,
}

impl Forge {
    /// Every kind, by its word.
    pub const ALL: [(&'static str, Forge); 3] =
        [("github", Forge::Github), ("gitlab", Forge::Gitlab), ("gerrit", Forge::Gerrit)];
}

/// Somebody who is told of everything of some kinds.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Where; whoever knows it may post there.
    pub url: SecretString,
    /// What it is signed with; two while rotating.
    pub secrets: Vec<SecretString>,
    /// Of what: a kind, `run.*`, or `*`.
    pub events: Vec<String>,
    /// Only what is about one of these families; empty for any.
    pub families: Vec<String>,
    /// Whether it may be at an address that only the lab's own network knows.
    pub private: bool,
}

/// Where callbacks may go.
#[derive(Debug, Clone)]
pub struct Callbacks {
    /// To which hosts.
    pub hosts: Vec<HostRule>,
    /// What they are signed with; two while rotating.
    pub secrets: Vec<SecretString>,
    /// Whether those may be at addresses that only the lab's own network knows.
    pub private: bool,
}

/// Why a callback is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoCallback {
    /// The lab file has no callbacks.
    Off,
    /// It is no address.
    Address(AddressProblem),
    /// Its host is not listed.
    Host(String),
}

impl Hooks {
    /// Whether a callback may go there.
    pub fn may_call_back(&self, url: &str) -> Result<&Callbacks, NoCallback> {
        let callbacks = self.callbacks.as_ref().ok_or(NoCallback::Off)?;
        let address = Address::parse(url).map_err(NoCallback::Address)?;
        match lists(&callbacks.hosts, &address) {
            true => Ok(callbacks),
            false => Err(NoCallback::Host(address.to_string())),
        }
    }

    /// What nobody may read.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let of_webhooks =
            self.webhooks.values().flat_map(|webhook| std::iter::once(&webhook.url).chain(&webhook.secrets));
        let of_callbacks = self.callbacks.iter().flat_map(|callbacks| &callbacks.secrets);
        of_webhooks.chain(of_callbacks).chain(self.statuses.values().map(|sink| &sink.token))
    }
}

impl Webhook {
    /// Whether it is told of that.
    pub fn wants(&self, kind: &str, family: Option<&str>) -> bool {
        let of_kind = |wanted: &String| matches(wanted, kind);
        self.events.iter().any(of_kind) && is_among(&self.families, family)
    }
}

/// Whether a family is one of these; none are all.
pub fn is_among(families: &[String], family: Option<&str>) -> bool {
    let is_it = |wanted: &String| family.is_some_and(|family| family.eq_ignore_ascii_case(wanted));
    families.is_empty() || families.iter().any(is_it)
}

/// Whether a kind is meant by `run.finished`, `run.*` or `*`.
pub fn matches(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(front) => kind.starts_with(front),
        None => wanted == kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(events: &[&str], families: &[&str]) -> Webhook {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let (events, families) = (owned(events), owned(families));
        Webhook { url: "https://ci/".to_owned().into(), secrets: vec![], events, families, private: false }
    }

    #[test]
    fn a_webhook_is_told_of_the_kinds_and_families_that_it_names() {
        assert!(webhook(&["run.finished"], &[]).wants("run.finished", Some("socA")));
        assert!(!webhook(&["run.finished"], &[]).wants("run.started", Some("socA")));
        assert!(webhook(&["run.*", "board.quarantined"], &[]).wants("run.started", None));
        assert!(!webhook(&["run.*"], &[]).wants("lease.taken", None));
        assert!(webhook(&["*"], &["SOCA"]).wants("lease.taken", Some("socA")));
        assert!(!webhook(&["*"], &["socB"]).wants("lease.taken", Some("socA")));
        assert!(!webhook(&["*"], &["socB"]).wants("build.registered", None), "nobody knows whose it is");
    }

    #[test]
    fn a_callback_goes_to_listed_hosts_only() {
        let hosts = vec![HostRule::parse("ci.example.com").expect("a host")];
        let callbacks = Callbacks { hosts, secrets: vec![], private: false };
        let hooks = Hooks { callbacks: Some(callbacks), ..Hooks::default() };
        assert!(hooks.may_call_back("https://ci.example.com/webhook-step/1").is_ok());
        let refused = |url: &str| hooks.may_call_back(url).err();
        assert_eq!(refused("https://evil.example.com/"), Some(NoCallback::Host("evil.example.com".into())));
        assert_eq!(
            refused("http://ci.example.com/"),
            Some(NoCallback::Host("http://ci.example.com".into())),
            "not in the clear"
        );
        assert_eq!(refused("ftp://ci"), Some(NoCallback::Address(AddressProblem::Scheme)));
        assert_eq!(Hooks::default().may_call_back("https://ci/").err(), Some(NoCallback::Off));
    }
}
