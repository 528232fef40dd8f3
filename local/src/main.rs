//! `cargo run`: runs the whole system on this machine.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    local::cli::main().await
}
