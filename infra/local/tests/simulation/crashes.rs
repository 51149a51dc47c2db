//! Crashes between every two effects of every step, once and twice in a row.
//!
//! The points are the failpoints in the code. Some step must reach each point, and each step is killed
//! at each point that it reaches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use testkit::Rates;

use crate::cases::{Case, UNDER_TEST};
use crate::points::{Plan, Stop};
use crate::simulation::{Log, Outcome, Simulation};

/// Names of all failpoints in the code.
fn points_in_code() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut names = BTreeSet::new();
    let services = root.join("services").read_dir().unwrap();
    let mut folders: Vec<PathBuf> =
        services.map(|entry| entry.unwrap().path().join("src")).collect();
    folders.push(root.join("shared/src"));
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                for name in text.split("failpoint::reach(\"").skip(1) {
                    let name = name.split('"').next().unwrap().to_owned();
                    assert!(names.insert(name.clone()), "two points have the name {name}");
                }
            }
        }
    }
    names
}

/// The points that a step reaches.
async fn points_of_step(case: Case, sim: &mut Simulation) -> BTreeSet<&'static str> {
    let ready = case.prepare(sim).await;
    sim.processes[UNDER_TEST].points.clear_reached();
    let outcome = Case::run(sim, ready, None).await;
    assert!(matches!(outcome, Outcome::Ended(_)), "{case:?}: {outcome:?}");
    let reached = sim.processes[UNDER_TEST].points.reached();
    case.clean_up(sim).await;
    reached
}

/// Kills the step at `point`, `times` in a row. Each retry continues with the remaining work.
async fn crash(case: Case, sim: &mut Simulation, point: &'static str, times: u32) {
    for _ in 0..times {
        // A request without a response is retried. It may already have been done.
        let again = sim.model.without_response.pop().map(crate::operation::Operation::Request);
        let plan = Some(Plan::At(point, Stop::Crash));
        if let Some(again) = again
            && sim.begin(UNDER_TEST, again, plan).await.is_crash_at(point)
        {
            continue;
        }
        let ready = case.prepare(sim).await;
        let outcome = Case::run(sim, ready, plan).await;
        assert!(outcome.is_crash_at(point), "{case:?} at {point}: {outcome:?}");
    }
    case.clean_up(sim).await;
}

#[tokio::test]
async fn crash_at_any_point_of_any_step_loses_nothing() {
    let mut left = points_in_code();
    let (mut points, mut crashes) = (0, 0);
    for case in Case::ALL {
        let mut sim = Simulation::new(1, Rates::each(0), Log::default()).await;
        for point in points_of_step(case, &mut sim).await {
            left.remove(point);
            points += 1;
            for times in [1, 2] {
                crash(case, &mut sim, point, times).await;
                crashes += times;
            }
        }
        sim.check().await;
        sim.end().await;
    }
    println!("{crashes} crashes at {points} points of {} steps", Case::ALL.len());
    assert!(left.is_empty(), "no step reaches {left:?}");
}
