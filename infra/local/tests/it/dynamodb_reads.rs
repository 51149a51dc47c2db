//! Every place in the code that reads DynamoDB, so that no reader is missing in the tables that state
//! the consistency of each.

use std::collections::BTreeMap;
use std::path::Path;

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
    ("services/catalog/src/store/queries.rs", 1, "services/catalog/tests/it/consistency.rs"),
    ("services/catalog/src/store/table.rs", 1, "services/catalog/tests/it/consistency.rs"),
    ("services/sync/src/store/categories.rs", 1, "services/sync/tests/it/consistency.rs"),
    ("services/sync/src/store/listings.rs", 3, "services/sync/tests/it/consistency.rs"),
    // The call behind `batch_get`, whose callers name the consistency.
    ("shared/src/dynamodb.rs", 1, "services/sync/tests/it/consistency.rs"),
    // Only whether the table responds matters; its item need not exist.
    ("shared/src/host/health.rs", 1, "shared/src/host/health.rs"),
];

/// Counts the calls in the code of a folder, without its tests.
fn count(root: &Path, folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                count(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = std::fs::read_to_string(&path).unwrap();
            // `uri.query()` is another method of the same name.
            let code = code.replace("uri.query()", "");
            let calls: usize = CALLS.iter().map(|call| code.matches(call).count()).sum();
            if calls > 0 {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, calls);
            }
        }
    }
}

#[test]
fn every_read_of_dynamodb_is_in_a_table_of_readers() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut found = BTreeMap::new();
    for folder in ["services", "shared/src", "infra/local/src"] {
        count(root, &root.join(folder), &mut found);
    }
    let expected = PLACES.iter().map(|(file, calls, test)| {
        assert!(root.join(test).is_file(), "{test}");
        ((*file).to_owned(), *calls)
    });
    let hint = "add the reader to the table of its service, and then its place here";
    assert_eq!(found, expected.collect(), "{hint}");
}
