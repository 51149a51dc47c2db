//! A store error at every call of every step, also after the store has done it: the kinds take turns,
//! or all come to each call where that is asked for.

use shared::bus::faulty::Rates;
use testkit::{DynamoFault, PostgresFault, Scale};

use crate::cases::{Case, PATIENT, Ready};
use crate::operation::Done;
use crate::world::{Log, Outcome, World};

/// How many calls to each store a step takes.
async fn calls(case: Case, world: &mut World) -> (u64, u64) {
    let ready = case.prepare(world).await;
    let count = |world: &World| {
        let process = &world.processes[PATIENT];
        (process.line.faults.calls(), process.dynamodb.calls())
    };
    let before = count(world);
    let outcome = Case::go(world, ready, None).await;
    assert!(matches!(outcome, Outcome::Ended(_)), "{case:?}: {outcome:?}");
    let after = count(world);
    case.mend(world).await;
    (after.0 - before.0, after.1 - before.1)
}

/// A fault at one call of one step: it ends, with a clear error where it is one, and is done later.
async fn fail(case: Case, world: &mut World, plant: impl FnOnce(&World) -> String) {
    let ready: Ready = case.prepare(world).await;
    let fault = plant(world);
    let outcome = Case::go(world, ready, None).await;
    let Outcome::Ended(done) = outcome else { panic!("{case:?}, {fault}: {outcome:?}") };
    match done {
        Done::Answered(answer) if answer.status.is_server_error() => {
            // The model refuses anything but 503.
            assert_eq!(answer.code(), "unavailable", "{case:?}, {fault}");
            assert_ne!(answer.header("retry-after"), "", "{case:?}, {fault}");
        }
        Done::Answered(_) | Done::Worked => {}
        Done::Failed(error) => assert!(error.contains(": "), "{case:?}, {fault}: {error}"),
    }
    case.mend(world).await;
}

#[tokio::test]
async fn a_store_error_at_any_call_of_any_step_loses_nothing_and_is_said_clearly() {
    // To each call so many kinds of fault, and to the next call the next kinds.
    let scale = Scale::asked(2, 0);
    let kinds = usize::try_from(scale.count).unwrap();
    let mut postgres = PostgresFault::ALL.into_iter().cycle();
    let mut dynamodb = DynamoFault::ALL.into_iter().cycle();
    let (mut sites, mut faults) = (0, 0);
    for case in Case::ALL {
        let mut world = World::new(2, Rates::each(0), Log::default()).await;
        let (exchanges, requests) = calls(case, &mut world).await;
        for nth in 0..exchanges {
            sites += 1;
            for fault in postgres.by_ref().take(kinds.min(PostgresFault::ALL.len())) {
                fail(case, &mut world, |world| {
                    world.processes[PATIENT].line.faults.once_after(nth, fault);
                    format!("{fault:?} at exchange {nth} of {exchanges}")
                })
                .await;
                faults += 1;
            }
        }
        for nth in 0..requests {
            sites += 1;
            for fault in dynamodb.by_ref().take(kinds.min(DynamoFault::ALL.len())) {
                // Once, and for good.
                for for_good in [false, true] {
                    fail(case, &mut world, |world| {
                        let mut seen = 0;
                        world.processes[PATIENT].dynamodb.plan(move |_| {
                            seen += 1;
                            let hit = if for_good { seen > nth } else { seen == nth + 1 };
                            hit.then_some(fault)
                        });
                        format!("{fault:?} at request {nth} of {requests}, for good: {for_good}")
                    })
                    .await;
                    faults += 1;
                }
            }
        }
        world.check().await;
        world.end().await;
    }
    println!("{faults} faults at {sites} calls of {} steps", Case::ALL.len());
}
