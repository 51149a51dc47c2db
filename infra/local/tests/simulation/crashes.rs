//! A crash between every two effects of every step, once and twice in a row.
//!
//! The points are those that the code names: each must be met by some step, and each step is ended
//! at each point that it meets.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use shared::bus::faulty::Rates;

use crate::cases::{Case, PATIENT};
use crate::points::{Plan, Stop};
use crate::simulation::{Log, Outcome, World};

/// The points that the code names.
fn named() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut names = BTreeSet::new();
    let mut folders: Vec<PathBuf> =
        ["shared", "services/inventory", "services/catalog", "services/sync"]
            .map(|folder| root.join(folder).join("src"))
            .into();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                for name in text.split("failpoint::reach(\"").skip(1) {
                    let name = name.split('"').next().unwrap().to_owned();
                    assert!(names.insert(name.clone()), "two points are called {name}");
                }
            }
        }
    }
    names
}

/// The points that a step meets.
async fn met(case: Case, world: &mut World) -> BTreeSet<&'static str> {
    let ready = case.prepare(world).await;
    world.processes[PATIENT].points.forget();
    let outcome = Case::go(world, ready, None).await;
    assert!(matches!(outcome, Outcome::Ended(_)), "{case:?}: {outcome:?}");
    let met = world.processes[PATIENT].points.reached();
    case.mend(world).await;
    met
}

/// Ends the step at `point`: `times` in a row, each time on the way to do what is left.
async fn crash(case: Case, world: &mut World, point: &'static str, times: u32) {
    for _ in 0..times {
        // What was not answered is sent again, which may find that it was done.
        let again = world.model.unanswered.pop().map(crate::operation::Operation::Request);
        let plan = Some(Plan::At(point, Stop::Crash));
        if let Some(again) = again
            && world.begin(PATIENT, again, plan).await.is_crash_at(point)
        {
            continue;
        }
        let ready = case.prepare(world).await;
        let outcome = Case::go(world, ready, plan).await;
        assert!(outcome.is_crash_at(point), "{case:?} at {point}: {outcome:?}");
    }
    case.mend(world).await;
}

#[tokio::test]
async fn a_crash_at_any_point_of_any_step_loses_nothing() {
    let mut left = named();
    let (mut points, mut crashes) = (0, 0);
    for case in Case::ALL {
        let mut world = World::new(1, Rates::each(0), Log::default()).await;
        for point in met(case, &mut world).await {
            left.remove(point);
            points += 1;
            for times in [1, 2] {
                crash(case, &mut world, point, times).await;
                crashes += times;
            }
        }
        world.check().await;
        world.end().await;
    }
    println!("{crashes} crashes at {points} points of {} steps", Case::ALL.len());
    assert!(left.is_empty(), "no step meets {left:?}");
}
