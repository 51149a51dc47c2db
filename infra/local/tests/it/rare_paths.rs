//! Every branch that only a lost race or a lock reaches has a row with the tests that reach it.
//!
//! Such branches are found by their marks in the source text: clauses that let a statement wait, skip or
//! do nothing, loops that are left after too many races, and errors of a lock that had no effect. What an
//! absent store costs is asserted by the tests of [`OUTAGES`].

use std::collections::BTreeSet;

use crate::architecture::{crate_folders, shown};
use crate::sources::{name_of, production_files, production_text, test_names};

const MARKS: [&str; 13] = [
    "on conflict",
    "skip locked",
    "for update",
    "for no key update",
    "for share",
    "0..MAX_RACES",
    "is_race(",
    "LockIgnored)",
    ".condition_expression(",
    "pg_advisory",
    "lock table",
    "nowait",
    ".try_lock(",
];

/// A place and its mark (`again` for a second one there; in a migration, how often), and the tests that
/// reach it.
const PATHS: &[(&str, &[&str])] = &[
    (
        "infra/local/src/edition/data_folder.rs claim .try_lock(",
        &["second_edition_on_one_data_folder_is_refused"],
    ),
    ("infra/postgres/src/home.rs lock .try_lock(", &["orphaned_server_is_adopted"]),
    (
        "services/catalog/src/store/listings.rs put_if_unchanged .condition_expression(",
        &["listing_that_another_projector_creates_first_is_kept"],
    ),
    (
        "services/catalog/src/store/listings.rs put_if_unchanged .condition_expression( again",
        &["each_lost_race_costs_a_projector_one_read_and_one_put"],
    ),
    (
        "services/inventory/migrations/0002_sync_feed.sql 1 on conflict",
        &["repair_that_meets_another_keeps_the_greater_version_seen"],
    ),
    (
        "services/inventory/migrations/0002_sync_feed.sql 2 for share",
        &["repair_waits_for_a_change_of_its_product"],
    ),
    (
        "shared/src/database/grants.rs try_to_grant pg_advisory",
        &["release_steps_succeed_at_once_in_databases_of_one_cluster"],
    ),
    (
        "services/catalog/src/projector.rs project 0..MAX_RACES",
        &[
            "each_lost_race_costs_a_projector_one_read_and_one_put",
            "projector_that_loses_ten_races_leaves_the_event_for_later",
        ],
    ),
    (
        "services/identity/src/store/attempts.rs count on conflict",
        &["each_window_of_failures_has_a_limit_of_its_own", "concurrent_guesses_are_limited"],
    ),
    (
        "services/identity/src/store/codes.rs count_try for no key update",
        &["activation_that_loses_to_a_signup_activates_nothing"],
    ),
    (
        "services/identity/src/store/codes.rs put_reset for no key update",
        &["reset_that_loses_to_a_newer_code_changes_nothing"],
    ),
    (
        "services/identity/src/store/codes.rs put_reset on conflict",
        &["concurrent_resets_of_one_address_leave_one_code"],
    ),
    (
        "services/identity/src/store/expired.rs delete_attempts for update",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_attempts skip locked",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_claims for update",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_claims skip locked",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_codes for update",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_codes skip locked",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_refresh_tokens for update",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_refresh_tokens skip locked",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_sessions for update",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/expired.rs delete_sessions skip locked",
        &["expired_row_that_another_process_deletes_is_skipped"],
    ),
    (
        "services/identity/src/store/sessions.rs begin for share",
        &["log_in_with_a_password_that_is_being_reset_is_refused"],
    ),
    (
        "services/identity/src/store/users.rs claim on conflict",
        &["concurrent_signups_with_one_address_make_one_account"],
    ),
    (
        "services/identity/src/store/users.rs claim on conflict again",
        &["later_of_two_signups_with_an_address_owns_the_claim"],
    ),
    (
        "services/identity/src/store/users.rs put_active on conflict",
        &["demo_users_are_created_once_and_keep_their_password"],
    ),
    (
        "services/inventory/src/revise.rs apply 0..MAX_RACES",
        &[
            "change_that_loses_two_races_is_made_in_the_third_round",
            "change_that_loses_three_races_is_made_behind_a_lock",
        ],
    ),
    (
        "services/inventory/src/store/outbox.rs claim for update",
        &["event_that_another_relay_claims_is_skipped"],
    ),
    (
        "services/inventory/src/store/outbox.rs claim skip locked",
        &["event_that_another_relay_claims_is_skipped"],
    ),
    (
        "services/inventory/src/store/products/mod.rs lock for update",
        &[
            "change_that_loses_three_races_is_made_behind_a_lock",
            "product_deleted_in_the_third_race_is_not_found",
        ],
    ),
    (
        "services/inventory/src/store/repairs.rs claim for update",
        &["repair_that_another_relay_does_is_skipped"],
    ),
    (
        "services/inventory/src/store/repairs.rs claim skip locked",
        &["repair_that_another_relay_does_is_skipped"],
    ),
    (
        "services/inventory/src/store/stock.rs lock for update",
        &["concurrent_adjustments_all_count", "concurrent_counts_of_any_version_all_succeed"],
    ),
    (
        "services/inventory/src/store/stock.rs lock_any for update",
        &["repair_of_a_stock_waits_for_its_adjustment"],
    ),
    (
        "services/inventory/src/store/stock.rs replace on conflict",
        &[
            "key_used_for_another_product_during_an_adjustment_is_refused",
            "concurrent_retries_of_an_adjustment_to_zero_are_replayed",
        ],
    ),
    (
        "services/sync/src/store/buckets.rs claim for update",
        &[
            "bucket_that_another_worker_claims_is_skipped",
            "two_workers_share_the_buckets_without_overlap",
        ],
    ),
    (
        "services/sync/src/store/buckets.rs claim skip locked",
        &[
            "bucket_that_another_worker_claims_is_skipped",
            "two_workers_share_the_buckets_without_overlap",
        ],
    ),
    ("services/sync/src/store/runs.rs add on conflict", &["every_column_of_a_run_is_read_back"]),
    (
        "services/sync/src/store/runs.rs begin_background on conflict",
        &["background_pass_that_another_worker_begins_is_joined"],
    ),
    (
        "shared/src/bus/postgres/dead_letters.rs settle for update",
        &["letters_that_two_operators_redrive_at_once_are_sent_once"],
    ),
    (
        "shared/src/bus/postgres/queue.rs receive for update",
        &["message_that_another_consumer_receives_is_skipped"],
    ),
    (
        "shared/src/bus/postgres/queue.rs receive skip locked",
        &["message_that_another_consumer_receives_is_skipped"],
    ),
    (
        "shared/src/database/grants.rs grant is_race(",
        &["release_steps_succeed_at_once_in_databases_of_one_cluster"],
    ),
];

/// Reached only if PostgreSQL granted a lock to two transactions at once.
const UNREACHABLE: &[&str] = &[
    "services/inventory/src/change_stock.rs adjust LockIgnored)",
    "services/inventory/src/change_stock.rs set LockIgnored)",
    "services/inventory/src/revise.rs apply LockIgnored)",
];

/// What an outage costs, by the tests that count it: rounds, calls, attempts.
const OUTAGES: &[(&str, &str)] = &[
    ("bus, to the relay: calls a minute", "bus_that_is_out_is_called_less_and_less"),
    ("bus, to the relay: time of a call", "relay_waits_two_seconds_for_a_silent_bus"),
    ("bus, to a response: time", "response_waits_150_milliseconds_for_a_silent_bus"),
    ("DynamoDB, to the projector: calls", "store_that_is_out_costs_a_batch_one_call"),
    (
        "DynamoDB, to a message: attempts",
        "message_waits_a_second_for_a_store_that_does_not_respond",
    ),
    ("DynamoDB, to SQS: attempts", "last_failure_makes_a_dead_letter_and_an_outage_does_not"),
    ("DynamoDB, to a reconciliation: buckets", "bucket_whose_listings_cannot_be_read_stays_due"),
    ("PostgreSQL, to creates: calls", "every_waiting_row_fails_at_once_when_postgresql_is_down"),
    ("PostgreSQL, to a reconciliation: rounds", "pass_finishes_after_its_connection_goes_silent"),
    (
        "PostgreSQL, to background work: rounds",
        "failing_round_is_repeated_after_two_to_thirty_seconds",
    ),
    (
        "PostgreSQL, to background work: time",
        "hanging_round_is_cancelled_after_a_minute_and_repeated",
    ),
    ("the issuer, to requests: fetches", "unknown_keys_are_fetched_once_in_ten_seconds"),
    ("the issuer, to requests: time", "silent_issuer_does_not_delay_tokens_of_known_keys"),
];

#[test]
fn every_rare_path_names_tests_that_exist() {
    let mut found = BTreeSet::new();
    for file in production_files() {
        let text = production_text(&std::fs::read_to_string(&file).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            // Statements are in lower case; comments are not code.
            let code = line.split("//").next().unwrap_or_default();
            for mark in MARKS.iter().filter(|mark| code.contains(**mark)) {
                let is_declared = code.contains(&format!("fn {mark}"));
                if !is_declared {
                    let function = function_of(&lines, number);
                    let path = format!("{} {function} {mark}", shown(&file));
                    let again = format!("{path} again");
                    let is_new = found.insert(path) || found.insert(again);
                    assert!(is_new, "{function} has {mark} three times: two rows would hide one");
                }
            }
        }
    }
    found.extend(marks_of_migrations());
    assert!(found.len() > 20, "{found:#?}");
    let tests = test_names();
    let mut unknown: Vec<&str> = Vec::new();
    for (_, named) in PATHS {
        unknown.extend(named.iter().filter(|name| !tests.contains(**name)));
    }
    unknown.extend(OUTAGES.iter().map(|(_, name)| *name).filter(|name| !tests.contains(*name)));
    assert!(unknown.is_empty(), "no tests of these names: {unknown:#?}");
    let listed: BTreeSet<String> = PATHS
        .iter()
        .map(|(path, _)| *path)
        .chain(UNREACHABLE.iter().copied())
        .map(ToOwned::to_owned)
        .collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(missing.is_empty() && stale.is_empty(), "no test: {missing:#?}; gone: {stale:#?}");
}

/// The file, the number and the mark of what the statements of migrations lock.
fn marks_of_migrations() -> Vec<String> {
    let mut found = Vec::new();
    for folder in crate_folders() {
        for entry in std::fs::read_dir(folder.join("migrations")).into_iter().flatten() {
            let file = entry.unwrap().path();
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.lines().map(|line| line.split("--").next().unwrap_or_default());
            let code = code.collect::<Vec<_>>().join("\n");
            for mark in MARKS {
                let places = code.matches(mark).count();
                found.extend((places > 0).then(|| format!("{} {places} {mark}", shown(&file))));
            }
        }
    }
    found
}

/// The function that contains a line.
fn function_of(lines: &[&str], number: usize) -> String {
    // A line of a statement is neither a constant nor a field.
    name_of(&[&lines[..number], &[""]].concat(), number)
}
