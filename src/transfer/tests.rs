//! Transfers through real shells: dash and busybox's, with and without `base64`, and over a line that loses bytes.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::tools::Sum;
use super::*;

/// A shell that the tests' own machine has.
#[derive(Debug, Clone, Copy)]
enum Shell {
    Dash,
    Ash,
}

/// What a board has beside its shell, as a folder of links; busybox's own shell has all of busybox anyway.
fn programs(dir: &Path, names: &[&str]) -> String {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    for name in ["dd", "wc", "rm", "mv", "od"].iter().chain(names) {
        let program = if *name == "cksum" { "/usr/bin/cksum" } else { "/bin/busybox" };
        std::os::unix::fs::symlink(program, bin.join(name)).expect("a link");
    }
    bin.display().to_string()
}

fn run(shell: Shell, path: &str, command: &str) -> Vec<u8> {
    let mut process = match shell {
        Shell::Dash => Command::new("/bin/dash"),
        Shell::Ash => Command::new("/bin/busybox"),
    };
    if let Shell::Ash = shell {
        process.arg("ash");
    }
    let output = process.arg("-c").arg(command).env_clear().env("PATH", path).output().expect("a shell");
    output.stdout
}

/// Carries until it is through; `line` is what lies between.
fn carry(
    shell: Shell,
    path: &str,
    transfer: &mut dyn Transfer,
    line: &mut dyn FnMut(Vec<u8>) -> Option<Vec<u8>>,
) -> Result<u32, TransferError> {
    let mut commands = 0;
    while let Some(command) = transfer.next() {
        commands += 1;
        assert!(command.len() < 3500, "a terminal's line takes it: {} bytes", command.len());
        let output = line(command.into_bytes());
        let output = output.map(|typed| run(shell, path, &String::from_utf8_lossy(&typed)));
        transfer.answer(output.as_deref())?;
    }
    Ok(commands)
}

fn sample(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 7 + n / 256 * 31) as u8).collect()
}

#[test]
fn a_file_goes_to_real_shells_and_back_whatever_programs_they_have() {
    let all: &[&str] = &["base64", "sha256sum"];
    let (dash, ash) = (Shell::Dash, Shell::Ash);
    let boards =
        [(dash, all), (dash, &["base64", "cksum"]), (dash, &["sha256sum"]), (dash, &["cksum"]), (ash, all)];
    for (shell, tools) in boards {
        for bytes in [0, 1, 511, 512, 1536, 6144, 6145] {
            let dir = tempfile::tempdir().expect("a folder");
            let path = programs(dir.path(), tools);
            let (data, to) = (sample(bytes), dir.path().join("t").display().to_string());
            let mut upload = Upload::new(data.clone(), &to).expect("small enough");
            carry(shell, &path, &mut upload, &mut Some).expect("an upload");
            assert!(std::fs::read(&to).expect("a file") == data, "{shell:?} {tools:?} {bytes}");
            let left = std::fs::read_dir(dir.path()).expect("a folder").count();
            assert_eq!(left, 2, "nothing but the programs and the file is left");
            let mut fetch = Fetch::new(&to);
            carry(shell, &path, &mut fetch, &mut Some).expect("a fetch");
            assert!(fetch.into_data() == data, "{shell:?} {tools:?} {bytes}");
        }
    }
}

#[test]
fn what_a_line_loses_is_typed_again_and_never_counted() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = programs(dir.path(), &["base64", "sha256sum"]);
    let (data, to) = (sample(20_000), dir.path().join("t").display().to_string());
    let mut count = 0;
    // Every third command loses a byte of its data, every seventh is lost whole.
    let mut lossy = |mut typed: Vec<u8>| {
        count += 1;
        if count % 3 == 0 && typed.len() > 1000 {
            typed.remove(200);
        }
        (count % 7 != 0).then_some(typed)
    };
    let mut upload = Upload::new(data.clone(), &to).expect("small enough");
    let commands = carry(Shell::Dash, &path, &mut upload, &mut lossy).expect("an upload");
    assert!(std::fs::read(&to).expect("a file") == data);
    assert!((18..40).contains(&commands), "14 pieces took {commands} commands");
}

#[test]
fn a_dead_line_ends_a_transfer_after_its_last_try() {
    let mut upload = Upload::new(sample(10), "/tmp/t").expect("small enough");
    for _ in 0..RETRIES_MAX {
        assert_eq!(upload.answer(None), Ok(()));
    }
    let ended = upload.answer(None).expect_err("no more tries").to_string();
    assert_eq!(ended, "/tmp/t: looking for room did not succeed in 6 tries");
}

#[test]
fn what_cannot_be_carried_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = programs(dir.path(), &["base64"]);
    let refused = carry(Shell::Dash, &path, &mut Fetch::new("/no/such"), &mut Some);
    assert_eq!(refused, Err(TransferError::NoChecksum));
    let path = programs(&dir.path().join("other"), &["base64", "cksum"]);
    let refused = carry(Shell::Ash, &path, &mut Fetch::new("/no/such"), &mut Some);
    assert_eq!(refused, Err(TransferError::Missing("/no/such".into())));

    let mut fetch = Fetch::new("/t");
    let large = |bytes: u64| format!("has cksum\nhas all\nsize {bytes}\n");
    assert_eq!(fetch.answer(Some(large(FETCH_BYTES_MAX).as_bytes())), Ok(()));
    let refused = Fetch::new("/t").answer(Some(large(FETCH_BYTES_MAX + 1).as_bytes()));
    let max = FETCH_BYTES_MAX;
    assert_eq!(refused, Err(TransferError::TooLarge { path: "/t".into(), bytes: max + 1, max }));
    assert!(Upload::new(vec![0; UPLOAD_BYTES_MAX as usize], "/t").is_ok());
    assert!(Upload::new(vec![0; UPLOAD_BYTES_MAX as usize + 1], "/t").is_err());
}

#[test]
fn a_path_is_one_that_no_shell_reads_anything_into() {
    for path in ["/tmp/t", "/t", "/a/b-c_d+e@f:g=h,i.j", &format!("/{}", "x".repeat(PATH_BYTES_MAX - 1))] {
        assert!(is_path(path), "{path}");
    }
    let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
    for path in
        ["", "t", "/", "/tmp/", "/tmp/..", "/tmp/.", "/a b", "/a;b", "/$x", "/~", "/a'b", "/a\nb", &long]
    {
        assert!(!is_path(path), "{path}");
    }
}

proptest! {
    /// Bytes of a board never make a transfer panic, and never count for a file.
    #[test]
    fn nothing_counts_that_is_not_proved(answers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let mut fetch = Fetch::new("/t");
        let mut upload = Upload::new(sample(100), "/t").expect("small enough");
        prop_assert_eq!(fetch.answer(Some(b"has cksum\nhas base64\nhas all\nsize 100")), Ok(()));
        for answer in &answers {
            if fetch.answer(Some(answer)).is_err() || upload.answer(Some(answer)).is_err() {
                break;
            }
        }
        prop_assert!(fetch.next().is_some() && upload.next().is_some());
        prop_assert!(fetch.into_data().is_empty());
    }

    /// Our checksums are those of the programs.
    #[test]
    fn a_checksum_proves_its_own_data_alone(data in prop::collection::vec(any::<u8>(), 1..50)) {
        prop_assert!(!Sum::Cksum.proves("4294967295 0", &data));
        prop_assert!(Sum::Cksum.proves("4294967295 0", b""));
        prop_assert!(Sum::Cksum.proves("930766865 9", b"123456789"));
    }
}
