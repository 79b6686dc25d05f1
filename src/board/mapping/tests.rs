//! Tests of mappings, as a lab file has them.

use serde_json::json;

use super::*;
use crate::board::lab_file;

fn mappings(text: &str) -> BTreeMap<String, Mapping> {
    let text = format!(
        "boards: [{{board_id: a, soc_family: socA, board_ip: 10.0.0.1, lab_location: L}}]\nmapping:\n  {text}\n"
    );
    let read = lab_file::parse("boards.yaml", &text, &|_| None);
    let inventory = read.inventory.unwrap_or_else(|| panic!("{}", lab_file::render(&read.problems)));
    inventory.builds.mappings
}

#[track_caller]
fn reads(text: &str, body: Value, expect: Value) {
    let body = body.as_object().expect("an object").clone();
    match read(&mappings(text), &body).unwrap_or_else(|problem| panic!("{problem}")) {
        Reading::Document(_, document) => assert_eq!(Value::Object(document), expect),
        other => panic!("{other:?}"),
    }
}

/// What the lab file says of a mapping: where, and what.
#[track_caller]
fn refused(text: &str, says: &[&str]) {
    let text = format!(
        "boards: [{{board_id: a, soc_family: socA, board_ip: 10.0.0.1, lab_location: L}}]\nmapping:\n  {text}\n"
    );
    let problems = lab_file::parse("boards.yaml", &text, &|_| None).problems;
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), says);
}

#[test]
fn values_constants_and_both_together_become_a_document() {
    let text = "m: {when: {/k/~1x~0: 'A*'}, family: socA, build: '{/n}-{/ok}', commit: '{/sha?}', branch: '{/ref}', key: 'k{/n}', \
                artifacts: [{name: t, url: 'https://ci/{/n}', sha256: 'sha256:{/sum}', size: '{/size}'}]}";
    let body =
        json!({ "k": { "/x~": "abc" }, "n": 7, "ok": true, "ref": "refs/heads/a/b", "sum": "00", "size": 5 });
    let file = json!({ "name": "t", "url": "https://ci/7", "sha256": "00", "size": 5 });
    let expect = json!({
        "event": "build.finished", "family": "socA", "build": "7-true", "branch": "a/b", "idempotency_key": "k7",
        "artifacts": [file],
    });
    reads(text, body, expect);
}

#[test]
fn files_are_listed_from_lists_and_objects_and_chosen_by_name() {
    let text = "m: {when: {/k: x}, family: socA, build: b, artifacts: [{each: /list, named: ['*.bin'], name: '{item/name}', \
                url: 'https://ci{item/path}'}, {each: '/none?', name: '{key}', url: '{item}'}, {each: /map, name: '{key}', url: '{item}'}]}";
    let body = json!({ "k": "x", "list": [{ "name": "a.bin", "path": "/a" }, { "name": "a.log" }], "map": { "m": "https://ci/m" } });
    let files = json!([{ "name": "a.bin", "url": "https://ci/a" }, { "name": "m", "url": "https://ci/m" }]);
    let expect = json!({ "event": "build.finished", "family": "socA", "build": "b", "artifacts": files });
    reads(text, body, expect);
    let many: Vec<String> = (0..1_000).map(|n| format!("https://ci/{n}")).collect();
    let body = json!({ "k": "x", "list": [], "map": many });
    let body = body.as_object().expect("an object");
    let Ok(Reading::Document(_, document)) = read(&mappings(text), body) else { panic!("no document") };
    assert_eq!(document["artifacts"].as_array().map(Vec::len), Some(ARTIFACTS_MAX + 1));
}

#[test]
fn a_run_is_asked_for_with_its_suite_and_parameters() {
    let text = "m: {event: run.request, when: {/k: x}, family: '{/soc}', build: b, suite: full, result: '{/r}', results: {green: \
                success}, params: {n: '{/n}', none: '{/no?}'}, job: j, number: '{/n}'}";
    let body = json!({ "k": "X", "soc": "socA", "r": "GREEN", "n": 3 });
    let expect = json!({
        "event": "run.request", "family": "socA", "build": "b", "suite": "full", "params": { "n": "3" }, "idempotency_key": "j#3#m", "job": "j", "number": "3",
    });
    reads(text, body, expect);
}

#[test]
fn a_jobs_whole_name_is_read_out_of_its_address() {
    let post = |url: &str, name: &str| {
        let body = json!({ "name": name, "url": url, "build": { "phase": "FINALIZED", "number": 2, "status": "SUCCESS" } });
        let body = body.as_object().expect("an object");
        Plugin::of(body).map(|plugin| plugin.completed(body)["job"].clone())
    };
    assert_eq!(post("job/a/job/my%20job/", "x"), Some(json!("a/my job")));
    assert_eq!(post("job/main/job/%E2%9C%93", "x"), Some(json!("main/✓")));
    assert_eq!(post("view/x", "plain"), Some(json!("plain")));
    assert_eq!(post("job/%zz%4/", "x"), Some(json!("%zz%4")));
}

#[test]
fn what_is_wrong_with_a_mapping_is_said_where_it_stands() {
    refused("m: {family: socA, build: b}", &["boards.yaml:3:6: error: missing key \"when\" in a mapping"]);
    refused(
        "m: {when: {/k: x}, famly: socA, build: b}",
        &[
            "boards.yaml:3:6: error: missing key \"family\" in a mapping",
            "boards.yaml:3:22: error: unknown key \"famly\" in a mapping; did you mean \"family\"?",
        ],
    );
    let place =
        "a place is a JSON pointer such as {/build/number}, or {/build/number?} where it may be missing";
    refused(
        "m: {when: {k: x}, family: '{soc}', build: '{/b', suite: s}",
        &[
            "boards.yaml:3:14: error: \"k\" is no JSON pointer; write /object_kind, or /build/phase",
            &format!("boards.yaml:3:29: error: family: {place}"),
            "boards.yaml:3:45: error: build: a { has no }, or a } no {",
            "boards.yaml:3:59: error: suite says nothing of a build that is told of; write event: run.request, or what starts with \
             a build under on_build",
        ],
    );
    refused(
        "m: {from: notification-plugn, family: socA}",
        &[
            "boards.yaml:3:13: error: unknown from \"notification-plugn\"; did you mean \"notification-plugin\"?",
        ],
    );
    refused(
        "m: {when: {/k: x}, family: socA, build: '{item/x}', results: {green: good}, artifacts: [{name: a}]}",
        &[
            "boards.yaml:3:43: error: build: {item} and {key} stand only in artifacts with \"each\"",
            "boards.yaml:3:72: error: unknown result \"good\"; known are success, unstable, failure, aborted",
            "boards.yaml:3:91: error: missing key \"url\" in an artifact of a mapping",
        ],
    );
    let long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
    refused(
        &format!("m: {{when: {{/k: x}}, family: socA, build: {long}}}"),
        &["boards.yaml:3:43: error: build: it may have 500 bytes and 10 places"],
    );
}
