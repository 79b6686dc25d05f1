//! What a console error means, by where it happened. Pure; the verdict it leads to is `outcome::verdict`'s.

use crate::console::{ConsoleError, LoginFailure, bootloader};
use crate::outcome::verdict::Happened;
use crate::run::Stage;

/// What happened, as the verdict table has it.
pub(super) fn happened(error: &ConsoleError, stage: Stage, kernel_spoke: bool) -> Happened {
    use ConsoleError as E;
    let booting = stage <= Stage::Booting;
    match error {
        E::Port { .. } | E::Pattern(_) | E::Refused { .. } | E::Unreachable { .. } => {
            Happened::ConsoleUnreachable
        }
        E::Busy { .. } => Happened::ConsoleBusy,
        E::Silent { .. } if booting => Happened::SilentWhileBooting { kernel_started: kernel_spoke },
        E::Silent { .. } => Happened::BoardSilentInTest,
        E::NoOutput { .. } if booting => Happened::SilentWhileBooting { kernel_started: kernel_spoke },
        E::NoOutput { .. } => Happened::NoOutput,
        E::Closed { .. } | E::NotTaken { .. } => Happened::ConsoleLost,
        E::Timeout { .. } if booting => Happened::LoginNeverOffered,
        E::Timeout { .. } => Happened::StepTimeout,
        E::OutOfTime { .. } => Happened::TotalTimeout,
        E::Watch(hit) => Happened::WatchFatal {
            verdict: hit.meaning.verdict.unwrap_or(crate::outcome::Verdict::Failed),
            cause: hit.meaning.cause.clone(),
        },
        E::Reset { .. } if booting && kernel_spoke => Happened::ResetWhileBooting,
        E::Reset { .. } if booting => Happened::ResetLoop,
        E::Reset { .. } | E::LoggedOut { .. } => Happened::BoardReset,
        E::LoginFailed { reason: LoginFailure::Panic, .. } => Happened::PanicWhileBooting,
        E::LoginFailed { reason: LoginFailure::Silent, .. } => {
            Happened::SilentWhileBooting { kernel_started: kernel_spoke }
        }
        E::LoginFailed {
            reason: LoginFailure::Incorrect | LoginFailure::NoUsername | LoginFailure::NoPassword,
            ..
        } => Happened::LoginRefused,
        E::LoginFailed { reason: LoginFailure::Wedged, .. } => Happened::ConsoleWedged,
        E::LoginFailed { reason: LoginFailure::AtBootloader | LoginFailure::NoShell, .. } => {
            Happened::LoginNeverOffered
        }
        // A build that nobody put there says nothing about the board that asked for it, nor would another board get it.
        E::Bootloader { text, .. } if bootloader::is_missing(text) => Happened::ArtifactMissing,
        E::Bootloader { .. } => Happened::BootloaderError,
        E::Garbled { .. } => Happened::ConsoleLost,
        E::Command(_) | E::BootloaderLine => Happened::HostStepFailed,
        E::LeaseOver { .. } => Happened::LeaseLost,
    }
}
