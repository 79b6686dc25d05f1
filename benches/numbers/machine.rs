//! What is read of the machine: its load, a process' memory and CPU time; and a child that keeps the disk busy.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The argument that makes this program write to a file until it is killed.
pub(crate) const WRITE_DISK: &str = "write-disk";

/// Prints what the figures depend on.
pub(crate) fn describe() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cpus} cores, load {}", read("/proc/loadavg").trim());
}

/// Resident memory of a process (`self`, or its id) in MiB.
pub(crate) fn resident(process: &str) -> f64 {
    status_kib(process, "VmRSS:") / 1024.0
}

fn status_kib(process: &str, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0.0)
}

/// CPU seconds that every thread of a process has used.
pub(crate) fn cpu_seconds(process: &str) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    threads.map(|thread| schedstat(&thread.path().join("schedstat"))).sum()
}

/// CPU seconds that a process has used, those of threads that have ended among them.
pub(crate) fn process_cpu_seconds(process: &str) -> f64 {
    /// The kernel tells these times in hundredths of a second.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// CPU seconds of the calling thread.
pub(crate) fn thread_cpu_seconds() -> f64 {
    schedstat(Path::new("/proc/thread-self/schedstat"))
}

fn schedstat(path: &Path) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let nanos: f64 = text.split(' ').next().and_then(|n| n.trim().parse().ok()).unwrap_or(0.0);
    nanos / 1e9
}

/// A child of this program that writes and syncs as fast as the disk takes it; ends with the value.
pub(crate) struct DiskWriter(Child);

impl DiskWriter {
    /// Starts it on a file, which it makes.
    pub(crate) fn start(file: &Path) -> DiskWriter {
        let program = std::env::current_exe().expect("this program's path");
        let child = Command::new(program).arg(WRITE_DISK).arg(file).stdin(Stdio::null()).spawn();
        DiskWriter(child.expect("a child"))
    }
}

impl Drop for DiskWriter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the child does: 1 MiB blocks, synced every 16, over at most 1 GiB.
pub(crate) fn write_disk(path: &Path) {
    let block = vec![0xa5; 1 << 20];
    loop {
        let mut file = File::create(path).expect("a file");
        for n in 1..=1024 {
            file.write_all(&block).expect("write");
            if n % 16 == 0 {
                file.sync_data().expect("sync");
            }
        }
    }
}

/// Percentiles of durations in milliseconds.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    /// From durations in any order.
    pub(crate) fn of(durations: impl IntoIterator<Item = std::time::Duration>) -> Spread {
        let mut millis: Vec<f64> = durations.into_iter().map(|d| d.as_secs_f64() * 1e3).collect();
        millis.sort_by(f64::total_cmp);
        Spread(millis)
    }

    /// The `percent` percentile.
    pub(crate) fn at(&self, percent: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * percent / 100.0).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// How many are longer than `millis`.
    pub(crate) fn over(&self, millis: f64) -> usize {
        self.0.iter().filter(|m| **m > millis).count()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] = [50.0, 99.0, 100.0].map(|p| self.at(p));
        write!(f, "p50 {p50:.2} ms  p99 {p99:.2} ms  max {max:.2} ms  (n={})", self.len())
    }
}

/// The middle of several figures, and their range.
pub(crate) fn median(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let middle = figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN);
    let [least, most] = [figures.first(), figures.last()].map(|f| f.copied().unwrap_or(f64::NAN));
    format!("{middle:.2} [{least:.2}..{most:.2}]")
}
