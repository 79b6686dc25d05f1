//! Where placeholders may stand, and that no value ever becomes anything but one word, in real shells.

use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

/// Shells of boards and build machines. `apt-get install dash busybox-static` where one is missing.
const SHELLS: [&[&str]; 3] = [&["sh"], &["dash"], &["busybox", "ash"]];

fn values(param: &str) -> Values {
    let url = |url: &str, from_lab_file| ArtifactUrl { url: url.to_owned(), from_lab_file };
    Values {
        build: "build-123".into(),
        artifacts: [
            ("test.bin".to_owned(), url("http://ci/build-123/test.bin", true)),
            ("own".to_owned(), url("http://x/y?a=b&c=d", false)),
        ]
        .into(),
        params: [("x".to_owned(), ParamValue::String(param.to_owned()))].into(),
        board: BoardFacts {
            id: BoardId::new("soc-a-001"),
            ip: "10.1.1.101".into(),
            family: Family::new("socA"),
            revision: None,
            site: Site::new("Lab Site A"),
            tags: [("opts".to_owned(), "-a -b".to_owned()), ("bad".to_owned(), "it's".to_owned())].into(),
        },
        run: 42,
        attempt: 2,
        suite: "smoke".into(),
        served: "http://10.0.0.1:8080/artifacts/42-2-ab".into(),
    }
}

#[test]
fn a_placeholder_gives_its_value_as_one_quoted_word() {
    let check = |text: &str, expect: &str| {
        let template = CommandTemplate::parse(text).expect(text);
        assert_eq!(template.render(&values("it's; rm -rf /")).as_deref(), Ok(expect), "{text}");
        let again = CommandTemplate::parse(&template.to_string()).expect("what it displays as parses");
        assert_eq!(again.to_string(), template.to_string());
    };
    check("uname -a", "uname -a");
    check("echo {{ build.id }}", "echo 'build-123'");
    check("echo {{build.id}}{{ run.number }}", "echo 'build-123''42'");
    check("echo --x={{ params.x }} y", r"echo --x='it'\''s; rm -rf /' y");
    check("wget {{ build.artifacts[\"test.bin\"].url }}", "wget 'http://ci/build-123/test.bin'");
    check("wget {{ build.artifacts['own'].url }}", "wget 'http://x/y?a=b&c=d'");
    check(
        "echo {{ board.id }} {{ board.ip }} {{ board.site }}",
        "echo 'soc-a-001' '10.1.1.101' 'Lab Site A'",
    );
    check("echo {{ run.suite }} {{ run.attempt }} {{ board.family }}", "echo 'smoke' '2' 'socA'");
    check(
        "wget {{ artifacts.url }}/{{ build.id }}/t",
        "wget 'http://10.0.0.1:8080/artifacts/42-2-ab'/'build-123'/t",
    );
    check("t {{ board.tags[\"opts\"] | raw }}", "t -a -b");
    check("curl \"{{ build.artifacts[\"test.bin\"].url | raw }}\"", "curl \"http://ci/build-123/test.bin\"");
    check(
        "echo 'a' \"b $(c 'd') ${e:-f}\" `g` \\' {{ build.id }}",
        r#"echo 'a' "b $(c 'd') ${e:-f}" `g` \' 'build-123'"#,
    );
    check(
        "cat <<EOF > /tmp/x && t {{ build.id }}\nit's {\nEOF\nls {{ build.id }}",
        "cat <<EOF > /tmp/x && t 'build-123'\nit's {\nEOF\nls 'build-123'",
    );
    check("a # it's\nb {{ build.id }}", "a # it's\nb 'build-123'");
    check("echo a#b {{ build.id }}", "echo a#b 'build-123'");
    check("sh -c 'echo \"$1\"' _ {{ params.x }}", r#"sh -c 'echo "$1"' _ 'it'\''s; rm -rf /'"#);
    // Without placeholders a command is the plan's own business.
    check("awk '{ print $'\\''1' }'", "awk '{ print $'\\''1' }'");
}

#[test]
fn a_placeholder_where_no_quoting_helps_is_refused_with_its_position() {
    let check = |text: &str, offset: usize, message: &str| {
        let problem = CommandTemplate::parse(text).expect_err(text);
        assert_eq!((problem.offset, problem.message.as_str()), (offset, message), "{text}");
    };
    let inside =
        |place: &str| format!("a placeholder cannot stand inside {place}: it must be an unquoted word");
    check("echo '{{ build.id }}'", 6, &inside("quotes"));
    check("echo \"a {{ build.id }}\"", 8, &inside("quotes"));
    check("echo ä \"{{ build.id }}\"", 9, &inside("quotes"));
    check("echo {{ build.id }} '{{ build.id }}'", 21, &inside("quotes"));
    check("echo `x {{ build.id }}`", 8, &inside("backticks"));
    check("echo $(x {{ build.id }})", 9, &inside("$(…)"));
    check("echo \"$(x {{ build.id }})\"", 10, &inside("$(…)"));
    check("echo $((1 + {{ params.x }}))", 12, &inside("$(…)"));
    check("echo ${x:-{{ params.x }}}", 10, &inside("${…}"));
    check("cat <<EOF\n{{ build.id }}\nEOF", 10, &inside("a here-document"));
    check("cat <<-'E'\n\tx\n\t{{ build.id }}\n\tE", 15, &inside("a here-document"));
    check("a # {{ build.id }}", 4, &inside("a comment"));
    check("a \\{{ build.id }}", 3, "a placeholder cannot stand directly after a backslash");
    check("a ${{ build.id }}", 3, "a placeholder cannot stand directly after `$`");
    let evaluated = "a placeholder cannot be text that another shell reads (eval, trap, sh -c)";
    check("eval {{ params.x }}", 5, evaluated);
    check("$(EOF)eval {{ params.x }}", 11, evaluated);
    check("ev$(EOF)al {{ params.x }}", 11, evaluated);
    check("\"$x\"eval {{ params.x }}", 9, evaluated);
    check("$x'eval' {{ params.x }}", 9, evaluated);
    check("${x}eval {{ params.x }}", 9, evaluated);
    check("`EOF`sh -c {{ params.x }}", 11, evaluated);
    check("x=1 busybox sh -ec {{ params.x }}", 19, evaluated);
    check("su root -c \"ls \"{{ params.x }}", 16, evaluated);
    check("trap {{ params.x }} EXIT", 5, evaluated);
    // What may vanish, or turn out to be `-c`, and what is no word of the command at all.
    check("sh -c $x {{ params.x }}", 9, evaluated);
    check("sh $x {{ params.x }}", 6, evaluated);
    check("sh -c `x` {{ params.x }}", 10, evaluated);
    check("sh {{ board.site | raw }} {{ params.x }}", 26, evaluated);
    check("sh -c >/dev/null {{ params.x }}", 17, evaluated);
    check("sh -c 2>&1 {{ params.x }}", 11, evaluated);
    check("sh -c >|f {{ params.x }}", 10, evaluated);
    check("sh -c &>f {{ params.x }}", 10, evaluated);
    check(&format!("sh {} -c {{{{ params.x }}}}", ["-e"; 20].join(" ")), 66, evaluated);
    check(
        "echo 'a {{ build.id | raw }}",
        8,
        "`| raw` is only for values written in boards.yaml; build.id is not",
    );
}

/// The offsets of these are those of the construct itself.
#[test]
fn what_shells_read_differently_is_refused_beside_a_placeholder() {
    let check = |text: &str, message: &str| {
        let problem = CommandTemplate::parse(text).expect_err(text);
        assert!(problem.message.contains(message), "{text}: {}", problem.message);
    };
    check("echo $'a\\'' {{ build.id }}", "shells disagree about $'…'");
    check("echo $[1] {{ build.id }}", "shells disagree about $[…]");
    check("echo \"$(case x in a) echo \" {{ build.id }} \";; esac)\"", "`case` inside $(…)");
    check("echo $(echo \\#a # ' \n) {{ build.id }}", "`#` inside $(…)");
    check("echo $(cat <<E\n'\nE\n) {{ build.id }}", "here-document inside $(…)");
    check("echo \"${x:-'}\" {{ build.id }}", "inside ${…} cannot be checked");
    check("echo `echo \\`'\\`` {{ build.id }}", "inside backticks cannot be checked");
    check("cat <<$x\n$x\n {{ build.id }}", "the end of this here-document cannot be found");
    check("cat <<EOF \"\n\"\nEOF\n {{ build.id }}", "must end the command");
    check("cat <<EOF\na\\\nEOF\nEOF\n {{ build.id }}", "ends with a backslash");
    check("cat <<EOF\n{{ build.id }}", "cannot stand inside a here-document");
    check("cat {{ build.id }} <<EOF\n", "has no end \"EOF\"");
    check("echo <\\\n<EOF {{ build.id }}", "continued directly after `<`");
    check("echo $\\\n(x) {{ build.id }}", "continued directly after `$`");
    check("echo {{ build.id }} 'a", "never closed");
    check("echo {{ build.id }} \"a", "never closed");
    check("echo {{ build.id }} $(a", "never closed");
    check("echo {{ build.id }} \\", "ends with a backslash");
    check("echo {{ board.id | raw }}# {{ build.id }}", "directly before `#`");
}

#[test]
fn a_misspelt_name_is_refused_with_the_one_that_was_meant() {
    let check = |text: &str, message: &str| {
        let problem = CommandTemplate::parse(text).expect_err(text);
        assert_eq!(problem.message, message, "{text}");
    };
    check("{{ bulid.id }}", "unknown name \"bulid.id\"; did you mean \"build.id\"?");
    check("{{ build.id", "`{{` has no `}}`");
    check("{{ }}", "cannot read \"\" as a name such as build.id");
    check("{{ build.id + 1 }}", "cannot read \"build.id + 1\" as a name such as build.id");
    check(
        "{{ build.artifacts[x].url }}",
        "cannot read \"build.artifacts[x].url\" as a name such as build.id",
    );
    check("{{ build.id | upper }}", "unknown filter \"upper\"; there is only `raw`");
    check("{{ params.x | raw }}", "`| raw` is only for values written in boards.yaml; params.x is not");
    let known = "build.id, board.id, board.ip, board.family, board.revision, board.site, run.number, run.attempt, \
                 run.suite, artifacts.url, artifacts.host, \
                 artifacts.path, build.artifacts[\"…\"].url, build.artifacts[\"…\"].path, params.…, board.tags[\"…\"]";
    check("{{ secrets }}", &format!("unknown name \"secrets\"; known are {known}"));
}

#[test]
fn a_command_is_as_long_as_a_terminal_takes_and_no_longer() {
    assert!(CommandTemplate::parse(&"x".repeat(COMMAND_BYTES_MAX)).is_ok());
    assert!(CommandTemplate::parse(&"x".repeat(COMMAND_BYTES_MAX + 1)).is_err());
    assert!(CommandTemplate::parse_plain("a\0b").is_err());
}

#[test]
fn what_cannot_be_quoted_must_not_need_it() {
    let check = |template: &str, param: &str, expect: Result<&str, &str>| {
        let template = CommandTemplate::parse_plain(template).expect(template);
        let rendered = template.render(&values(param)).map_err(|error| error.to_string());
        assert_eq!(rendered, expect.map(str::to_owned).map_err(str::to_owned), "{param}");
    };
    check("run {{ params.x }}", "netboot-2.b:/=@+,", Ok("run netboot-2.b:/=@+,"));
    let refused = "the value of params.x may only hold letters, digits and . _ : / = @ + , - here";
    for param in ["a b", "a;b", "a'", "$x", "\n", "ä", "a\\"] {
        check("run {{ params.x }}", param, Err(refused));
    }
    // Quotes of a boot loader's line are its own affair: a plain value is harmless inside them.
    check("setenv x '{{ params.x }}'", "a", Ok("setenv x 'a'"));
    check(
        "echo {{ board.site }}",
        "",
        Err("the value of board.site may only hold letters, digits and . _ : / = @ + , - here"),
    );
    check("echo {{ board.site | raw }}", "", Ok("echo Lab Site A"));
}

#[test]
fn what_is_missing_or_harmful_is_told_and_never_repeated() {
    let check = |template: &str, param: &str, expect: &str| {
        let template = CommandTemplate::parse(template).expect(template);
        let error = template.render(&values(param)).expect_err("refused");
        assert_eq!(error.to_string(), expect);
    };
    check("x {{ params.y }}", "", "the parameter \"y\" has no value");
    check("x {{ build.artifacts[\"z\"].url }}", "", "neither the build nor its family has an artifact \"z\"");
    check(
        "x {{ build.artifacts[\"own\"].path }}",
        "",
        "the artifact \"own\" has no path: its SHA-256 was not told, so boards fetch it from where it is",
    );
    check("x {{ board.revision }}", "", "the board has no board.revision");
    check("x {{ board.tags[\"z\"] }}", "", "the board has no board.tags[\"z\"]");
    check("x {{ params.x }}", "a\0b", "the value of params.x may only hold characters other than NUL here");
    let harmless = "text without quotes, backslashes, control characters and $ # < > ( )";
    check(
        "x {{ board.tags[\"bad\"] | raw }}",
        "",
        &format!("the value of board.tags[\"bad\"] may only hold {harmless} here"),
    );
    check(
        "x {{ build.artifacts[\"own\"].url | raw }}",
        "",
        "build.artifacts[\"own\"].url comes from a registered build and cannot stand `| raw`",
    );
}

/// Runs a script in a shell, in an empty folder; gives what it printed.
fn in_shell(shell: &[&str], script: &str, folder: &std::path::Path) -> Vec<u8> {
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; apt-get install dash busybox-static", shell[0]));
    output.stdout
}

/// Whether every value reaches its argument unchanged, in every shell.
fn reach_their_arguments(values_of: &[String]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let template =
        CommandTemplate::parse(r#"f() { printf '%s\0' "$#" "$1"; }; f {{ params.x }}"#).expect("a template");
    let script: Vec<String> =
        values_of.iter().map(|value| template.render(&values(value)).expect("no NUL")).collect();
    let expect: Vec<u8> =
        values_of.iter().flat_map(|value| [b"1\0", value.as_bytes(), b"\0"].concat()).collect();
    for shell in SHELLS {
        let said = in_shell(shell, &script.join("\n"), folder.path());
        prop_assert_eq!(&String::from_utf8_lossy(&said), &String::from_utf8_lossy(&expect), "{:?}", shell);
    }
    Ok(())
}

#[test]
fn nasty_values_reach_their_argument_unchanged() {
    let mut nasty: Vec<String> = [
        "",
        "-n",
        "--",
        "'",
        "''",
        "\\",
        "\\'",
        "$x",
        "$(id)",
        "`id`",
        "a b",
        "*",
        "~",
        "!!",
        "\u{1f600}\u{202e}",
    ]
    .map(str::to_owned)
    .into();
    nasty.extend((1..=127u8).map(|byte| char::from(byte).to_string()));
    nasty.push((1..=127u8).map(char::from).collect());
    nasty.push("\n\n".to_owned());
    nasty.push("'".repeat(500));
    reach_their_arguments(&nasty).expect("unchanged");
}

/// Pieces of shell that change how what follows is read.
fn fragment() -> impl Strategy<Value = String> {
    let pieces = [
        "'",
        "\"",
        "`",
        "$",
        "(",
        ")",
        "{",
        "}",
        "<<EOF",
        "<<-E",
        "EOF",
        "\n",
        "\\",
        "#",
        " ",
        ";",
        "&",
        "|",
        "a",
        "=",
        "$(",
        "${",
        "$((",
        "<",
        "case",
        " x in a) ",
        ";; esac",
        "\\\n",
        "eval ",
        "sh -c ",
        "'E'",
        "\t",
        "!",
        "[",
        "{{ board.site | raw }}",
    ];
    proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..8)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_value_reaches_its_argument_unchanged(
        any in proptest::collection::vec("[^\u{0}]{0,40}", 40),
        shellish in proptest::collection::vec(r#"['"`$(){}\\\n;&|<>#*?~! a-c-]{0,20}"#, 40),
    ) {
        reach_their_arguments(&[any, shellish].concat())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever a plan's author writes around a placeholder: where the command is accepted, a value that would create
    /// a file if it were ever read as a command does not.
    #[test]
    fn an_accepted_command_never_runs_a_value(before in fragment(), after in fragment()) {
        let text = format!("{before}{{{{ params.x }}}}{after}");
        if let Ok(template) = CommandTemplate::parse(&text) {
            let value = "\n:>PWNED\n'\n:>PWNED\n\"\n:>PWNED\n`:>PWNED`$(:>PWNED)\nEOF\n:>PWNED\n";
            if let Ok(script) = template.render(&values(value)) {
                let folder = tempfile::tempdir().expect("a folder");
                for shell in SHELLS {
                    in_shell(shell, &script, folder.path());
                    prop_assert!(!folder.path().join("PWNED").exists(), "{shell:?} ran the value in {text:?}");
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_template_reader_panic(text in "[{}'\"`$()<#\\\\ a-z.|\n\u{e4}]{0,60}") {
        let _ = CommandTemplate::parse(&text);
        let _ = CommandTemplate::parse_plain(&text);
        let _ = UrlTemplate::parse(&text);
    }
}
