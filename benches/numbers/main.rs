//! The product's numbers: what its users would notice, measured on the whole server of this process or on the program
//! itself. Results and the machine they were measured on stand in `docs/measured.md`.
//!
//! `cargo bench --bench numbers -- intake|steady|latency|burst|reserve|settle|api|console|traps|consoles|parse|pages|idle|all`

mod api;
mod console;
mod http;
mod idle;
mod intake;
mod lab;
mod latency;
mod machine;
mod pages;
mod parse;
mod reserve;
mod settle;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--bench")).collect();
    if let [mode, file] = args.as_slice()
        && mode == machine::WRITE_DISK
    {
        return machine::write_disk(std::path::Path::new(file));
    }
    if args == [console::BE_A_BOARD] {
        return console::board();
    }
    lab::log_to_nowhere();
    machine::describe();
    let all = args.is_empty() || args.iter().any(|arg| arg == "all");
    let parts: [(&str, fn()); 13] = [
        ("intake", intake::compare),
        ("steady", intake::steady),
        ("latency", latency::accepted_to_begun),
        ("burst", latency::burst),
        ("reserve", reserve::enqueue_to_lease),
        ("settle", settle::with_and_without_looking_back),
        ("api", api::reads_and_waits),
        ("console", console::throughput),
        ("traps", console::traps),
        ("consoles", console::thousand),
        ("parse", parse::throughput),
        ("pages", pages::pages),
        ("idle", idle::server),
    ];
    for (name, part) in parts {
        if all || args.iter().any(|arg| arg == name) {
            println!("\n== {name}");
            part();
        }
    }
}
