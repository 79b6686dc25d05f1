//! The page of metrics: every name, what it means, and its series at one moment. Names and units follow Prometheus' own
//! rules (base units, `_total` behind what only rises); a name that stands here once is never given another meaning.

use std::collections::BTreeMap;
use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::super::Door;
use super::{Counted, series};
use crate::clock::Timestamp;
use crate::lease::Holder;
use crate::meter::TimesSeen;
use crate::outcome::Verdict;
use crate::run::Stage;
use crate::store::{BoardRow, Tally, Waits};
use crate::worker::crew::{Shown, Standing};

pub(super) use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

const VERDICTS: [Verdict; 5] =
    [Verdict::Passed, Verdict::Failed, Verdict::Infra, Verdict::TimedOut, Verdict::Cancelled];
const STAGES: [Stage; 7] = [
    Stage::Queued,
    Stage::Leased,
    Stage::Powering,
    Stage::Booting,
    Stage::Deploying,
    Stage::Testing,
    Stage::Collecting,
];
const BOARD_STATES: [&str; 4] = ["free", "run", "held", "quarantined"];
const HOLDERS: [&str; 3] = ["run", "person", "check"];

/// Everything that is read for one page.
pub(super) struct Reading<'a> {
    door: &'a Door,
    counted: &'a Counted,
    tally: Tally,
    boards: Vec<BoardRow>,
    now: Timestamp,
}

type Labels = Vec<(&'static str, String)>;

/// A name with its series.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    series: Values,
}

#[derive(Debug)]
enum Values {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Times(TimesSeen),
}

impl<'a> Reading<'a> {
    pub(super) fn new(door: &'a Door, counted: &'a Counted, tally: Tally, boards: Vec<BoardRow>) -> Self {
        Reading { door, counted, tally, boards, now: door.clock.now() }
    }

    /// The page.
    pub(super) fn text(&self) -> String {
        let metrics = [self.process(), self.intake(), self.queue(), self.ends(), self.lab(), self.messages()];
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page(metrics.into_iter().flatten().collect())));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a String takes everything");
        text
    }

    fn process(&self) -> Vec<Metric> {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        let started = self.door.meter.started_at.as_micros() as f64 / 1e6;
        let (memory, files) = process_sizes();
        vec![
            gauges("boardhand_build_info", "Which boardhand this is", vec![(version, 1.0)]),
            gauge("process_start_time_seconds", "Since when this process runs", started),
            gauge("process_resident_memory_bytes", "Memory of this process", memory),
            gauge("process_open_fds", "Open files and connections of this process", files),
            times(
                "boardhand_store_commit_duration_seconds",
                "How long the database takes to commit a group of writes",
                self.door.store.commit_times().seen(),
            ),
            counter(
                "boardhand_store_unreadable_rows",
                "Rows left out because they cannot be read; the log names each",
                self.tally.census.unreadable,
            ),
        ]
    }

    fn intake(&self) -> Vec<Metric> {
        let meter = &self.door.meter;
        let each = meter.deliveries.each().map(|(platform, result, count)| {
            (vec![("platform", platform.as_str().to_owned()), ("result", result.to_owned())], count)
        });
        let unknown = vec![("platform", "unknown".to_owned()), ("result", "refused".to_owned())];
        let deliveries = each.chain([(unknown, meter.unknown.get())]).collect();
        vec![
            counters(
                "boardhand_deliveries",
                "Requests of platforms and programs, by how they ended",
                deliveries,
            ),
            times(
                "boardhand_ack_duration_seconds",
                "From a verified delivery to its commit, after which it is acknowledged",
                meter.answers.seen(),
            ),
        ]
    }

    fn queue(&self) -> Vec<Metric> {
        let families: Vec<String> = self
            .door
            .handler
            .inventory
            .now()
            .families
            .keys()
            .map(|family| family.as_str().to_owned())
            .collect();
        let depth = |waits: &[Waits]| {
            let none = families.iter().map(|family| ([family.clone()], 0));
            labelled(["family"], none.chain(waits.iter().map(|w| ([w.of.clone()], w.count))))
        };
        let mut ages: BTreeMap<String, f64> = families.iter().map(|family| (family.clone(), 0.0)).collect();
        for wait in self.tally.queue.iter().take(series::SERIES_MAX) {
            ages.insert(wait.of.clone(), self.now.since(wait.oldest).as_secs_f64());
        }
        let ages =
            ages.into_iter().take(series::SERIES_MAX).map(|(family, age)| (vec![("family", family)], age));
        let none = STAGES.map(|stage| ([stage.as_str().to_owned()], 0));
        let runs = labelled(
            ["state"],
            none.into_iter().chain(self.tally.runs.iter().map(|(s, n)| ([s.clone()], *n))),
        );
        vec![
            gauges("boardhand_runs", "Unfinished runs by state", runs),
            gauges("boardhand_queue_runs", "Runs that wait for a board", depth(&self.tally.queue)),
            gauges(
                "boardhand_queue_oldest_age_seconds",
                "How long the run waits that waits longest",
                ages.collect(),
            ),
            gauges(
                "boardhand_reservations_waiting",
                "People who wait for a board of their own",
                depth(&self.tally.reservations),
            ),
            times(
                "boardhand_grant_latency_seconds",
                "How long runs waited that were given a board",
                self.counted.waited.seen(),
            ),
            times(
                "boardhand_attempt_duration_seconds",
                "How long attempts took, from the board to the outcome",
                self.counted.took.seen(),
            ),
        ]
    }

    fn ends(&self) -> Vec<Metric> {
        // A series that begins at its first increase hides it from rate().
        let none =
            VERDICTS.map(|verdict| (["test".to_owned(), verdict.as_str().to_owned(), String::new()], 0));
        let by_end = |counted: &BTreeMap<[String; 3], u64>| {
            let mut all: BTreeMap<[String; 3], u64> = none.iter().cloned().collect();
            all.extend(counted.clone());
            all.into_iter()
                .map(|(labels, count)| (named(["kind", "verdict", "cause"], labels), count))
                .collect()
        };
        vec![
            counters(
                "boardhand_runs_finished",
                "Finished runs by verdict and cause",
                by_end(&self.counted.runs),
            ),
            counters(
                "boardhand_attempts",
                "Attempts that ended; one that is tried again counts too",
                by_end(&self.counted.attempts),
            ),
            counter(
                "boardhand_lease_expiries",
                "Leases taken away because nobody renewed them; their boards are fenced",
                self.counted.lapsed,
            ),
            counter(
                "boardhand_console_received_bytes",
                "Bytes received from consoles",
                self.door.meter.console_bytes.get(),
            ),
        ]
    }

    fn lab(&self) -> Vec<Metric> {
        let lab = self.door.handler.inventory.now();
        let rows: BTreeMap<_, _> = self.boards.iter().map(|row| (&row.id, row)).collect();
        let none = lab.boards.values().flat_map(|board| {
            BOARD_STATES.map(|state| {
                ([board.site.as_str().to_owned(), board.family.as_str().to_owned(), state.to_owned()], 0)
            })
        });
        let boards = lab.boards.values().map(|board| {
            let state = BoardRow::word(rows.get(&board.id).copied());
            ([board.site.as_str().to_owned(), board.family.as_str().to_owned(), state.to_owned()], 1)
        });
        let leases = self.boards.iter().filter_map(|row| row.lease.as_ref()).map(|lease| {
            let holder = match lease.holder {
                Holder::Run { .. } => "run",
                Holder::Person(_) => "person",
                Holder::Check(_) => "check",
            };
            ([holder.to_owned()], 1)
        });
        let workers = self.door.crew.shown();
        let of = |worker: &Shown| {
            let (id, site) = (worker.row.worker.id.clone(), worker.row.worker.site.as_str().to_owned());
            vec![("worker", id), ("site", site)]
        };
        let is_up = |worker: &Shown| {
            matches!(worker.standing, Standing::Alive | Standing::Draining | Standing::Leaving)
        };
        // One that was told to stop is nobody's alarm.
        let wanted = |worker: &&Shown| worker.standing != Standing::Stopped;
        let no_lease = HOLDERS.map(|holder| ([holder.to_owned()], 0));
        vec![
            gauges(
                "boardhand_boards",
                "Boards by site, family and state",
                labelled(["site", "family", "state"], none.chain(boards)),
            ),
            gauges(
                "boardhand_worker_up",
                "Whether a worker of a remote site is heard",
                workers
                    .iter()
                    .filter(wanted)
                    .map(|worker| (of(worker), f64::from(u8::from(is_up(worker)))))
                    .collect(),
            ),
            counters(
                "boardhand_worker_heartbeats",
                "Signs of life of a worker that this process heard",
                workers.iter().map(|worker| (of(worker), worker.beats)).collect(),
            ),
            gauges(
                "boardhand_leases",
                "Live leases by holder",
                labelled(["holder"], no_lease.into_iter().chain(leases)),
            ),
            gauge(
                "boardhand_errands_owed",
                "Power requests of people that are not done yet",
                self.tally.census.errands as f64,
            ),
        ]
    }

    fn messages(&self) -> Vec<Metric> {
        let owed = |value: fn(&Waits, Timestamp) -> f64| {
            let each = self.tally.owed.iter();
            each.map(|wait| (vec![("kind", wait.of.clone())], value(wait, self.now))).collect()
        };
        let calls = self.door.lines.calls().each().map(|(platform, result, count)| {
            (vec![("platform", platform.as_str().to_owned()), ("result", result.to_owned())], count)
        });
        let troubles = self.door.lines.troubles();
        let trouble = crate::chat::Platform::CHATS.map(|platform| {
            let out = troubles.iter().any(|(of, _)| *of == platform);
            (vec![("platform", platform.as_str().to_owned())], f64::from(u8::from(out)))
        });
        let sockets = self.door.sockets.iter().map(|line| {
            (
                vec![("platform", line.platform().as_str().to_owned())],
                f64::from(u8::from(line.up().is_some())),
            )
        });
        vec![
            gauges("boardhand_outbox_messages", "Messages that are owed", owed(|wait, _| wait.count as f64)),
            gauges(
                "boardhand_outbox_oldest_age_seconds",
                "How long the message is owed that is owed longest",
                owed(|wait, now| if wait.count == 0 { 0.0 } else { now.since(wait.oldest).as_secs_f64() }),
            ),
            gauge(
                "boardhand_dead_letters",
                "Messages that will never be sent",
                self.tally.census.dead as f64,
            ),
            counters(
                "boardhand_platform_calls",
                "Messages given to chat platforms, by how that ended; rate-limited is a 429",
                calls.collect(),
            ),
            gauges("boardhand_platform_trouble", "1 while a platform takes nothing of ours", trouble.into()),
            gauges(
                "boardhand_socket_up",
                "1 while a platform is heard over the line that this server dials",
                sockets.collect(),
            ),
        ]
    }
}

/// Bytes of memory and number of open files, as the kernel tells them; 0 where it does not.
fn process_sizes() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident: f64 = resident.and_then(|kb| kb.parse().ok()).unwrap_or(0.0);
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (resident * 1024.0, files as f64)
}

fn named<const N: usize>(names: [&'static str; N], labels: [String; N]) -> Labels {
    names.into_iter().zip(labels).collect()
}

/// Counts of equal labels, summed up, as gauges.
fn labelled<const N: usize>(
    names: [&'static str; N],
    counts: impl IntoIterator<Item = ([String; N], u64)>,
) -> Vec<(Labels, f64)> {
    let mut all = BTreeMap::new();
    series::add(&mut all, counts);
    all.into_iter().map(|(labels, count)| (named(names, labels), count as f64)).collect()
}

fn gauges(name: &'static str, help: &'static str, series: Vec<(Labels, f64)>) -> Metric {
    Metric { name, help, series: Values::Gauges(series) }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Metric {
    gauges(name, help, vec![(vec![], value)])
}

/// The page puts `_total` behind its name.
fn counters(name: &'static str, help: &'static str, series: Vec<(Labels, u64)>) -> Metric {
    Metric { name, help, series: Values::Counters(series) }
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    counters(name, help, vec![(vec![], value)])
}

fn times(name: &'static str, help: &'static str, seen: TimesSeen) -> Metric {
    Metric { name, help, series: Values::Times(seen) }
}

#[derive(Debug)]
struct Page(Vec<Metric>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for Metric { name, help, series } in &self.0 {
            let kind = match series {
                Values::Counters(_) => MetricType::Counter,
                Values::Gauges(_) => MetricType::Gauge,
                Values::Times(_) => MetricType::Histogram,
            };
            write(encoder.encode_descriptor(name, help, None, kind)?, series)?;
        }
        Ok(())
    }
}

fn write(mut metric: MetricEncoder<'_>, series: &Values) -> Result<(), Error> {
    let no_exemplar: Option<&Exemplar<NoLabelSet, u64>> = None;
    match series {
        Values::Counters(series) => {
            for (labels, value) in series {
                metric.encode_family(labels)?.encode_counter(value, no_exemplar)?;
            }
        }
        Values::Gauges(series) => {
            for (labels, value) in series {
                metric.encode_family(labels)?.encode_gauge(value)?;
            }
        }
        Values::Times(TimesSeen { sum, count, buckets }) => {
            metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
        }
    }
    Ok(())
}
