//! What an outcome's facts say of its test cases, at their bounds.

use super::*;
use crate::outcome::CASES_MAX;

fn case(name: &str, took_us: Option<u64>, measured: Option<&str>) -> TestCase {
    let measurement = measured.map(|value| Measurement { value: value.into(), unit: "MB/s".into() });
    TestCase { took_us, measurement, ..TestCase::new(name, CaseStatus::Passed, "") }
}

fn facts(cases: Vec<TestCase>) -> Value {
    outcome_facts(&Outcome {
        verdict: Verdict::Passed,
        cause: String::new(),
        stage: Stage::Testing,
        detail: String::new(),
        excerpt: vec![],
        cases,
        counts: Counts::default(),
    })
}

#[test]
fn measurements_are_told_in_their_order_up_to_a_bound() {
    let told =
        facts(vec![case("read", None, Some("41.2")), case("a", None, None), case("write", None, Some("9"))]);
    let expect = json!([{"name": "read", "value": "41.2", "unit": "MB/s"}, {"name": "write", "value": "9", "unit": "MB/s"}]);
    assert_eq!((&told["measured"], &told["measured_more"]), (&expect, &json!(0)));
    let many = facts((0..CASES_MAX).map(|n| case("m", None, Some(&n.to_string()))).collect());
    assert_eq!(many["measured"].as_array().map(Vec::len), Some(MEASURED_SHOWN));
    assert_eq!(many["measured_more"], json!(CASES_MAX - MEASURED_SHOWN));
}

#[test]
fn the_slowest_cases_are_named_where_they_took_long() {
    let second = SLOWEST_TOOK_US_MIN;
    let told = facts(vec![
        case("quick", Some(second - 1), None),
        case("slow", Some(second), None),
        case("untimed", None, None),
        case("slowest", Some(83 * second), None),
    ]);
    let expect = json!([{"name": "slowest", "took_s": 83.0}, {"name": "slow", "took_s": 1.0}]);
    assert_eq!(told["slowest"], expect);
    assert_eq!(facts(vec![case("alone", Some(9 * second), None)])["slowest"], json!([]));
    let many = facts((0..100).map(|n| case("s", Some(n * second), None)).collect());
    let took: Vec<_> = many["slowest"].as_array().into_iter().flatten().map(|one| &one["took_s"]).collect();
    assert_eq!(took, [99.0, 98.0, 97.0, 96.0, 95.0]);
    assert_eq!(took.len(), SLOWEST_SHOWN);
}
