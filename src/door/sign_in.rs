//! People who sign in to the pages as in their chat: which platforms there are for that, whose session it is that a browser
//! comes with, and whether they may still be here. Nothing is decided here; what a platform said of somebody was proved by it.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;

use super::{Door, Visitor};
use crate::chat::Platform;
use crate::chat::sign_in::{Going, Proven, SignIn, Unproven};
use crate::chat::token;
use crate::command::Command;
use crate::store::USED_EVERY;

/// Most questions of sign-ins that platforms are asked at once.
pub const ASKED_AT_ONCE: usize = 16;

/// The platforms that people sign in with; none until they are set.
pub struct SignIns {
    with: OnceLock<Vec<Arc<dyn SignIn>>>,
    places: Semaphore,
}

impl Default for SignIns {
    fn default() -> Self {
        SignIns { with: OnceLock::new(), places: Semaphore::new(ASKED_AT_ONCE) }
    }
}

impl SignIns {
    /// These, once.
    pub(crate) fn set(&self, with: Vec<Arc<dyn SignIn>>) {
        let _ = self.with.set(with);
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<dyn SignIn>] {
        self.with.get().map_or(&[], Vec::as_slice)
    }

    /// That of a platform.
    pub(crate) fn with(&self, platform: Platform) -> Option<&Arc<dyn SignIn>> {
        self.all().iter().find(|way| way.platform() == platform)
    }

    /// Where a browser is sent; `None` while so many others ask.
    pub(crate) async fn address(&self, way: &dyn SignIn, going: &Going) -> Option<String> {
        let _place = self.places.try_acquire().ok()?;
        Some(way.address(going).await)
    }

    /// Who came back with a code.
    pub(crate) async fn prove(
        &self,
        way: &dyn SignIn,
        code: &str,
        going: &Going,
    ) -> Result<Proven, Unproven> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(Unproven::Away("too many sign in at once".to_owned()));
        };
        way.prove(code, going).await
    }
}

/// What whoever is at a page must be allowed: looking.
pub(crate) const LOOKS: Command = Command::Boards { filter: None };

impl Door {
    /// Whose session of this digest it is, where they may still be here: their roles are those of now.
    pub(crate) async fn signed_in(&self, digest: &[u8; 32]) -> Option<Visitor> {
        let found = match self.store.session_by_hash(digest).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the store does not say whose session this is");
                return None;
            }
        };
        let now = self.clock.now();
        let row = found.filter(|row| token::is_same(&row.hash, digest) && row.is_live(now))?;
        self.sign_ins.with(row.by.platform)?;
        let visitor = self.person(row.by, row.foreign);
        if !self.may(&visitor, &LOOKS).await {
            return None;
        }
        let used_lately = row.used_at.is_some_and(|at| now.since(at) < USED_EVERY);
        if !used_lately && let Err(error) = self.store.session_used(digest, now).await {
            tracing::warn!(%error, "it is not kept that a session was used");
        }
        Some(visitor)
    }
}
