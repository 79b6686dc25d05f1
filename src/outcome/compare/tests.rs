//! Comparisons as tables and as properties.

use proptest::prelude::*;

use super::*;
use crate::outcome::CaseStatus as S;

/// `a+ b- c? d~`: passed, failed, skipped, failed as expected.
fn cases(text: &str) -> Vec<TestCase> {
    let case = |word: &str| {
        let (name, sign) = word.split_at(word.len() - 1);
        let status = match sign {
            "+" => S::Passed,
            "-" => S::Failed,
            "?" => S::Skipped,
            "~" => S::ExpectedFailure,
            other => panic!("{other}"),
        };
        TestCase::new(name, status, "")
    };
    text.split_whitespace().map(case).collect()
}

fn past(number: i64, build: &str, text: &str) -> Past {
    Past { run: RunOfBuild { number, build: build.into() }, marks: Marks::of(&cases(text)) }
}

/// `new a, b; still c; 1 gone; flaky d 1/2`.
fn said(changes: &Changes) -> String {
    let Changes { new, unknown, still, fixed, gone, missing, flaky, flaky_more } = changes;
    let named = [("new", new), ("unknown", unknown), ("still", still), ("fixed", fixed)];
    let mut said: Vec<String> = named
        .iter()
        .filter(|(_, named)| named.count > 0)
        .map(|(word, named)| {
            assert_eq!(named.names.len(), (named.count as usize).min(NAMES_MAX));
            format!("{word} {}", named.names.join(", "))
        })
        .collect();
    said.extend((*gone > 0).then(|| format!("{gone} gone")));
    said.extend((*missing > 0).then(|| format!("{missing} missing")));
    said.extend(flaky.iter().map(|case| format!("flaky {} {}/{}", case.name, case.differed, case.of)));
    said.extend((*flaky_more > 0).then(|| format!("{flaky_more} more flaky")));
    said.join("; ")
}

#[test]
fn every_pair_of_ends_of_a_case_is_one_kind_of_change() {
    for (before, now, expect) in [
        ("a+", "a-", "new a"),
        ("a~", "a-", "new a"),
        ("a?", "a-", "unknown a"),
        ("b+", "a-", "unknown a; 1 missing"),
        ("a-", "a-", "still a"),
        ("a-", "a+", "fixed a"),
        ("a-", "a?", "1 gone"),
        ("a-", "a~", "1 gone"),
        ("a-", "b+", "1 gone"),
        ("a+", "a+", ""),
        ("a+", "a?", "1 missing"),
        ("a+", "a~", ""),
        ("a+ b+ c+", "b+", "2 missing"),
        ("a?", "a+", ""),
        ("a+ b- c+ d-", "a- b- c+ d+ e-", "new a; unknown e; still b; fixed d"),
        // A name that stands several times is as bad as its worst.
        ("a+ a-", "a- a+", "still a"),
        ("a+ a?", "a- a+ a-", "new a"),
        ("", "a-", "unknown a"),
        ("a-", "", "1 gone"),
    ] {
        let changes = changes(&Marks::of(&cases(before)), &cases(now), &[]);
        assert_eq!(said(&changes), expect, "{before} → {now}");
    }
}

#[test]
fn a_run_is_compared_with_the_last_one_of_another_build() {
    let good = Some(RunOfBuild { number: 1, build: "build-1".into() });
    let before = [past(3, "build-3", "a-"), past(2, "build-2", "a+ b+"), past(1, "build-1", "a+ b-")];
    let compared = |build, now: &str, before, good| compare(&past(4, build, now), &cases(now), before, good);
    let other = compared("build-3", "a- b+", &before[..], good.clone());
    assert_eq!(other.base.map(|run| run.number), Some(2));
    assert_eq!((other.changes.as_ref().map(said).as_deref(), other.good), (Some("new a"), good));
    let again = compared("build-3", "a- b+", &before[..1], None);
    assert_eq!(
        (again.base.map(|run| run.number), said(&again.changes.expect("changes"))),
        (Some(3), "still a".into())
    );
    let first = compared("build-3", "a-", &[], None);
    assert_eq!(first, Comparison { base: None, changes: None, good: None });
    let caseless = compared("build-4", "", &before[..], None);
    assert_eq!((caseless.base.map(|run| run.number), caseless.changes), (Some(3), None));
}

#[test]
fn a_case_is_flaky_when_one_build_gave_both_or_when_it_turns_too_often() {
    // Newest first: a letter a build, `+` or `-` a result.
    for (results, expect) in [
        ("a-", None),
        ("a- a-", None),
        ("b- a+", None),
        // A failure and its fix are no flake.
        ("c+ b- a+", None),
        ("d- c+ b- a+", Some((3, 4))),
        ("a- a+", Some((1, 2))),
        ("a+ a-", Some((1, 2))),
        ("a- a+ a+ a+ a+ a+ a+ a+ a+ a+", Some((1, 10))),
        ("a+ a- a- a-", Some((1, 4))),
        ("b+ a- a+", Some((2, 3))),
        // What agrees for long is not flaky any more.
        ("e- e- e- e- e- d+ c- b+ a-", None),
        ("e+ e- e- e- e- d+ c- b+ a-", Some((5, 9))),
        ("a- a- a- a- a+", Some((1, 5))),
        // A build that always fails is not made flaky by one that never does, however they take turns.
        ("b- a+ b- a+ b- a+", None),
        ("b- b- a+ a+ b- a+ b-", None),
        ("b- a+ b- a+ c- d+ e-", Some((3, 7))),
    ] {
        let parsed: Vec<(&str, bool)> =
            results.split(' ').map(|word| (&word[..1], word.ends_with('-'))).collect();
        assert_eq!(flaky(&parsed), expect, "{results}");
    }
}

#[test]
fn a_flaky_case_is_neither_new_nor_fixed() {
    let before = [past(3, "build-3", "a+ b-"), past(2, "build-2", "a+ b+"), past(1, "build-1", "a- b+")];
    let changes = |build, now| {
        let this = past(4, build, now);
        said(&changes(&before[1].marks, &cases(now), &[&this, &before[0], &before[1], &before[2]]))
    };
    assert_eq!(changes("build-3", "a- b-"), "new b; flaky a 2/4");
    assert_eq!(changes("build-4", "a- b-"), "new a, b");
    // A case that was not run has no result that could differ.
    assert_eq!(changes("build-3", "a? b-"), "new b; 1 missing");
}

#[test]
fn names_and_looks_are_bounded() {
    let many = |n: usize, sign: &str| cases(&(0..n).map(|i| format!("c{i}{sign} ")).collect::<String>());
    let base = Marks::of(&many(FLAKY_LOOKED_MAX + 5, "+"));
    let of_build = |marks: &Marks| Past { marks: marks.clone(), ..past(1, "b", "") };
    let failing = many(FLAKY_LOOKED_MAX + 5, "-");
    let found = changes(&base, &failing, &[&of_build(&Marks::of(&failing)), &of_build(&base)]);
    assert_eq!((found.flaky.len(), found.flaky_more as usize), (NAMES_MAX, FLAKY_LOOKED_MAX - NAMES_MAX));
    assert_eq!(found.new.count, 5);
    let found = changes(&base, &many(CASES_MAX + 5, "-"), &[]);
    assert_eq!((found.new.count + found.unknown.count) as usize, CASES_MAX);
    assert_eq!((found.new.names.len(), found.unknown.names.len()), (NAMES_MAX, NAMES_MAX));
    let long = "é".repeat(NAME_BYTES_MAX);
    let found = changes(&Marks::default(), &[TestCase::new(long, S::Failed, "")], &[]);
    assert!(found.unknown.names[0].len() <= NAME_BYTES_MAX && found.unknown.names[0].ends_with('…'));
}

#[test]
fn what_is_not_packed_marks_is_none() {
    let marks = Marks::of(&cases("a+ b- c?"));
    assert_eq!(Marks::unpack(&marks.pack()), Some(marks.clone()));
    assert_eq!(Marks::unpack(""), Some(Marks::default()));
    let mut backwards = marks.clone();
    backwards.0.reverse();
    let twice = Marks(vec![marks.0[0]; 2]);
    for text in ["AAAA", "!", "AAAAAAAAAAA=", &backwards.pack(), &twice.pack()] {
        assert_eq!(Marks::unpack(text), None, "{text}");
    }
    let most = Marks((0..=CASES_MAX as u64).map(|n| n << 2).collect());
    assert_eq!(Marks::unpack(&most.pack()), None);
}

fn any_cases() -> impl Strategy<Value = Vec<TestCase>> {
    let status = prop_oneof![Just(S::Passed), Just(S::Failed), Just(S::Skipped), Just(S::ExpectedFailure)];
    let case = ("[a-h]", status).prop_map(|(name, status)| TestCase::new(name, status, ""));
    proptest::collection::vec(case, 0..12)
}

/// The worst end of that name, looked for one by one.
fn worst(cases: &[TestCase], name: &str) -> Option<S> {
    let of_name: Vec<S> = cases.iter().filter(|case| case.name == name).map(|case| case.status).collect();
    [S::Failed, S::Passed, S::ExpectedFailure, S::Skipped].into_iter().find(|status| of_name.contains(status))
}

proptest! {
    #[test]
    fn marks_say_what_the_cases_say(cases in any_cases()) {
        let marks = Marks::unpack(&Marks::of(&cases).pack()).expect("they were just packed");
        for name in "abcdefgh".chars().map(|c| c.to_string()) {
            prop_assert_eq!(marks.get(key(&name)), worst(&cases, &name));
        }
    }

    #[test]
    fn every_failure_of_either_run_is_told_once(before in any_cases(), now in any_cases(), build in "[ab]") {
        let of = |cases: &[TestCase], build: &str| Past { marks: Marks::of(cases), ..past(2, build, "") };
        let changes = changes(&Marks::of(&before), &now, &[&of(&now, &build), &of(&before, "a")]);
        let failed = |cases: &[TestCase], name: &str| worst(cases, name) == Some(S::Failed);
        let names = "abcdefgh".chars().map(|c| c.to_string());
        let told = names.filter(|name| failed(&before, name) || failed(&now, name)).count();
        let Changes { new, unknown, still, fixed, gone, flaky, .. } = &changes;
        let named = new.count + unknown.count + still.count + fixed.count + gone;
        prop_assert_eq!(named as usize + flaky.len(), told, "{:?}", changes);
        // With one run before it nothing but another end of the same build is a flake.
        prop_assert!(flaky.is_empty() || build == "a");
        for case in flaky {
            prop_assert!(failed(&before, &case.name) != failed(&now, &case.name) && case.differed == 1 && case.of == 2);
        }
    }
}

#[test]
fn two_runs_stand_beside_each_other_case_by_case() {
    let base = cases("broke+ still- mended- same+ missing+ missing+ unsure+ gone-");
    let now = cases("new+ broke- fails-new- still- still- mended+ same+ unsure?");
    let found = beside(&base, &now, &[]);
    let found: Vec<_> = found.iter().map(|(kind, case)| (*kind, case.name.as_str())).collect();
    assert_eq!(
        found,
        [
            (Kind::New, "new"),
            (Kind::Broke, "broke"),
            (Kind::FailsNew, "fails-new"),
            (Kind::Still, "still"),
            (Kind::Mended, "mended"),
            (Kind::Missing, "missing"),
            (Kind::Missing, "unsure"),
            (Kind::Gone, "gone"),
        ]
    );
}
