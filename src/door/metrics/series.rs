//! Series: one number for each set of labels, of which there are never more than a bound. Labels come from the lab file
//! and from plans; whatever is beyond the bound is counted together, as `other`.

use std::collections::BTreeMap;

/// Most series of one name.
pub(super) const SERIES_MAX: usize = 400;
/// Longest label; a longer one is cut.
const LABEL_CHARS_MAX: usize = 80;
/// What stands for everything beyond the bound.
const OTHER: &str = "other";

/// Adds counts to series. A set of labels that came beyond the bound stays under `other`, so that no series falls.
pub(super) fn add<const N: usize>(
    series: &mut BTreeMap<[String; N], u64>,
    counts: impl IntoIterator<Item = ([String; N], u64)>,
) {
    for (labels, count) in counts {
        let labels = labels.map(|label| label.chars().take(LABEL_CHARS_MAX).collect());
        let full = series.len() + 1 >= SERIES_MAX && !series.contains_key(&labels);
        let labels = if full { [OTHER; N].map(str::to_owned) } else { labels };
        let sum = series.entry(labels).or_default();
        *sum = sum.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_bound_is_counted_together_and_nothing_falls() {
        let mut series = BTreeMap::new();
        let causes = |n: usize| (0..n).map(|i| ([format!("cause-{i:04}")], 1));
        add(&mut series, causes(2 * SERIES_MAX));
        add(&mut series, causes(2 * SERIES_MAX));
        assert_eq!(series.len(), SERIES_MAX);
        assert_eq!(series.values().sum::<u64>(), 4 * SERIES_MAX as u64);
        assert_eq!(series[&["cause-0000".to_owned()]], 2);
        assert_eq!(series[&[OTHER.to_owned()]], 2 * (SERIES_MAX as u64 + 1));
    }

    #[test]
    fn a_label_is_bounded() {
        let mut series = BTreeMap::new();
        add(&mut series, [(["ä".repeat(5_000)], 1)]);
        let (label, _) = series.first_key_value().expect("one");
        assert_eq!(label[0].chars().count(), LABEL_CHARS_MAX);
    }
}
