//! What is drawn for Slack, by Slack's own libraries: every message, in both languages and every state that it has a sample of,
//! is one that its models for Python take, with their limits, and its types for TypeScript. So is the manifest of the app, with
//! every scope and event by its name.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use boardhand::chat::slack::blocks;
use boardhand::chat::slack::manifest::{Way, manifest};
use boardhand::message::Note;
use boardhand::message::template::Catalogue;
use boardhand::message::template::samples::{sample, sampled};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Value, json};

use crate::console_real::rig::{from_npm, from_pypi};

/// Reads a message a line; says of each block what the models do not know of it, or do not allow.
const MODELS: &str = r#"
import json, sys
from slack_sdk.models.blocks import Block

seen = 0
for line in sys.stdin:
    named = json.loads(line)
    for block in named["blocks"]:
        seen += 1
        parsed = Block.parse(block)
        if parsed is None or type(parsed) is Block:
            print(named["name"], "is of no type that is known:", block["type"])
            continue
        try:
            parsed.validate_json()
        except Exception as error:
            print(named["name"], block["type"], error)
        if parsed.to_dict() != block:
            print(named["name"], "has more than", json.dumps(parsed.to_dict()), "in", json.dumps(block))
print("blocks", seen)
"#;

/// The blocks of every message, by what it is.
fn drawn() -> Vec<(String, Vec<Value>)> {
    let catalogue = Catalogue::builtin();
    let mut drawn = Vec::new();
    for (message, states) in sampled() {
        let states: Vec<Option<&str>> =
            std::iter::once(None).chain(states.iter().map(|s| Some(s.as_str()))).collect();
        for (state, locale) in states.iter().flat_map(|state| [(*state, "en"), (*state, "zh")]) {
            let Ok(facts) = sample(&message, state) else { continue };
            let json = blocks::render(&catalogue.render(locale, &Note::new(&message, facts)));
            let own = json["blocks"].as_array().into_iter().flatten();
            let attached = json["attachments"].as_array().into_iter().flatten();
            let attached = attached.filter_map(|attachment| attachment["blocks"].as_array()).flatten();
            let name = format!("{message} {} {locale}", state.unwrap_or_default());
            drawn.push((name, own.chain(attached).cloned().collect()));
        }
    }
    drawn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slacks_own_models_take_every_message() {
    let asks = || {
        let mut python = Command::new(from_pypi("slack", super::sdk::BOLT, "python"))
            .args(["-c", MODELS])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let lines: String = drawn()
            .into_iter()
            .map(|(name, blocks)| format!("{}\n", serde_json::json!({ "name": name, "blocks": blocks })))
            .collect();
        let mut input = python.stdin.take().expect("is piped");
        let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()).expect("it reads"));
        let said = python.wait_with_output().expect("it ends");
        writing.join().expect("it was written");
        String::from_utf8(said.stdout).expect("text")
    };
    let said = tokio::task::spawn_blocking(asks).await.expect("it ends");
    let (wrong, seen): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| !line.starts_with("blocks "));
    assert!(wrong.is_empty(), "{wrong:#?}");
    let seen = seen.first().and_then(|line| line.strip_prefix("blocks ")?.parse::<u32>().ok());
    assert!(seen.is_some_and(|seen| seen > 300), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slacks_own_types_fit_every_message() {
    if !has_node() {
        return;
    }
    let checks = || {
        let mut text = String::from("import type { KnownBlock } from '@slack/types';\n");
        for (nth, (name, blocks)) in drawn().into_iter().enumerate() {
            let blocks = Value::from(blocks);
            text.push_str(&format!("// {name}\nexport const m{nth} = {blocks} satisfies KnownBlock[];\n"));
        }
        compiled("drawn.ts", &text)
    };
    let (fits, said) = tokio::task::spawn_blocking(checks).await.expect("it ends");
    assert!(fits, "{}", said.lines().take(30).collect::<Vec<_>>().join("\n"));
}

/// Where there is none, `tests/run` says what is not asked.
fn has_node() -> bool {
    Path::new("/usr/bin/npm").exists()
}

/// Whether this is TypeScript that fits, and what does not.
fn compiled(name: &str, text: &str) -> (bool, String) {
    let packages = ["@slack/types@3.2.0", "@slack/web-api@7.19.0", "typescript@5.9.3"];
    let place = from_npm("slack-types", &packages);
    std::fs::write(place.join(name), text).expect("a file");
    let tsc = place.join("node_modules/.bin/tsc");
    let options = ["--noEmit", "--strict", "--module", "nodenext", "--skipLibCheck", "--types", "node", name];
    let done = Command::new(tsc).args(options).current_dir(&place).output().expect("tsc");
    (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
}

/// YAML as JSON.
fn plain(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(is)) => json!(is),
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Sequence(of) => of.iter().map(plain).collect(),
        Yaml::Mapping(of) => {
            let entry = |(key, value): (&Yaml<'_>, &Yaml<'_>)| {
                (key.as_str().expect("a key").to_owned(), plain(value))
            };
            Value::Object(of.iter().map(entry).collect())
        }
        other => panic!("{other:?} in a manifest"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slacks_own_types_fit_the_manifest() {
    if !has_node() {
        return;
    }
    let checks = || {
        let mut text = String::from(
            "import type { AppsManifestValidateArguments } from '@slack/web-api';\n\
             type Manifest = AppsManifestValidateArguments['manifest'];\n",
        );
        for (nth, way) in
            [Way::Socket, Way::Url(None), Way::Url(Some("https://b.example"))].iter().enumerate()
        {
            // With what is optional, too.
            let yaml = manifest(*way, None).replace("      # - ", "      - ");
            let yaml = plain(&Yaml::load_from_str(&yaml).expect("YAML")[0]);
            let scopes = yaml["oauth_config"]["scopes"]["bot"].as_array().expect("scopes").len();
            assert!(scopes > 8, "{yaml}");
            text.push_str(&format!("export const m{nth} = {yaml} satisfies Manifest;\n"));
        }
        let fits = compiled("manifest.ts", &text);
        let wrong = text.replace("\"app_mention\"", "\"app_mentioned\"");
        (fits, compiled("wrong.ts", &wrong).0)
    };
    let ((fits, said), wrong) = tokio::task::spawn_blocking(checks).await.expect("it ends");
    assert!(fits, "{said}");
    assert!(!wrong, "what Slack does not know is seen");
}
