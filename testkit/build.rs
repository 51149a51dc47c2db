//! On a machine without the AWS emulator, a developer may set `VITRINA_TEST_WITHOUT_MINISTACK=1`: the
//! harness then counts the tests that need it as ignored. Whether a test is ignored is decided when it
//! is compiled.

use std::env;

const SETTING: &str = "VITRINA_TEST_WITHOUT_MINISTACK";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={SETTING}");
    println!("cargo::rustc-check-cfg=cfg(without_ministack)");
    if env::var_os(SETTING).is_some_and(|value| value == "1") {
        println!("cargo::rustc-cfg=without_ministack");
    }
}
