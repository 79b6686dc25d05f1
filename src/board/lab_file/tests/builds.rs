//! Builds: hosts and rules as they are read, and what is told of those that cannot be.

use super::mistakes::check;
use super::{BOARD, read};
use crate::board::inventory::Revisions;
use crate::run::Priority;

/// A lab with this section.
fn with(section: &str) -> String {
    format!("{BOARD}{section}\n")
}

#[test]
fn a_rule_is_read_with_what_it_leaves_out() {
    let text = with(
        "families: {f: {channel: slack:C1, builds: registered}}\non_build:
  a: {family: f}
  b: {family: f, branch: 'release/*', suite: smoke, revisions: [rev1, rev2], priority: high, channel: feishu:oc_1}
  c: {family: f, revisions: all, params: {n: 5}}",
    );
    let lab = read(&text).inventory.expect("a lab without mistakes");
    let rules = &lab.builds.rules;
    assert_eq!((rules["a"].priority, &rules["a"].revisions), (Priority::Low, &Revisions::Any));
    assert_eq!(rules["b"].revisions, Revisions::These(vec!["rev1".into(), "rev2".into()]));
    assert_eq!((rules["b"].channel.as_deref(), rules["b"].priority), (Some("feishu:oc_1"), Priority::High));
    assert_eq!((&rules["c"].revisions, rules["c"].params["n"].as_str()), (&Revisions::All, "5"));
    let family = lab.family("f").expect("a family").1;
    assert_eq!((family.channel.as_deref(), family.registered_only), (Some("slack:C1"), true));
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    check(
        &with("artifact_hosts: ['*.com']"),
        "2:18: error: \"*.com\" is no host; write ci.example.com, ci.example.com:8443, *.example.com, or http://… for plain HTTP",
    );
    check(&with("on_build: {a: {family: g}}"), "2:24: error: unknown family \"g\"; known are f");
    check(&with("on_build: {a: {branch: main}}"), "2:15: error: missing key \"family\" in a rule");
    check(
        &with("on_build: {a: {family: f, suite: smok}}"),
        "2:34: error: unknown suite \"smok\"; did you mean \"smoke\"?",
    );
    check(&with("on_build: {a: {family: f, revisions: []}}"), "2:38: error: revisions names none");
    check(
        &with("on_build: {a: {family: f, revision: rev1}}"),
        "2:27: error: unknown key \"revision\" in a rule; did you mean \"revisions\"?",
    );
    let many: Vec<String> = (0..=200).map(|n| format!("  r{n}: {{family: f}}")).collect();
    let said = read(&with(&format!("on_build:\n{}", many.join("\n")))).problems;
    assert_eq!(said.len(), 1, "{said:?}");
}
