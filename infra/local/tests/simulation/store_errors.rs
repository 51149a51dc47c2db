//! A store error at every call of every step, before or after the store has applied the call. The kinds
//! of error take turns, or each call gets all of them if the environment asks for it.

use testkit::Rates;
use testkit::{DynamoFault, PostgresFault, RandomRuns};

use crate::cases::{Case, Ready, UNDER_TEST};
use crate::operation::Done;
use crate::simulation::{Log, Outcome, Simulation};

/// Number of calls of a step to PostgreSQL and to DynamoDB.
async fn calls(case: Case, sim: &mut Simulation) -> (u64, u64) {
    let ready = case.prepare(sim).await;
    let count = |sim: &Simulation| {
        let process = &sim.processes[UNDER_TEST];
        (process.postgres.faults.calls(), process.dynamodb.calls())
    };
    let before = count(sim);
    let outcome = Case::run(sim, ready, None).await;
    assert!(matches!(outcome, Outcome::Ended(_)), "{case:?}: {outcome:?}");
    let after = count(sim);
    case.clean_up(sim).await;
    (after.0 - before.0, after.1 - before.1)
}

/// Injects a fault at one call of a step. The step must end, with a clear error if it fails, and must
/// succeed later.
async fn fail(case: Case, sim: &mut Simulation, plant: impl FnOnce(&Simulation) -> String) {
    let ready: Ready = case.prepare(sim).await;
    let fault = plant(sim);
    let outcome = Case::run(sim, ready, None).await;
    let Outcome::Ended(done) = outcome else { panic!("{case:?}, {fault}: {outcome:?}") };
    match done {
        Done::Response(response) if response.status.is_server_error() => {
            // The model accepts no server error but 503.
            assert_eq!(response.code(), "unavailable", "{case:?}, {fault}");
            assert_ne!(response.header("retry-after"), "", "{case:?}, {fault}");
        }
        Done::Response(_) | Done::Worked => {}
        Done::Failed(error) => assert!(error.contains(": "), "{case:?}, {fault}: {error}"),
    }
    case.clean_up(sim).await;
}

#[tokio::test]
async fn store_error_at_any_call_loses_nothing_and_is_reported() {
    // Each call gets so many kinds of fault, and the next call the next kinds.
    let runs = RandomRuns::from_env(2, 0);
    let kinds = usize::try_from(runs.count).unwrap();
    let mut postgres = PostgresFault::ALL.into_iter().cycle();
    let mut dynamodb = DynamoFault::ALL.into_iter().cycle();
    let (mut sites, mut faults) = (0, 0);
    for case in Case::ALL {
        let mut sim = Simulation::new(2, Rates::each(0), Log::default()).await;
        let (exchanges, requests) = calls(case, &mut sim).await;
        for nth in 0..exchanges {
            sites += 1;
            for fault in postgres.by_ref().take(kinds.min(PostgresFault::ALL.len())) {
                fail(case, &mut sim, |sim| {
                    sim.processes[UNDER_TEST].postgres.faults.once_after(nth, fault);
                    format!("{fault:?} at exchange {nth} of {exchanges}")
                })
                .await;
                faults += 1;
            }
        }
        for nth in 0..requests {
            sites += 1;
            for fault in dynamodb.by_ref().take(kinds.min(DynamoFault::ALL.len())) {
                // Once, and permanently.
                for permanently in [false, true] {
                    fail(case, &mut sim, |sim| {
                        let mut seen = 0;
                        sim.processes[UNDER_TEST].dynamodb.plan(move |_| {
                            seen += 1;
                            let hit = if permanently { seen > nth } else { seen == nth + 1 };
                            hit.then_some(fault)
                        });
                        format!(
                            "{fault:?} at request {nth} of {requests}, permanently: {permanently}"
                        )
                    })
                    .await;
                    faults += 1;
                }
            }
        }
        sim.check().await;
        sim.end().await;
    }
    println!("{faults} faults at {sites} calls of {} steps", Case::ALL.len());
}
