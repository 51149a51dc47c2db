//! Every place in the code that reads DynamoDB, so that no reader is missing in the tables that state
//! the consistency of each.

use std::collections::BTreeMap;

use crate::architecture::{root, shown};
use crate::sources::{production_files, production_text};

/// Calls that read, in the SDK and in `shared::dynamodb`.
const CALLS: [&str; 8] = [
    ".get_item()",
    ".batch_get_item()",
    ".query()",
    ".scan()",
    ".transact_get_items()",
    ".execute_statement()",
    ".batch_execute_statement()",
    "dynamodb::batch_get(",
];

/// The files that read, with the number of their calls and the test that records what they ask for.
const PLACES: &[(&str, usize, &str)] = &[
    ("services/catalog/src/store/categories.rs", 1, "services/catalog/tests/it/consistency.rs"),
    ("services/catalog/src/store/listings.rs", 2, "services/catalog/tests/it/consistency.rs"),
    ("services/catalog/src/store/queries/mod.rs", 1, "services/catalog/tests/it/consistency.rs"),
    ("services/catalog/src/store/table.rs", 1, "services/catalog/tests/it/consistency.rs"),
    ("services/sync/src/store/categories.rs", 1, "services/sync/tests/it/consistency.rs"),
    ("services/sync/src/store/listings.rs", 3, "services/sync/tests/it/consistency.rs"),
    // The call behind `batch_get`, whose callers name the consistency.
    ("shared/src/dynamodb.rs", 1, "services/sync/tests/it/consistency.rs"),
    // Only whether the table responds matters; its item need not exist.
    ("shared/src/host/health.rs", 1, "shared/src/host/health.rs"),
];

#[test]
fn every_read_of_dynamodb_is_in_a_table_of_readers() {
    let mut found = BTreeMap::new();
    for file in production_files() {
        let code = production_text(&std::fs::read_to_string(&file).unwrap());
        // `uri.query()` is another method of the same name.
        let code = code.replace("uri.query()", "");
        let calls: usize = CALLS.iter().map(|call| code.matches(call).count()).sum();
        if calls > 0 {
            found.insert(shown(&file), calls);
        }
    }
    let expected = PLACES.iter().map(|(file, calls, test)| {
        assert!(root().join(test).is_file(), "{test}");
        ((*file).to_owned(), *calls)
    });
    let hint = "add the reader to the table of its service, and then its place here";
    assert_eq!(found, expected.collect(), "{hint}");
}
