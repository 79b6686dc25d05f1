//! Plans: limits, retry, parameters, watch patterns; their steps are read by `steps`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::reader::{Fields, Reader};
use super::sequences::Wanted;
use super::steps::{self, PlanContext};
use super::tree::{Node, Value};
use crate::board::plan::{
    Action, INFRA_RETRIES_MAX, Limits, ParamKind, ParamSpec, ParamValue, Parser, Plan, RetryPolicy, Step,
    WatchMeaning, WatchRule,
};
use crate::board::quoting::CommandTemplate;
use crate::board::selector::check_param;
use crate::board::shown;
use crate::outcome::Verdict;

/// The plan of families that name none: log in, `uname -a`.
pub const BUILT_IN_PLAN: &str = "smoke";
/// Options of `/run-test` that no parameter can be called.
pub const RESERVED_PARAMS: [&str; 7] = ["suite", "priority", "rev", "tag", "on", "timeout", "boards"];
/// Limits of a plan that names none.
pub(super) const LIMITS_DEFAULT: Limits =
    Limits { total: Duration::from_secs(20 * 60), no_output: Duration::from_secs(4 * 60) };
/// Most watch patterns of one plan.
pub const WATCH_MAX: usize = 200;
/// Most words of a choice.
const CHOICES_MAX: usize = 100;

const PLAN_KEYS: [&str; 10] =
    ["limits", "retry", "params", "boots", "boot", "deploy", "test", "collect", "watch", "finally"];
const SHORTEST: Duration = Duration::from_millis(1);

/// Reads `plans:`. Every plan that is named is there, so that a mistake inside one is told once and not again by
/// everybody who refers to it; the built-in plan is added unless the file has its own.
pub(super) fn plans(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    programs: &BTreeMap<String, String>,
    sequences: &mut Vec<Wanted>,
) -> BTreeMap<String, Plan> {
    let mut plans = BTreeMap::new();
    if let Some(fields) = node.and_then(|node| reader.mapping(node, "plans")) {
        for (key, node) in fields.entries() {
            if reader.is_name(&key.text, key.at, "the name of a plan") {
                let plan = plan(reader, &key.text, node, programs, sequences);
                let plan = plan.unwrap_or_else(|| empty(&key.text));
                plans.insert(key.text.clone(), plan);
            }
        }
    }
    plans.entry(BUILT_IN_PLAN.to_owned()).or_insert_with(built_in);
    plans
}

fn empty(name: &str) -> Plan {
    Plan {
        name: name.to_owned(),
        limits: LIMITS_DEFAULT,
        retry: RetryPolicy { infra: INFRA_RETRIES_MAX, other_board: true },
        params: BTreeMap::new(),
        golden: false,
        boot: Vec::new(),
        deploy: Vec::new(),
        test: Vec::new(),
        collect: Vec::new(),
        finally: Vec::new(),
        watch: Vec::new(),
    }
}

fn built_in() -> Plan {
    let step = |name: &str, action, within| {
        let within = Duration::from_secs(within);
        Step { name: name.to_owned(), action, within, parse: Parser::ExitCode, save: None, stop: false }
    };
    let uname = CommandTemplate::parse("uname -a").expect("a command without placeholders");
    let mut plan = empty(BUILT_IN_PLAN);
    plan.boot = vec![step("login", Action::Login, 120)];
    plan.test = vec![step("uname", Action::Run(uname), 30)];
    plan
}

fn plan(
    reader: &mut Reader<'_>,
    name: &str,
    node: &Node,
    programs: &BTreeMap<String, String>,
    sequences: &mut Vec<Wanted>,
) -> Option<Plan> {
    let fields = reader.fields(node, "a plan", &PLAN_KEYS)?;
    let mut plan = empty(name);
    if let Some(node) = fields.get("limits") {
        limits(reader, node, &mut plan.limits);
    }
    if let Some(node) = fields.get("retry") {
        retry(reader, node, &mut plan.retry);
    }
    if let Some(node) = fields.get("boots") {
        plan.golden = reader.one_of(node, "value of boots", &[("golden", true)]).unwrap_or(false);
    }
    let declared = match fields.get("params") {
        Some(node) => params(reader, node, &mut plan.params),
        None => Vec::new(),
    };
    let params = plan.params.clone();
    let saved = BTreeSet::new();
    let mut context = PlanContext { plan: name, params: &params, programs, declared, saved, sequences };
    plan.boot = steps::section(reader, &fields, "boot", &mut context);
    plan.deploy = steps::section(reader, &fields, "deploy", &mut context);
    plan.test = steps::section(reader, &fields, "test", &mut context);
    plan.collect = steps::section(reader, &fields, "collect", &mut context);
    plan.finally = steps::section(reader, &fields, "finally", &mut context);
    plan.watch = watch(reader, &fields);
    if !["boot", "deploy", "test", "collect"].iter().any(|section| fields.get(section).is_some()) {
        reader.problems.error(node.at, format!("plan {} has no steps", shown(name)));
    }
    Some(plan)
}

fn limits(reader: &mut Reader<'_>, node: &Node, limits: &mut Limits) {
    let Some(fields) = reader.fields(node, "limits", &["total", "no_output"]) else {
        return;
    };
    if let Some(total) = fields.get("total").and_then(|node| reader.duration(node, "total", SHORTEST)) {
        limits.total = total;
        limits.no_output = limits.no_output.min(total);
    }
    let Some(node) = fields.get("no_output") else {
        return;
    };
    if let Some(no_output) = reader.duration(node, "no_output", SHORTEST) {
        limits.no_output = no_output;
        if no_output > limits.total {
            reader.problems.warning(
                node.at,
                "no_output is longer than total, so it never ends an attempt",
                None,
            );
        }
    }
}

fn retry(reader: &mut Reader<'_>, node: &Node, retry: &mut RetryPolicy) {
    let Some(fields) = reader.fields(node, "retry", &["infra", "other_board"]) else {
        return;
    };
    if let Some(node) = fields.get("infra") {
        let infra = reader.integer(node, "retry.infra", 0..=i64::from(INFRA_RETRIES_MAX));
        retry.infra = infra.and_then(|n| u32::try_from(n).ok()).unwrap_or(retry.infra);
    }
    if let Some(node) = fields.get("other_board") {
        retry.other_board = reader.boolean(node, "retry.other_board").unwrap_or(retry.other_board);
    }
}

/// Reads `params:` and gives every name that stands there.
fn params<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    params: &mut BTreeMap<String, ParamSpec>,
) -> Vec<&'n str> {
    let Some(fields) = reader.mapping(node, "params") else {
        return Vec::new();
    };
    for (key, node) in fields.entries() {
        let name = &key.text;
        let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= crate::board::NAME_BYTES_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !is_word {
            let message = format!("a parameter is called by letters, digits, _ and -, not {}", shown(name));
            reader.problems.error(key.at, message);
        } else if RESERVED_PARAMS.contains(&name.as_str()) {
            let message = format!("no parameter can be called \"{name}\": it is an option of /run-test");
            reader.problems.error(key.at, message);
        } else if let Some(spec) = param(reader, name, node) {
            params.insert(name.clone(), spec);
        }
    }
    fields.entries().map(|(key, _)| key.text.as_str()).collect()
}

fn param(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<ParamSpec> {
    let what = format!("parameter \"{name}\"");
    let fields = reader.fields(node, &what, &["type", "default", "min", "max", "pattern", "values"])?;
    let kind = reader.required(&fields, &what, "type")?;
    let kinds = [("integer", "integer"), ("string", "string"), ("boolean", "boolean"), ("choice", "choice")];
    let kind = reader.one_of(kind, "type of a parameter", &kinds)?;
    let belong: &[&str] = match kind {
        "integer" => &["min", "max"],
        "string" => &["pattern"],
        "choice" => &["values"],
        _ => &[],
    };
    for (key, _) in fields.entries() {
        if ["min", "max", "pattern", "values"].contains(&key.text.as_str())
            && !belong.contains(&key.text.as_str())
        {
            reader
                .problems
                .error(key.at, format!("`{}` does not belong to a parameter of type {kind}", key.text));
        }
    }
    let kind = match kind {
        "integer" => integer_kind(reader, &fields)?,
        "string" => ParamKind::String { pattern: whole_pattern(reader, &fields)? },
        "boolean" => ParamKind::Boolean,
        _ => ParamKind::Choice(choice_values(reader, &fields, &what)?),
    };
    let spec = ParamSpec { kind, default: None };
    let default = match fields.get("default") {
        None => None,
        Some(node) => Some(default(reader, node, name, &spec)?),
    };
    Some(ParamSpec { default, ..spec })
}

fn integer_kind(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<ParamKind> {
    let mut bound = |key: &str| match fields.get(key) {
        Some(node) => reader.integer(node, key, i64::MIN..=i64::MAX).map(Some),
        None => Some(None),
    };
    let (min, max) = (bound("min")?, bound("max")?);
    if let (Some(low), Some(high)) = (min, max)
        && low > high
    {
        reader.problems.error(fields.at, format!("min {low} is larger than max {high}"));
        return None;
    }
    Some(ParamKind::Integer { min, max })
}

/// A pattern that the whole value must match. The outer `None` is a mistake.
fn whole_pattern(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Option<regex::Regex>> {
    let Some(node) = fields.get("pattern") else {
        return Some(None);
    };
    let text = reader.text(node, "pattern")?;
    // Compiled alone first: anchors around a broken pattern could repair it, and its message would show them.
    if let Err(error) = regex::Regex::new(text) {
        reader.bad_pattern(node, "pattern", &error);
        return None;
    }
    match regex::Regex::new(&format!(r"\A(?:{text})\z")) {
        Ok(pattern) => Some(Some(pattern)),
        Err(error) => {
            reader.bad_pattern(node, "pattern", &error);
            None
        }
    }
}

fn choice_values(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<Vec<String>> {
    let node = reader.required(fields, what, "values")?;
    let items = reader.list(node, "values")?;
    if items.is_empty() || items.len() > CHOICES_MAX {
        reader.problems.error(node.at, format!("values must name 1 to {CHOICES_MAX} words"));
        return None;
    }
    items.iter().map(|item| reader.text(item, "a value").map(str::to_owned)).collect()
}

fn default(reader: &mut Reader<'_>, node: &Node, name: &str, spec: &ParamSpec) -> Option<ParamValue> {
    let text = reader.text(node, "default")?;
    match check_param(spec, text) {
        Ok(value) => Some(value),
        Err(reason) => {
            reader.problems.error(node.at, format!("the default of parameter \"{name}\" {reason}"));
            None
        }
    }
}

fn watch(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<WatchRule> {
    let Some(node) = fields.get("watch") else {
        return Vec::new();
    };
    let Some(items) = reader.list(node, "watch") else {
        return Vec::new();
    };
    if items.len() > WATCH_MAX {
        reader
            .problems
            .error(node.at, format!("watch has {} patterns; at most {WATCH_MAX} are allowed", items.len()));
    }
    items.iter().take(WATCH_MAX).filter_map(|item| watch_rule(reader, item)).collect()
}

fn watch_rule(reader: &mut Reader<'_>, node: &Node) -> Option<WatchRule> {
    const WHAT: &str = "a watch pattern";
    let fields = reader.fields(node, WHAT, &["match", "until", "verdict", "cause", "fatal", "ignore"])?;
    let start = reader.required(&fields, WHAT, "match");
    let start = start.and_then(|node| reader.pattern(node, "match"));
    let until = fields.get("until").map(|node| reader.pattern(node, "until"));
    let ignore = fields.get("ignore").is_some_and(|node| reader.boolean(node, "ignore").unwrap_or(false));
    if ignore {
        for (key, _) in fields.entries().filter(|(key, _)| !["match", "ignore"].contains(&key.text.as_str()))
        {
            reader.problems.error(key.at, format!("`{}` says nothing about a pattern to ignore", key.text));
        }
        return Some(WatchRule { start: start?, until: None, meaning: None });
    }
    let meaning = watch_meaning(reader, &fields);
    let until = match until {
        Some(until) => Some(until?),
        None => None,
    };
    Some(WatchRule { start: start?, until, meaning: Some(meaning?) })
}

fn watch_meaning(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<WatchMeaning> {
    let verdicts = [("failed", Verdict::Failed), ("infra", Verdict::Infra), ("timed-out", Verdict::TimedOut)];
    let verdict = match fields.get("verdict") {
        Some(node) => reader.one_of(node, "verdict of a watch pattern", &verdicts),
        None => Some(Verdict::Failed),
    };
    let fatal = match fields.get("fatal") {
        Some(node) => reader.boolean(node, "fatal"),
        None => Some(false),
    };
    let cause = reader.required(fields, "a watch pattern", "cause")?;
    let is_cause = |text: &str| {
        !text.is_empty()
            && text.len() <= 40
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let text = match &cause.value {
        Value::Scalar { text, .. } if is_cause(text) => text.clone(),
        _ => {
            let message = format!("cause must be a short word of a-z 0-9 and -, not {}", cause.kind());
            reader.problems.error(cause.at, message);
            return None;
        }
    };
    Some(WatchMeaning { verdict: verdict?, cause: text, fatal: fatal? })
}
