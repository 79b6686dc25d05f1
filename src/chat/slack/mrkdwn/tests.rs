//! Hostile text stays text, and a cut never goes through markup.

use super::*;

#[track_caller]
fn check(spans: &[Span], expect: &str) {
    assert_eq!(line(&Text(spans.to_vec()), 3_000), expect);
}

fn plain(text: &str) -> Span {
    Span::Plain(text.into())
}

#[test]
fn plain_text_cannot_ping_or_link() {
    check(
        &[plain("<!channel> & <@U1> <http://x|y>")],
        "&lt;!channel&gt; &amp; &lt;@U1&gt; &lt;http://x|y&gt;",
    );
}

#[test]
fn plain_text_is_not_formatted() {
    check(&[plain("my_build_1 a*b 2 * 3")], "my_build_1 a*b 2 * 3");
    check(
        &[plain("*bold* _it_ ~gone~")],
        "\u{200b}*\u{200b}bold* \u{200b}_\u{200b}it_ \u{200b}~\u{200b}gone~",
    );
    check(&[plain("a`b`")], "a\u{200b}`\u{200b}b\u{200b}`\u{200b}");
    check(&[plain("> quote\n> more")], "\u{200b}&gt; quote\n\u{200b}&gt; more");
}

#[test]
fn control_characters_and_terminal_colours_vanish() {
    check(
        &[plain("\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;title\u{7}x\u{1b}(By\u{0}\u{8}z\u{9b}2J\u{202e}w")],
        "red xyzw",
    );
    check(&[plain("end \u{1b}")], "end");
    check(&[plain("\u{1b}[31")], "");
}

#[test]
fn bold_and_code_hold_their_ground_around_hostile_text() {
    check(&[Span::Bold("a*b\nc <x>".into())], "*a∗b c &lt;x&gt;*");
    check(&[Span::Code("a`b\u{1b}[1m &".into())], "`aˋb &amp;`");
    check(&[plain("x"), Span::Bold("y".into()), plain("z")], "x\u{200b}*y*\u{200b}z");
    check(&[plain("x "), Span::Code("y".into()), plain(", z")], "x `y`, z");
    check(&[Span::Bold(" \n".into()), Span::Code(String::new())], "");
}

#[test]
fn links_are_web_links_or_plain_labels() {
    let link = |url: &str, label: &str| Span::Link { url: url.into(), label: label.into() };
    check(&[link("https://x/a?b=1&c=|>", "log <1>")], "<https://x/a?b=1&amp;c=%7C%3E|log &lt;1&gt;>");
    for url in ["javascript:alert(1)", "ftp://x", "https://", "", "https://x y", "https://x\n", "é://"] {
        check(&[link(url, "label")], "label");
    }
    check(&[link(&format!("https://x/{}", "&".repeat(400)), "long")], "long");
}

#[test]
fn people_are_mentioned_by_id_and_named_where_slack_does_not_know_them() {
    let actor = |platform, id: &str, name: &str| {
        Span::Mention(Actor { platform, id: id.into(), team: String::new(), name: name.into() })
    };
    check(&[actor(Platform::Slack, "U0LI", "li")], "<@U0LI>");
    check(&[actor(Platform::Feishu, "ou_1", "Li <!here>")], "Li &lt;!here&gt;");
    check(&[actor(Platform::Jenkins, "nightly", "")], "jenkins:nightly");
    check(&[actor(Platform::Slack, "U1> <!channel", "")], "slack:U1&gt; &lt;!channel");
}

#[test]
fn times_are_the_readers_own() {
    let at = Timestamp::from_micros(1_531_420_618_000_000);
    check(&[Span::Time(at)], "<!date^1531420618^{date_short_pretty} {time}|2018-07-12 18:36 UTC>");
    check(&[Span::Time(Timestamp::from_micros(i64::MAX))], "1970-01-01 00:00 UTC");
}

#[test]
fn a_cut_is_at_a_character_and_never_through_markup() {
    assert_eq!(cut("añb", 3), "añb");
    assert_eq!(cut("añbc", 3), "añ…");
    assert_eq!(cut("a😀b", 3), "a…");
    assert_eq!(cut("abc", 0), "");
    let text = Text(vec![plain("see "), Span::Link { url: "https://x".into(), label: "the log".into() }]);
    assert_eq!(line(&text, 10), "see …");
    assert_eq!(line(&Text::plain("&".repeat(10)), 20), format!("{} …", "&amp;".repeat(3)));
}

#[test]
fn long_text_is_cut_into_chunks_at_lines_and_says_how_many_did_not_fit() {
    let text = Text::plain("aaaa\nbbbb\ncccc\ndddd\neeee");
    assert_eq!(chunks(&text, 10, 2), (vec!["aaaa\nbbbb".into(), "cccc\ndddd".into()], Some(1)));
    assert_eq!(chunks(&text, 10, 1), (vec!["aaaa\nbbbb".into()], Some(3)));
    assert_eq!(chunks(&text, 24, 1), (vec!["aaaa\nbbbb\ncccc\ndddd\neeee".into()], None));
    assert_eq!(chunks(&Text::plain("\n \n"), 10, 2), (vec![], None));
    assert_eq!(chunks(&Text::plain("abcdefgh"), 3, 5), (vec!["abc".into(), "def".into(), "gh".into()], None));
}
