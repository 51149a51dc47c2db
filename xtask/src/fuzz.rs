//! `cargo xtask fuzz`: makes what reads from outside read anything, led by what it covers.
//!
//! It is `LibFuzzer`, built by the stable compiler, whose code reports what it covers if it is told
//! to; no other tool has to be installed. Our code has no `unsafe`, so what a sanitizer would find
//! is not looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::{print, say, tree};

/// What makes the compiler report coverage, the way that `LibFuzzer` reads it.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The largest input, in bytes.
const LONGEST: u32 = 4_096;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What is to read: a folder of fuzz/corpus, or `all`
    target: String,
    /// For how long, each
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// Returns whether nothing was found.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let folder = tree::root().join("fuzz");
    let kept = folder.join("corpus");
    let targets = targets(&kept)?;
    let wanted: Vec<&String> = match args.target.as_str() {
        "all" => targets.iter().collect(),
        name => targets.iter().filter(|target| *target == name).collect(),
    };
    ensure!(!wanted.is_empty(), "{} is none of {}", args.target, targets.join(", "));
    let mut own = tree::target()?.into_os_string();
    own.push("-fuzz");
    let own = PathBuf::from(own);
    let program = build(&folder, &own)?;
    let mut found = Vec::new();
    for target in wanted {
        // What is found on the way is kept in the cache: only seeds are part of the project.
        let (corpus, artifacts) = (own.join("corpus").join(target), own.join("artifacts/"));
        fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        fs::create_dir_all(&artifacts)?;
        say(&format!("{target}: {} s", args.seconds));
        let status = Command::new(&program)
            .env("VITRINA_FUZZ", target)
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
            .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"])
            .args([&corpus, &kept.join(target)])
            .status()
            .context("starting the fuzzer")?;
        if !status.success() {
            found.push(target.as_str());
        }
    }
    if found.is_empty() {
        print("nothing was found");
    } else {
        print(&format!("found something in: {}", found.join(", ")));
        print(&format!("the inputs are in {}", own.join("artifacts").display()));
    }
    Ok(found.is_empty())
}

fn targets(kept: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(kept).with_context(|| format!("reading {}", kept.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build(folder: &Path, own: &Path) -> anyhow::Result<PathBuf> {
    // The versions of the workspace; cargo adds those of the fuzzer.
    fs::copy(tree::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let host = host()?;
    let built = tree::cargo()
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", own.join("target"))
        .env("RUSTFLAGS", FLAGS)
        // With a target, what runs while building does not report.
        .args(["build", "--release", "--target", &host])
        .status()
        .context("starting cargo")?;
    ensure!(built.success(), "the fuzzer does not build");
    Ok(own.join("target").join(host).join("release").join("fuzz"))
}

/// What the compiler calls this machine.
fn host() -> anyhow::Result<String> {
    let said = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let said = String::from_utf8(said.stdout)?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}
