//! The integration tests: one binary, one module per feature.

mod batches;
mod browser;
mod check_connect;
mod commands;
mod console_real;
mod console_replay;
mod damage;
mod deliveries;
mod feishu;
mod health;
mod host_steps;
mod kill;
mod lab;
mod many;
mod meaning;
mod power_real;
mod power_trouble;
mod real_boards;
mod reload;
mod runs;
mod settings;
mod slack_trouble;
mod store;
mod tidy;
mod timekeeper;
mod trouble;
