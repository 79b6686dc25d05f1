//! Programs beside the board: `host_programs:`, which lists all that a plan may run, and the `host` steps that run
//! them. Pure; whether a program is there is the worker's to find out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::Reader;
use super::steps::{PlanContext, inner_within, known_placeholders};
use super::tree::{Node, Value};
use crate::board::plan::{Action, HostCommand};
use crate::board::quoting::CommandTemplate;
use crate::board::shown;

/// Most programs of a lab.
const PROGRAMS_MAX: usize = 100;
/// Most arguments of a program.
pub const HOST_ARGUMENTS_MAX: usize = 100;
/// Programs that need no path: where distributions put them.
const PRESETS: [(&str, &str); 4] = [
    ("openocd", "/usr/bin/openocd"),
    ("fastboot", "/usr/bin/fastboot"),
    ("uuu", "/usr/bin/uuu"),
    ("dfu-util", "/usr/bin/dfu-util"),
];

/// Reads `host_programs:`: a mapping of names to absolute paths, or a list of paths. A preset needs no path.
pub(super) fn host_programs(reader: &mut Reader<'_>, node: Option<&Node>) -> BTreeMap<String, String> {
    let mut programs = BTreeMap::new();
    let Some(node) = node else { return programs };
    if let Value::Map(_) = node.value {
        let Some(fields) = reader.mapping(node, "host_programs") else { return programs };
        for (key, node) in fields.entries().take(PROGRAMS_MAX) {
            let named = reader.is_name(&key.text, key.at, "the name of a host program");
            let path = match (&node.value, preset(&key.text)) {
                (Value::Null, Some(path)) => Some(path.to_owned()),
                _ => path(reader, node),
            };
            if named {
                // A path with a mistake is told once: the name is known all the same.
                programs.insert(key.text.clone(), path.unwrap_or_default());
            }
        }
        return programs;
    }
    for item in reader.list(node, "host_programs").unwrap_or_default().iter().take(PROGRAMS_MAX) {
        let known = match &item.value {
            Value::Scalar { text, .. } => preset(text).map(str::to_owned),
            _ => None,
        };
        let Some(path) = known.or_else(|| path(reader, item)) else { continue };
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        if programs.insert(name.clone(), path).is_some() {
            reader.problems.error(item.at, format!("two host programs are called {}", shown(&name)));
        }
    }
    programs
}

fn preset(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, path)| *path)
}

fn path(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let text = reader.text(node, "a host program")?;
    let names_file = text.starts_with('/') && !text.ends_with('/');
    if !names_file || text.contains(|c: char| c.is_control()) {
        let message = format!("a host program must be an absolute path, not {}", shown(text));
        let presets: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        let suggestion = format!("without a path there are {}", presets.join(", "));
        reader.problems.error_with(node.at, message, Some(suggestion));
        return None;
    }
    Some(text.to_owned())
}

/// Reads a `host` step: `{run: [openocd, -f, board.cfg], within: 2m}`.
pub(super) fn step(
    reader: &mut Reader<'_>,
    node: &Node,
    plan: &PlanContext<'_>,
    inside: &mut Option<Duration>,
) -> Option<Action> {
    let fields = reader.fields(node, "host", &["run", "within"])?;
    *inside = inner_within(reader, &fields);
    let run = reader.required(&fields, "host", "run")?;
    let items = reader.list(run, "run of a host step")?;
    let Some((program, arguments)) = items.split_first().filter(|(_, rest)| rest.len() <= HOST_ARGUMENTS_MAX)
    else {
        let message = format!("run of a host step is a program and at most {HOST_ARGUMENTS_MAX} arguments");
        reader.problems.error(run.at, message);
        return None;
    };
    let name = reader.text(program, "a host program")?;
    let path = plan.programs.get(name).cloned();
    if path.is_none() {
        let known: Vec<&str> = plan.programs.keys().map(String::as_str).collect();
        match known.is_empty() {
            true => {
                let message = format!("host_programs lists no program {}", shown(name));
                let suggestion =
                    format!("add `host_programs: [{name}]`, or its path, at the top of the file");
                reader.problems.error_with(program.at, message, Some(suggestion));
            }
            false => reader.unknown(program.at, "host program", name, &known),
        }
    }
    let arguments: Vec<_> = arguments.iter().map(|item| argument(reader, item, plan)).collect();
    let arguments = arguments.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Action::Host(HostCommand { name: name.to_owned(), path: path?, arguments }))
}

/// One argument: a text, or one placeholder alone.
fn argument(reader: &mut Reader<'_>, node: &Node, plan: &PlanContext<'_>) -> Option<CommandTemplate> {
    let text = reader.text(node, "an argument")?;
    match CommandTemplate::parse_argument(text) {
        Ok(template) => {
            known_placeholders(reader, node, &template, plan);
            Some(template)
        }
        Err(problem) => {
            let at = reader.inside(node, problem.offset);
            reader.problems.error(at, problem.message);
            None
        }
    }
}
