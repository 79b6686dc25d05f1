//! What every operation of the store means: one suite over `dyn Store`, run against each implementation.
//!
//! Each file holds the tests of one part as functions over a [`Lab`], and lists them once in `store_tests!`.

mod admin;
mod batch;
mod builds;
mod call;
mod campaign;
mod drain;
pub(crate) mod file;
mod hold;
mod intake;
pub(crate) mod lab;
mod lease;
mod message;
mod outcomes;
mod queue;
mod run;
mod session;
pub(crate) mod tidy;
mod watch;
mod worker;

pub(crate) use lab::Lab;

/// Runs conformance tests against every implementation.
macro_rules! store_tests {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let lab = crate::store::Lab::sqlite().await;
                    super::$name(&lab).await;
                }
            )*
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let lab = crate::store::Lab::postgres().await;
                    super::$name(&lab).await;
                }
            )*
        }
    };
}
pub(crate) use store_tests;
