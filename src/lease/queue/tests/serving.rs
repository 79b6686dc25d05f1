//! Tests of what is refused because no board could ever serve it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::board::{Board, BoardId, ConsoleConfig, ConsoleKind, Family, Inventory, PowerConfig};
use crate::lease::queue::{CouldServe, Misfit, could_serve};
use crate::run::{Priority, RunKind, RunSpec, Selector};

fn lab() -> Inventory {
    let boards =
        ["a1 socA rev1 here ddr=4g", "a2 socA rev2 here ddr=8g", "a3 socA rev2 there ddr=4g", "b1 socB"];
    let mut inventory = Inventory::default();
    for facts in boards.map(super::board) {
        let console = ConsoleConfig {
            kind: ConsoleKind::Telnet,
            baud: None,
            device: None,
            host: "localhost".into(),
            port: 23,
            username: None,
            password: None,
            login: "login: $".into(),
            prompt: "# $".into(),
            bootloader: "=> $".into(),
            newline: "\n".into(),
            char_delay: Duration::ZERO,
            line_delay: Duration::ZERO,
            quiet_kernel: true,
            settle: Duration::ZERO,
        };
        let off_for = Duration::ZERO;
        let power = PowerConfig { off_for, ..PowerConfig::none() };
        let (id, tags, owner) = (facts.id.clone(), facts.tags, None);
        let (family, revision, site) = (facts.family, facts.revision, facts.site);
        inventory.boards.insert(facts.id, Board { id, family, revision, site, tags, owner, console, power });
    }
    inventory
}

/// What is asked for in words: `"socA on=a1 rev=rev2 boards=2 ddr=8g"`.
#[track_caller]
fn check(words: &str, expect: CouldServe) {
    let (family, rest) = words.split_once(' ').unwrap_or((words, ""));
    let (mut selector, mut boards) = (Selector::default(), 1);
    for (key, value) in rest.split(' ').filter_map(|word| word.split_once('=')) {
        match key {
            "on" => selector.board = Some(BoardId::new(value)),
            "rev" => selector.revision = Some(value.into()),
            "boards" => boards = value.parse().expect("a number"),
            key => drop(selector.tags.insert(key.into(), value.into())),
        }
    }
    let spec = RunSpec {
        kind: RunKind::Test,
        family: Family::new(family),
        build: "build-1".into(),
        suite: "smoke".into(),
        selector,
        priority: Priority::Normal,
        boards,
        on_own_board: false,
        timeout: None,
        params: BTreeMap::new(),
    };
    assert_eq!(could_serve(&spec, &lab()), expect, "{words}");
}

fn near(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn no_tag(key: &str, value: &str, names: &[&str]) -> CouldServe {
    CouldServe::No(Misfit::Tag { key: key.into(), value: value.into(), near: near(names) })
}

#[test]
fn what_a_board_meets_is_served() {
    for words in ["socA", "socA on=a1", "socA rev=rev2 ddr=8g", "socA boards=2", "socA on=a1 rev=rev1 ddr=4g"]
    {
        check(words, CouldServe::Yes);
    }
}

#[test]
fn what_no_board_meets_is_refused_with_what_comes_near() {
    check("soca", CouldServe::No(Misfit::Family { near: near(&["socA", "socB"]) }));
    check("xyz", CouldServe::No(Misfit::Family { near: vec![] }));
    check("socA on=a9", CouldServe::No(Misfit::Board { near: near(&[]) }));
    check("socA on=a11", CouldServe::No(Misfit::Board { near: near(&["a1"]) }));
    check("socA on=b1", CouldServe::No(Misfit::OtherFamily { family: Family::new("socB") }));
    check("socA rev=rev3", CouldServe::No(Misfit::Revision { near: near(&["rev1", "rev2"]) }));
    check("socA on=a1 rev=rev2", CouldServe::No(Misfit::Revision { near: near(&["rev1"]) }));
    check("socA ddr=8gb", no_tag("ddr", "8gb", &["8g"]));
    check("socA dddr=8g", no_tag("dddr", "8g", &["ddr"]));
    check("socB ddr=8g", no_tag("ddr", "8g", &[]));
    check("socA rev=rev1 ddr=8g", CouldServe::No(Misfit::Together));
    check("socA boards=3", CouldServe::No(Misfit::TooFew { wanted: 3, most: 2 }));
    check("socA on=a1 boards=2", CouldServe::No(Misfit::TooFew { wanted: 2, most: 1 }));
}

#[test]
fn a_name_of_any_length_is_compared_within_bounds() {
    let long = "ä".repeat(100_000);
    check(&long, CouldServe::No(Misfit::Family { near: vec![] }));
}
