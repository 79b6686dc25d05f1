//! What can be wrong between the app and the simulated Slack, as plain data.

use std::time::Duration;

/// How a call of the Web API goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiFault {
    /// Carried out, then answered with status 500.
    AcceptThen500,
    /// Carried out, then the connection breaks without an answer.
    AcceptThenDrop,
    /// Status 500, not carried out.
    Error500,
    /// Carried out after this long.
    Slow(Duration),
    /// Status 429 with this `Retry-After`, in seconds.
    RateLimited(u32),
    /// `ok: false` with this error code, not carried out.
    Error(String),
}

/// A fault for the next calls of a method.
#[derive(Debug, Clone)]
pub(super) struct Injected {
    pub(super) method: String,
    pub(super) fault: ApiFault,
    pub(super) times: u32,
}

/// Takes the fault for this call off the list.
pub(super) fn take(faults: &mut Vec<Injected>, method: &str) -> Option<ApiFault> {
    let at = faults.iter().position(|fault| fault.method == "*" || fault.method == method)?;
    let fault = faults[at].fault.clone();
    faults[at].times = faults[at].times.saturating_sub(1);
    if faults[at].times == 0 {
        faults.remove(at);
    }
    Some(fault)
}

/// How deliveries to the app go wrong. The default is none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFaults {
    /// Every delivery is sent so many times more, at the same time; at most 100.
    pub duplicates: usize,
    /// The signature is of another body.
    pub wrong_signature: bool,
    /// The signature's time is off by so many seconds.
    pub skew_seconds: i64,
}

/// Most copies of one delivery.
pub(super) const DUPLICATES_MAX: usize = 100;
