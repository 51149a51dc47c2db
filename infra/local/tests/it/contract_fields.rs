//! Every field of a contract type is carried through to every place that needs it.
//!
//! Most of these places do not fail to compile when a field is added. One test lists those that are
//! missing. A place that a field skips on purpose is in `SKIPPED`, with the reason.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use shared::contract::product::Product;
use shared::contract::stock::Stock;

use crate::openapi::DOCUMENT;

/// The places that a field skips: type, field, place, reason.
const SKIPPED: &[(&str, &str, &str, &str)] = &[
    ("Product", "id", "inventory table", "it is the key"),
    ("Product", "status", "catalogue response", "only active products are listed"),
    ("Product", "deleted_at", "catalogue response", "deleted products are not listed"),
    ("Stock", "updated_at", "seller's response", "it is in the history of movements"),
    ("Stock", "on_hand", "catalogue response", "buyers see `available`"),
    ("Stock", "held", "catalogue response", "buyers see `available`"),
    ("Stock", "updated_at", "catalogue response", "buyers see `available`"),
];

/// The name of a field in the stores, if it differs from that in the contract.
const STORED_NAMES: &[(&str, &str, &[&str])] = &[
    ("Product", "price", &["amount", "currency"]),
    ("Product", "version", &["product_version"]),
    ("Stock", "version", &["stock_version"]),
    ("Stock", "updated_at", &["stock_updated_at"]),
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn json(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// The properties of a schema of the API.
fn properties(schema: &str) -> BTreeSet<String> {
    keys(&DOCUMENT["components"]["schemas"][schema]["properties"])
}

/// The fields of an aggregate in the golden events.
fn golden_fields(aggregate: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for file in std::fs::read_dir(root().join("shared/src/contract/golden/events")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let event: Value = serde_json::from_str(&text).unwrap();
        if let Some(object) = event["data"].get(aggregate) {
            fields.extend(keys(object));
        }
    }
    fields
}

/// The public fields of the contract's listing.
fn listing_fields() -> BTreeSet<String> {
    let text = text("shared/src/contract/listing.rs");
    let fields = text.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    fields.map(|(name, _)| name.to_owned()).collect()
}

/// The words of all migrations of inventory.
fn migration_words() -> BTreeSet<String> {
    let folder = root().join("services/inventory/migrations");
    let files = std::fs::read_dir(folder).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let is_separator = |c: char| !c.is_alphanumeric() && c != '_';
    texts
        .flat_map(|text| text.split(is_separator).map(ToOwned::to_owned).collect::<Vec<_>>())
        .collect()
}

/// A place that a field must be carried to, and the names that are there.
struct Place {
    name: &'static str,
    file: &'static str,
    found: BTreeSet<String>,
    /// Whether it is a store, which has names of its own.
    is_store: bool,
}

fn missing(type_name: &str, fields: &BTreeSet<String>, places: &[Place]) -> Vec<String> {
    let mut missing = Vec::new();
    for field in fields {
        for place in places {
            let is_skipped = SKIPPED
                .iter()
                .any(|skipped| (skipped.0, skipped.1, skipped.2) == (type_name, field, place.name));
            let stored = STORED_NAMES
                .iter()
                .find(|stored| place.is_store && (stored.0, stored.1) == (type_name, field))
                .map_or(vec![field.as_str()], |stored| stored.2.to_vec());
            let is_there = stored.iter().all(|name| place.found.contains(*name));
            if !is_there && !is_skipped {
                missing.push(format!("{type_name}.{field}: {}, {}", place.name, place.file));
            }
        }
    }
    missing
}

fn place(name: &'static str, file: &'static str, found: BTreeSet<String>) -> Place {
    Place { name, file, found, is_store: false }
}

fn fields_of<T: schemars::JsonSchema>() -> BTreeSet<String> {
    keys(&schemars::schema_for!(T).to_value()["properties"])
}

/// Fields that a seller writes go through the requests and the import as well.
fn places_of_requests() -> [Place; 3] {
    let columns = text("infra/local/src/commands/import/columns.rs");
    let columns = columns.split('"').map(ToOwned::to_owned).collect();
    [
        place("patch request", "services/inventory/src/http/input.rs", properties("ProductPatch")),
        place("import column", "infra/local/src/commands/import/columns.rs", columns),
        place(
            "fuzz input",
            "fuzz/corpus/new_product/whole",
            keys(&json("fuzz/corpus/new_product/whole")),
        ),
    ]
}

#[test]
fn fields_of_the_contract_are_carried_through() {
    let listing = listing_fields();
    let store = |name, file, found| Place { name, file, found, is_store: true };
    let product = [
        place("golden event", "shared/src/contract/golden/events/", golden_fields("product")),
        place(
            "seller's response",
            "services/inventory/src/http/responses.rs",
            properties("Product"),
        ),
        place(
            "catalogue response",
            "services/catalog/src/http/get_product.rs",
            properties("ListedProduct"),
        ),
        store("listing", "shared/src/contract/listing.rs", listing.clone()),
        store("inventory table", "services/inventory/migrations/", {
            let mut found = migration_words();
            found.insert("product_version".to_owned());
            found
        }),
    ];
    let stock = [
        place("golden event", "shared/src/contract/golden/events/", golden_fields("stock")),
        place("seller's response", "services/inventory/src/http/get_stock.rs", properties("Stock")),
        place(
            "catalogue response",
            "services/catalog/src/http/get_product.rs",
            properties("ListedProduct"),
        ),
        store("listing", "shared/src/contract/listing.rs", listing),
    ];
    let mut faults = missing("Product", &fields_of::<Product>(), &product);
    faults.extend(missing("Stock", &fields_of::<Stock>(), &stock));
    let mut written = properties("NewProduct");
    // The first stock is no field of the product: the import calls it `on_hand`.
    written.remove("stock");
    // Attributes are columns of their own: `attr:NAME`.
    written.remove("attributes");
    faults.extend(missing("NewProduct", &written, &places_of_requests()));
    assert!(
        faults.is_empty(),
        "not carried through (see \"A field of a product\" in CONTRIBUTING.md):\n{}",
        faults.join("\n")
    );
}

#[test]
fn missing_field_is_reported_for_every_place() {
    let fields = BTreeSet::from(["brand".to_owned()]);
    let missing = missing("NewProduct", &fields, &places_of_requests());
    assert_eq!(
        missing,
        [
            "NewProduct.brand: patch request, services/inventory/src/http/input.rs",
            "NewProduct.brand: import column, infra/local/src/commands/import/columns.rs",
            "NewProduct.brand: fuzz input, fuzz/corpus/new_product/whole",
        ]
    );
}
