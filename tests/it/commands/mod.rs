//! Commands, told by the people who type them and press buttons: what each sees at once, also when the bot refuses,
//! when somebody was faster, and when what they saw is out of date.

mod admin;
mod boards;
mod drains;
mod holds;
mod idle;
mod over;
mod own_runs;
mod quotas;
mod retry;
mod roles;
mod runs;
mod watches;
mod words;
