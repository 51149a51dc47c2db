//! A short run of the whole program from the command line.

use std::process::Command;

#[test]
fn measured_goal_is_printed_and_written_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--only", "p3", "--rounds", "1", "--seconds", "1", "--json"])
        .arg(&file)
        .env("CI", "1")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("P3: round 1 of 1"), "{log}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("create over HTTP, 1 connection"), "{table}");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let row = &rows.as_array().unwrap()[0];
    assert_eq!(row["id"], "P3");
    for figure in ["ceiling", "ours", "ratio", "p50_ms", "p99_ms", "min", "max"] {
        assert!(row[figure].as_f64().is_some_and(|value| value > 0.0), "{figure} in {row}");
    }
    assert!(row["met"].is_boolean() && row["goal"].is_string(), "{row}");
}

#[test]
fn unknown_goal_is_a_usage_error() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(["--only", "P99"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
