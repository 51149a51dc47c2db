//! Writes the OpenAPI document without its white space, which is half of it, for the binary to embed.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const DOCUMENT: &str = "../../docs/api/openapi.json";

#[expect(clippy::disallowed_methods, reason = "Cargo sets the variables of a build")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DOCUMENT}");
    let document = fs::read_to_string(DOCUMENT).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let document: serde_json::Value = serde_json::from_str(&document)?;
    let folder = env::var("OUT_DIR")?;
    fs::write(Path::new(&folder).join("openapi.json"), document.to_string())?;
    Ok(())
}
