//! Near matches: the known word that somebody probably meant. Pure; the one place that decides how near is near.

/// How many near matches an answer names.
pub const NEAR_MAX: usize = 3;

/// Longest word that is compared, in characters: the comparison's cost grows with the product of the lengths.
const WORD_CHARS_MAX: usize = 80;

/// The known word nearest to `word`, when one is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near_matches(word, known).into_iter().next()
}

/// Up to [`NEAR_MAX`] known words near `word`, nearest first: at most one wrong character in three, at least one
/// (swapped neighbours count once, case does not count), or one word being the beginning of the other.
pub fn near_matches<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = word.to_lowercase();
    let length = typed.chars().count();
    if length == 0 || length > WORD_CHARS_MAX {
        return Vec::new();
    }
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|candidate| candidate.chars().count() <= WORD_CHARS_MAX)
        .filter_map(|candidate| Some((distance(&typed, &candidate.to_lowercase())?, candidate)))
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().map(|(_, candidate)| candidate).take(NEAR_MAX).collect()
}

/// How far two lower-case words are apart; `None` when neither could be meant by the other.
fn distance(typed: &str, candidate: &str) -> Option<usize> {
    let wrong = strsim::osa_distance(typed, candidate);
    let (typed_chars, candidate_chars) = (typed.chars().count(), candidate.chars().count());
    let slip =
        wrong <= (typed_chars.min(candidate_chars) / 3).max(1) && wrong < typed_chars.max(candidate_chars);
    let shortened = typed_chars.min(candidate_chars) >= 3
        && (candidate.starts_with(typed) || typed.starts_with(candidate));
    (slip || shortened).then_some(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        let check = |word: &str, expect: Option<&str>| {
            let known = ["soc_family", "soc_revision", "board_id", "board_ip", "console", "power"];
            assert_eq!(nearest(word, known), expect, "{word}");
        };
        check("soc_famly", Some("soc_family"));
        check("SOC_FAMILY", Some("soc_family"));
        check("pwoer", Some("power"));
        check("cons", Some("console"));
        check("bord_ip", Some("board_ip"));
        check("xyz", None);
        check("", None);
        check(&"p".repeat(WORD_CHARS_MAX + 1), None);
    }

    #[test]
    fn only_a_few_near_matches_are_named() {
        let boards: Vec<String> = (0..50).map(|n| format!("soc-a-{n:03}")).collect();
        assert_eq!(near_matches("soc-a-1", boards.iter().map(String::as_str)).len(), NEAR_MAX);
    }
}
