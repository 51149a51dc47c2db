//! `vitrina doctor`: checks this machine and the data folder for problems, and suggests fixes.
//!
//! Promise: it changes nothing, and runs every check even if others fail.

mod clock;
mod database;
mod edition;
mod folder;
mod report;
mod settings;

use clap::Args;
use shared::config::Settings;

use crate::commands::up::Environment;
use crate::commands::up::UpArgs;
use crate::console::exit::{FAILED, OK};
use crate::console::global::Global;
use crate::console::output::print;
use crate::console::output::{Output, OutputArgs};
use crate::edition::data_folder::DataFolder;
use report::Report;

#[derive(Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    up: UpArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) async fn run(global: &Global, args: DoctorArgs) -> anyhow::Result<u8> {
    let environment = Settings::from_env();
    let folder = DataFolder::at(&global.data)?;
    let settings = settings::list(global, &args.up, &environment);
    let mut checks = vec![settings::check(&environment)];
    let state = folder.find_state();
    let running = state.running();
    checks.extend(folder::check(&folder, &state));
    checks.push(edition::check_port(args.up.listen, running).await);
    // The settings check above reports invalid settings.
    let source = Environment::database(&environment);
    let (found, time) = database::check(&source, &folder, running).await;
    checks.extend(found);
    let mut times = Vec::from_iter(time);
    if let Some(running) = running {
        let (finding, time) = edition::check(running).await;
        checks.push(finding);
        times.extend(time);
    }
    checks.push(clock::check(&times));

    let report = Report { settings, checks };
    match args.output.output {
        Output::Text => print(&report.text())?,
        Output::Json => print(&serde_json::to_string_pretty(&report)?)?,
    }
    Ok(if report.has_failed() { FAILED } else { OK })
}
