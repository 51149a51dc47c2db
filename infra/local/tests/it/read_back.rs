//! Whatever is stored or sent is read back by a test, with its value.
//!
//! The columns come from migrated tables, the attributes and headers from the code. Each table, item,
//! message and header names a test below that compares it as a whole. A column that the test does not
//! mention is reported here; a column that it does not expect fails the test itself.

use std::collections::{BTreeMap, BTreeSet};

use testkit::database;

use crate::architecture::{root, shown};
use crate::sources::{production_files, production_text};

/// A test: its file and its name.
type Test = (&'static str, &'static str);

const BUS: &str = "shared/tests/it/stored_rows.rs";
const INVENTORY: &str = "services/inventory/tests/it/stored_rows.rs";
const SYNC: &str = "services/sync/tests/it/stored_rows.rs";
const IDENTITY: &str = "services/identity/tests/it/stored_rows.rs";
const CATALOG: &str = "services/catalog/tests/it/stored_items.rs";

const TABLES: &[(&str, Test)] = &[
    ("bus.messages", (BUS, "every_column_of_a_message_is_read_back")),
    ("bus.dead_letters", (BUS, "every_column_of_a_message_is_read_back")),
    ("bus.dead_letter_audit", (BUS, "every_column_of_a_message_is_read_back")),
    ("inventory.products", (INVENTORY, "every_column_of_a_product_is_read_back")),
    ("inventory.stock", (INVENTORY, "every_column_of_a_product_is_read_back")),
    ("inventory.journal", (INVENTORY, "every_column_of_a_product_is_read_back")),
    ("inventory.outbox", (INVENTORY, "every_column_of_a_product_is_read_back")),
    ("inventory.idempotency", (INVENTORY, "every_column_of_a_product_is_read_back")),
    ("inventory.repair_requests", (INVENTORY, "every_column_of_a_repair_is_read_back")),
    ("sync.runs", (SYNC, "every_column_of_a_run_is_read_back")),
    ("sync.run_categories", (SYNC, "every_column_of_a_run_is_read_back")),
    ("sync.buckets", (SYNC, "every_column_of_a_bucket_is_read_back")),
    ("identity.users", (IDENTITY, "every_column_of_an_account_is_read_back")),
    ("identity.codes", (IDENTITY, "every_column_of_an_account_is_read_back")),
    ("identity.attempts", (IDENTITY, "every_column_of_an_account_is_read_back")),
    ("identity.sessions", (IDENTITY, "every_column_of_a_session_is_read_back")),
    ("identity.refresh_tokens", (IDENTITY, "every_column_of_a_session_is_read_back")),
];

/// Structures that are stored or sent as they are: the file and the name of each.
const STRUCTURES: &[(&str, &str, Test)] = &[
    (
        "shared/src/contract/listing.rs",
        "ListingItem",
        (CATALOG, "every_attribute_of_a_listing_is_read_back"),
    ),
    (
        "shared/src/contract/listing.rs",
        "Hop",
        (CATALOG, "every_attribute_of_a_listing_is_read_back"),
    ),
    (
        "shared/src/contract/envelope.rs",
        "Envelope<E>",
        (INVENTORY, "every_attribute_of_an_event_is_read_back"),
    ),
];

/// Attributes of messages in SQS, as constants of this file.
const SQS: &str = "shared/src/bus/aws/sqs.rs";
const SQS_ATTRIBUTES: Test =
    ("shared/tests/it/sqs_requests.rs", "every_attribute_of_a_dead_letter_is_read_back");

/// Headers of responses, each with the file that sets it.
const HEADERS: &[(&str, Test)] = &[
    (
        "services/catalog/src/http/get_product.rs cache-control",
        (
            "services/catalog/tests/it/get_product.rs",
            "product_may_be_stored_but_must_be_revalidated",
        ),
    ),
    (
        "services/catalog/src/http/get_product.rs etag",
        ("services/catalog/tests/it/get_product.rs", "listed_product_has_every_public_field"),
    ),
    (
        "services/catalog/src/http/list_categories.rs cache-control",
        (
            "services/catalog/tests/it/list_categories.rs",
            "categories_may_be_cached_for_ten_seconds",
        ),
    ),
    (
        "services/catalog/src/pages.rs cache-control",
        ("services/catalog/tests/it/list_products.rs", "page_is_cached_until_it_expires"),
    ),
    (
        "services/catalog/src/pages.rs content-type",
        (RESPONSES, "every_header_of_a_page_is_read_back"),
    ),
    (
        "services/identity/src/http/jwks.rs cache-control",
        ("services/identity/tests/it/jwks.rs", "key_set_is_that_of_the_issuer_and_cacheable"),
    ),
    (
        "services/identity/src/http/mod.rs cache-control",
        ("services/identity/tests/it/login.rs", "activated_account_can_log_in"),
    ),
    (
        "services/identity/src/http/openid_configuration.rs cache-control",
        (
            "services/identity/tests/it/openid_configuration.rs",
            "configuration_names_the_issuer_and_its_key_set",
        ),
    ),
    (
        "services/inventory/src/http/create_product.rs idempotent-replayed",
        ("services/inventory/tests/it/idempotency.rs", "retried_create_replays_the_first_response"),
    ),
    (
        "services/inventory/src/http/create_product.rs location",
        (
            "services/inventory/tests/it/create_product.rs",
            "created_product_is_read_back_with_every_field",
        ),
    ),
    (
        "services/inventory/src/http/get_product.rs etag",
        ("services/inventory/tests/it/get_product.rs", "response_is_304_when_the_etag_matches"),
    ),
    (
        "services/inventory/src/http/responses.rs etag",
        (
            "services/inventory/tests/it/get_product.rs",
            "product_has_every_field_and_the_etag_of_its_version",
        ),
    ),
    (
        "services/sync/src/http/request_reconciliation.rs location",
        (
            "services/sync/tests/it/request_reconciliation.rs",
            "accepted_run_is_pending_at_its_location",
        ),
    ),
    (
        "shared/src/host/health.rs content-type",
        (BUS, "metrics_are_plain_text_in_the_format_of_prometheus"),
    ),
    ("shared/src/http/page.rs link", (RESPONSES, "every_header_of_a_page_is_read_back")),
    ("shared/src/http/problem.rs allow", (PROBLEMS, "every_header_of_a_problem_is_read_back")),
    (
        "shared/src/http/problem.rs cache-control",
        (PROBLEMS, "every_header_of_a_problem_is_read_back"),
    ),
    (
        "shared/src/http/problem.rs content-type",
        (PROBLEMS, "every_header_of_a_problem_is_read_back"),
    ),
    (
        "shared/src/http/problem.rs retry-after",
        ("services/catalog/tests/it/get_product.rs", "missing_version_is_a_503_after_the_timeout"),
    ),
    (
        "shared/src/http/problem.rs www-authenticate",
        (PROBLEMS, "every_header_of_a_problem_is_read_back"),
    ),
    (
        "shared/src/http/request.rs x-request-id",
        (PROBLEMS, "every_header_of_a_problem_is_read_back"),
    ),
];

/// Its headers are those of mails.
const MAIL: &str = "services/identity/src/mail.rs";

const RESPONSES: &str = "services/catalog/tests/it/stored_items.rs";
const PROBLEMS: &str = "services/inventory/tests/it/stored_rows.rs";

/// Files that read headers of requests, and of responses that are on their way.
const READERS: [&str; 4] = [
    "shared/src/http/auth.rs",
    "shared/src/http/body.rs",
    "shared/src/http/conditions.rs",
    "shared/src/http/rate_limit.rs",
];

/// Headers that a file reads, although it also sets some.
const READ: [&str; 2] =
    ["shared/src/http/request.rs allow", "shared/src/http/request.rs content-type"];

#[tokio::test]
async fn every_column_is_read_back_by_a_test() {
    let migrators =
        [&shared::bus::MIGRATOR, &inventory::MIGRATOR, &sync::MIGRATOR, &identity::MIGRATOR];
    let database = database(&migrators).await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select c.table_schema || '.' || c.table_name, c.column_name::text
         from information_schema.columns c join information_schema.tables t
              on t.table_schema = c.table_schema and t.table_name = c.table_name
         where c.table_schema not in ('pg_catalog', 'information_schema', 'public')
           and t.table_type = 'BASE TABLE' and c.table_name <> 'migrations'",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(columns.len() > 80, "{columns:?}");
    let tests: BTreeMap<_, _> = TABLES.iter().copied().collect();
    let mut unread = Vec::new();
    for (table, column) in &columns {
        let test = tests.get(table.as_str());
        if !test.is_some_and(|test| mentions(*test, column)) {
            unread.push(format!("{table}.{column}"));
        }
    }
    let stale = tests.keys().filter(|table| !columns.iter().any(|(it, _)| it == *table));
    let stale: Vec<_> = stale.collect();
    assert!(unread.is_empty() && stale.is_empty(), "no test reads {unread:#?}; gone: {stale:?}");
    database.remove().await;
}

#[test]
fn every_attribute_is_read_back_by_a_test() {
    let mut unread = Vec::new();
    for (file, structure, test) in STRUCTURES {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let fields = fields(&text, structure);
        assert!(fields.len() > 4, "{structure} is not read: {fields:?}");
        let missing = fields.into_iter().filter(|field| !mentions(*test, field));
        unread.extend(missing.map(|field| format!("{structure}.{field}")));
    }
    let text = std::fs::read_to_string(root().join(SQS)).unwrap();
    let attributes: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("const ")?.1.split_once(": &str = \""))
        .map(|(_, value)| value.trim_end_matches("\";"))
        .collect();
    assert!(attributes.len() >= 4, "{attributes:?}");
    let missing = attributes.into_iter().filter(|name| !mentions(SQS_ATTRIBUTES, name));
    unread.extend(missing.map(|name| format!("{SQS} {name}")));
    assert!(unread.is_empty(), "no test reads {unread:#?}");
}

#[test]
fn every_response_header_is_read_back_by_a_test() {
    let mut headers = BTreeSet::new();
    for file in production_files() {
        let path = shown(&file);
        // The command line only sends requests.
        let is_client = ["client", "commands"]
            .iter()
            .any(|it| path.starts_with(&format!("infra/local/src/{it}/")));
        if is_client || READERS.contains(&path.as_str()) {
            continue;
        }
        let text = production_text(&std::fs::read_to_string(file).unwrap());
        // What the search below would not see.
        for hidden in ["headers.insert(\"", "headers_mut().insert(\"", ".header(\"", "header::{"] {
            let is_hidden = text.contains(hidden) && path != MAIL;
            assert!(!is_hidden, "{path}: name the header as `header::NAME` or by `HeaderName`");
        }
        let constants = text.split("header::").skip(1);
        let statics = text.split("HeaderName::from_static(\"").skip(1);
        for rest in constants.chain(statics) {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
            let name = &rest[..end.unwrap_or(rest.len())];
            // A type in the same module.
            let is_type = name.starts_with(|c: char| c.is_uppercase())
                && name.contains(|c: char| c.is_lowercase());
            if !name.is_empty() && !is_type {
                headers.insert(format!("{path} {}", name.to_lowercase().replace('_', "-")));
            }
        }
    }
    headers.retain(|header| !READ.contains(&header.as_str()));
    assert!(headers.len() > 15, "{headers:#?}");
    let tests: BTreeMap<_, _> = HEADERS.iter().copied().collect();
    let name = |header: &str| header.rsplit_once(' ').map(|(_, name)| name.to_owned()).unwrap();
    let is_read =
        |header: &String| tests.get(header.as_str()).is_some_and(|it| mentions(*it, &name(header)));
    let unread: Vec<_> = headers.iter().filter(|header| !is_read(header)).collect();
    let stale: Vec<_> = tests.keys().filter(|header| !headers.contains(**header)).collect();
    assert!(unread.is_empty() && stale.is_empty(), "no test reads {unread:#?}; gone: {stale:#?}");
}

/// The files that write items to DynamoDB: the first writes listings, and the other two the set of
/// categories, which lists of categories read back.
const WRITERS: [&str; 3] = [
    "services/catalog/src/store/categories.rs",
    "services/catalog/src/store/listings.rs",
    "services/sync/src/store/categories.rs",
];

#[test]
fn every_writer_of_items_is_known() {
    let writes =
        [".put_item()", ".update_item()", ".batch_write_item()", ".transact_write_items()"];
    let mut found: Vec<String> = Vec::new();
    for file in production_files() {
        let text = production_text(&std::fs::read_to_string(&file).unwrap());
        if writes.iter().any(|write| text.contains(write)) {
            found.push(shown(&file));
        }
    }
    found.sort();
    assert_eq!(found, WRITERS, "compare the whole item in a test, and give it a row");
}

/// Whether the code of a test contains `name` in quotes.
fn mentions((file, test): Test, name: &str) -> bool {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let start = text.find(&format!("fn {test}("));
    let start = start.unwrap_or_else(|| panic!("{file} has no test {test}"));
    let end = text[start..].find("\n}\n").map_or(text.len(), |end| start + end);
    text[start..end].contains(&format!("\"{name}\""))
}

/// The names of the fields of a structure as they are serialised. A flattened field has none.
fn fields(text: &str, structure: &str) -> Vec<String> {
    let start = text.find(&format!("pub struct {structure} {{")).unwrap();
    let end = start + text[start..].find("\n}\n").unwrap();
    let (mut fields, mut renamed, mut is_flat) = (Vec::new(), None, false);
    for line in text[start..end].lines().map(str::trim) {
        if line.starts_with("#[serde(") {
            is_flat |= line.contains("flatten");
            let name = line.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
            renamed = name.map(|(name, _)| name.to_owned()).or(renamed);
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|it| it.split_once(": "))
        {
            let name = renamed.take().unwrap_or_else(|| name.to_owned());
            if !std::mem::take(&mut is_flat) {
                fields.push(name);
            }
        }
    }
    fields
}

#[test]
fn fields_are_read_with_their_serialised_names() {
    let text = "pub struct A {\n    pub b: C,\n    #[serde(rename = \"x\")]\n    pub d: E,\n    \
                #[serde(flatten)]\n    pub f: G,\n    pub h: I,\n}\n";
    assert_eq!(fields(text, "A"), ["b", "x", "h"]);
}
