//! Prints a generated page of the documentation: `metrics` or `settings`. See `.ci/describe`.

#![expect(clippy::print_stdout, reason = "its output is the page")]

fn main() -> Result<(), String> {
    match std::env::args().nth(1).as_deref() {
        Some("metrics") => print!("{}", shared::metrics::to_markdown()),
        Some("settings") => print!("{}", shared::config::catalogue::to_markdown()),
        _ => return Err("usage: describe metrics|settings".to_owned()),
    }
    Ok(())
}
