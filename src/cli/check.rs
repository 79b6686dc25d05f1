//! `boardhand check`: every mistake of the lab file and the templates at once, and what room the data folder has left
//! (`folder`), and who drives the boards of remote sites (`workers`). Opens nothing but these files, unless Slack's or Feishu's variables are set (`slack`, `feishu`), or
//! `--connect` asks for the lab itself (`connect`).

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use crate::board::Inventory;
use crate::board::inventory::FamilySettings;
use crate::board::lab_file::{self, BUILT_IN_PLAN, FILE_BYTES_MAX, LabFile};
use crate::chat::Platform;
use crate::config;
use crate::message::template::Catalogue;

/// What `check` found.
struct CheckReport {
    /// Every problem on a line of its own, and a summary.
    text: String,
    /// Whether the server would start: warnings do not prevent it.
    ok: bool,
    /// The lab, where the file is without mistakes.
    inventory: Option<Inventory>,
}

impl CheckReport {
    fn broken(text: String) -> Self {
        CheckReport { text, ok: false, inventory: None }
    }
}

/// Checks the lab file at `boards` and, where there is one, the folder of templates; prints what was found. Gives 0
/// when the server would start with them, else 1.
///
/// It also looks at the data folder, where that is there; and with `connect`, leasing them there, at every board that the file
/// names, if that is without mistakes.
pub(super) async fn check(
    boards: &Path,
    templates: Option<&Path>,
    data_dir: &Path,
    connect: bool,
) -> anyhow::Result<ExitCode> {
    let env = |name: &str| std::env::var(name).ok();
    let connected = config::connected(&env);
    let lab = check_file(boards, &super::serve::lab_variable, &connected);
    say!("{}", lab.text);
    let mut ok = lab.ok;
    if let Some(folder) = templates {
        match Catalogue::load(folder) {
            Ok(_) => sayln!("{}: ok", folder.display()),
            Err(problems) => {
                sayln!("{}", problems.join("\n"));
                ok = false;
            }
        }
    }
    match config::database(&env) {
        Ok(None) => {}
        Ok(Some(url)) => sayln!("{}: {}: ok", config::DATABASE_URL, url.place()),
        Err(error) => {
            sayln!("{}", error.0.join("\n"));
            ok = false;
        }
    }
    let groups = lab.inventory.as_ref().map(Inventory::groups).unwrap_or_default();
    for chat in [super::slack::check(&env, &groups).await, super::feishu::check(&env, &groups).await] {
        say!("{}", chat.text);
        ok &= chat.ok;
    }
    if let Some((line, is_fine)) = super::folder::look(data_dir) {
        say!("{line}");
        ok &= is_fine;
    }
    if let Some(inventory) = &lab.inventory
        && let Some((lines, is_fine)) = super::workers::look(inventory, data_dir).await
    {
        say!("{lines}");
        ok &= is_fine;
    }
    if let (true, Some(inventory)) = (connect, &lab.inventory) {
        ok &= super::connect::connect(inventory, data_dir).await?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks the lab file at `path`.
fn check_file(path: &Path, env: &dyn Fn(&str) -> Option<String>, connected: &[Platform]) -> CheckReport {
    let name = path.display().to_string();
    match read(path) {
        Ok(bytes) => check_bytes(&name, &bytes, env, connected),
        Err(error) => CheckReport::broken(format!(
            "{name}: error: {error}; name the lab file with --boards or BOARDHAND_BOARDS\n"
        )),
    }
}

/// The file's bytes, and at most one more than a lab file may have.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_bytes(
    name: &str,
    bytes: &[u8],
    env: &dyn Fn(&str) -> Option<String>,
    connected: &[Platform],
) -> CheckReport {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let begins = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let column = String::from_utf8_lossy(&before[begins..]).chars().count() + 1;
            return CheckReport::broken(format!("{name}:{line}:{column}: error: this byte is not UTF-8\n"));
        }
    };
    let LabFile { inventory, problems } = lab_file::parse_for(name, text, env, false, connected);
    let mut report = lab_file::render(&problems);
    if let Some(inventory) = &inventory {
        // Writing to a String cannot fail.
        let _ = writeln!(report, "{name}: {}: ok", summary(inventory));
    }
    CheckReport { text: report, ok: inventory.is_some(), inventory }
}

/// `20 boards, 2 families, 3 plans`.
fn summary(inventory: &Inventory) -> String {
    let plural = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let boards = plural(inventory.boards.len(), "board", "boards");
    let families = plural(inventory.families.len(), "family", "families");
    let plans = plural(plans_in_use(inventory), "plan", "plans");
    format!("{boards}, {families}, {plans}")
}

/// How many plans there are, without the built-in one where no family uses it.
fn plans_in_use(inventory: &Inventory) -> usize {
    let uses_built_in = |family: &FamilySettings| family.suites.values().any(|plan| plan == BUILT_IN_PLAN);
    let built_in_used = inventory.families.values().any(uses_built_in);
    inventory.plans.keys().filter(|name| built_in_used || *name != BUILT_IN_PLAN).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_tells_every_problem_and_whether_the_server_would_start() {
        let check = |text: &[u8], expect: &str, ok: bool| {
            let report = check_bytes("boards.yaml", text, &|_| None, &[Platform::Slack]);
            assert_eq!((report.text.as_str(), report.ok), (expect, ok));
        };
        let board = "boards: [{board_id: a, soc_family: s, board_ip: 10.0.0.1, lab_location: L}]\n";
        check(board.as_bytes(), "boards.yaml: 1 board, 1 family, 1 plan: ok\n", true);
        let warned = format!("{board}roles: {{admin: ['feishu:od-1', slack:S1]}}\n");
        check(
            warned.as_bytes(),
            "boards.yaml:2:17: warning: nobody is in feishu:od-1: feishu is not connected\n0 errors, 1 warning\nboards.yaml: 1 board, 1 family, 1 plan: ok\n",
            true,
        );
        let mirrored = format!("{board}channels: {{mirrors: [{{from: slack:C1, to: feishu:oc_1}}]}}\n");
        check(
            mirrored.as_bytes(),
            "boards.yaml:2:22: warning: runs of slack:C1 get no card in feishu:oc_1: Feishu is not connected; set its \
             FEISHU_ variables, see docs/feishu.md\n0 errors, 1 warning\nboards.yaml: 1 board, 1 family, 1 plan: ok\n",
            true,
        );
        check(b"boards: []\n", "boards.yaml:1:9: error: the lab has no boards\n1 error, 0 warnings\n", false);
        check(b"boards:\n- \xc3\xa4\xff\n", "boards.yaml:2:4: error: this byte is not UTF-8\n", false);
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem_and_not_a_panic() {
        let report = check_file(Path::new("/nowhere/boards.yaml"), &|_| None, &[]);
        assert!(!report.ok && report.text.starts_with("/nowhere/boards.yaml: error: "), "{}", report.text);
        assert!(
            report.text.ends_with("; name the lab file with --boards or BOARDHAND_BOARDS\n"),
            "{}",
            report.text
        );
    }

    #[test]
    fn the_example_lab_has_nothing_to_complain_about() {
        let report = check_bytes("boards.yaml", include_bytes!("../../boards.yaml"), &|_| None, &[]);
        assert_eq!(report.text, "boards.yaml: 20 boards, 2 families, 3 plans: ok\n");
    }
}
