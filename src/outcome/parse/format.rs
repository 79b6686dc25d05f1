//! The formats and their words in a lab file. One table; `board::lab_file` and the readers are told by it.

use super::ktap::{Dialect, Ktap};
use super::{Reader, ctest, dejagnu, gtest, lava, ltp, pytest, unity, ztest};

/// A format of test results on a console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// KTAP, as KUnit and kernel selftests write it; reads TAP with numbers as well.
    Ktap,
    /// TAP 13 and 14, with subtests.
    Tap,
    /// The kselftest runner, with TAP of the single tests inside.
    Kselftest,
    /// GoogleTest.
    Gtest,
    /// `pytest -v`.
    Pytest,
    /// Unity, with and without fixtures.
    Unity,
    /// Zephyr's ztest.
    Ztest,
    /// CTest.
    Ctest,
    /// The Linux Test Project, its old and new library and `runltp`.
    Ltp,
    /// LAVA's signals.
    Lava,
    /// `PASS: name` and its family: DejaGnu, automake, busybox.
    Dejagnu,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 11] = [
        Format::Ktap,
        Format::Tap,
        Format::Kselftest,
        Format::Gtest,
        Format::Pytest,
        Format::Unity,
        Format::Ztest,
        Format::Ctest,
        Format::Ltp,
        Format::Lava,
        Format::Dejagnu,
    ];

    /// Its word in a lab file.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Ktap => "ktap",
            Format::Tap => "tap",
            Format::Kselftest => "kselftest",
            Format::Gtest => "gtest",
            Format::Pytest => "pytest",
            Format::Unity => "unity",
            Format::Ztest => "ztest",
            Format::Ctest => "ctest",
            Format::Ltp => "ltp",
            Format::Lava => "lava",
            Format::Dejagnu => "dejagnu",
        }
    }

    /// The format of a word; `automake` is another word for the family of `dejagnu`.
    pub fn from_word(word: &str) -> Option<Format> {
        let word = if word == "automake" { "dejagnu" } else { word };
        Format::ALL.into_iter().find(|format| format.as_str() == word)
    }

    /// Whether both read the same lines, so that a step that names both would count everything twice.
    pub fn overlaps(self, other: Format) -> bool {
        let tap = |format| matches!(format, Format::Ktap | Format::Tap | Format::Kselftest);
        self == other || tap(self) && tap(other)
    }

    pub(super) fn reader(self) -> Box<dyn Reader> {
        match self {
            Format::Ktap => Box::new(Ktap::new(Dialect::Ktap)),
            Format::Tap => Box::new(Ktap::new(Dialect::Tap)),
            Format::Kselftest => Box::new(Ktap::new(Dialect::Kselftest)),
            Format::Gtest => Box::<gtest::Gtest>::default(),
            Format::Pytest => Box::<pytest::Pytest>::default(),
            Format::Unity => Box::<unity::Unity>::default(),
            Format::Ztest => Box::<ztest::Ztest>::default(),
            Format::Ctest => Box::<ctest::Ctest>::default(),
            Format::Ltp => Box::<ltp::Ltp>::default(),
            Format::Lava => Box::<lava::Lava>::default(),
            Format::Dejagnu => Box::<dejagnu::Dejagnu>::default(),
        }
    }
}
