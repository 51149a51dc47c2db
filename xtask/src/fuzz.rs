//! `cargo xtask fuzz`: coverage-guided fuzzing of the decoders of external input.
//!
//! It uses `LibFuzzer` with the coverage instrumentation of the stable compiler, so no other tool
//! has to be installed. The project forbids `unsafe`, so no sanitizer is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::{print, say, tree};

/// Compiler flags for the coverage counters that `LibFuzzer` reads.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Maximum size of an input, in bytes.
const MAX_LENGTH: u32 = 4_096;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The decoder to fuzz: the name of a folder in fuzz/corpus, or `all`
    target: String,
    /// Duration of each target, in seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// Returns whether the fuzzer found nothing.
pub(crate) fn run(args: &Args) -> anyhow::Result<bool> {
    let folder = tree::root().join("fuzz");
    let seeds = folder.join("corpus");
    let targets = targets(&seeds)?;
    let selected: Vec<&String> = match args.target.as_str() {
        "all" => targets.iter().collect(),
        name => targets.iter().filter(|target| *target == name).collect(),
    };
    ensure!(
        !selected.is_empty(),
        "no target {}; the targets are {}",
        args.target,
        targets.join(", ")
    );
    let mut cache = tree::target()?.into_os_string();
    cache.push("-fuzz");
    let cache = PathBuf::from(cache);
    let program = build(&folder, &cache)?;
    let mut found = Vec::new();
    for target in selected {
        // Generated inputs stay in the cache: only seeds belong to the repository.
        let (corpus, artifacts) = (cache.join("corpus").join(target), cache.join("artifacts/"));
        fs::create_dir_all(&corpus).with_context(|| format!("creating {}", corpus.display()))?;
        fs::create_dir_all(&artifacts)?;
        say(&format!("{target}: {} s", args.seconds));
        let status = Command::new(&program)
            .env("VITRINA_FUZZ", target)
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-max_len={MAX_LENGTH}"))
            .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
            .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"])
            .args([&corpus, &seeds.join(target)])
            .status()
            .context("starting the fuzzer")?;
        if !status.success() {
            found.push(target.as_str());
        }
    }
    if found.is_empty() {
        print("no failures found");
    } else {
        print(&format!("failures found in: {}", found.join(", ")));
        print(&format!("the failing inputs are in {}", cache.join("artifacts").display()));
    }
    Ok(found.is_empty())
}

fn targets(seeds: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(seeds).with_context(|| format!("reading {}", seeds.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build(folder: &Path, cache: &Path) -> anyhow::Result<PathBuf> {
    // Pins the versions of the workspace; cargo adds those of the fuzzer.
    fs::copy(tree::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let host = host()?;
    let status = tree::cargo()
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", cache.join("target"))
        .env("RUSTFLAGS", FLAGS)
        // An explicit target keeps the flags away from build scripts and procedural macros.
        .args(["build", "--release", "--target", &host])
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the fuzzer does not build");
    Ok(cache.join("target").join(host).join("release").join("fuzz"))
}

/// The target triple of this machine.
fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let version = String::from_utf8(output.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV prints no host")?.to_owned())
}
