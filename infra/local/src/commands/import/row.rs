//! Turns a row of a file into a product to create, or reports all of its faults.

use std::collections::BTreeMap;

use inventory::ProductView;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::contract::product::{Attributes, Status};
use shared::money::{Currency, Money};

use super::columns::{Columns, Field};
use super::price;
use super::records::Record;

/// A fault of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RowFault {
    pub(super) line: u64,
    /// The column as the header names it; `None` if the fault is of the whole row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    pub(super) code: String,
    pub(super) detail: String,
}

/// A valid row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) sku: String,
    /// The product as the API accepts it.
    pub(super) item: Box<RawValue>,
}

#[derive(Serialize)]
struct NewProduct<'a> {
    sku: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    category: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
    price: NewPrice<'a>,
    stock: NewStock,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

#[derive(Serialize)]
struct NewPrice<'a> {
    amount: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct NewStock {
    on_hand: i64,
}

/// Collects the faults of one row.
struct Faults<'a> {
    line: u64,
    columns: &'a Columns,
    found: Vec<RowFault>,
}

impl Faults<'_> {
    fn add(&mut self, pointer: &str, code: &str, detail: &str) {
        self.found.push(fault(self.line, self.columns, pointer, code, detail));
    }

    /// Reads a whole number; on failure adds a fault and returns 0.
    fn whole(&mut self, pointer: &str, text: &str) -> i64 {
        text.parse().unwrap_or_else(|_| {
            self.add(pointer, "wrong_type", "must be a whole number");
            0
        })
    }
}

/// A fault at `pointer` in the product of a row.
pub(super) fn fault(
    line: u64,
    columns: &Columns,
    pointer: &str,
    code: &str,
    detail: &str,
) -> RowFault {
    let column = columns.at(pointer).map(ToOwned::to_owned);
    let detail = match &column {
        None if !pointer.is_empty() => format!("{pointer} {detail}"),
        _ => detail.to_owned(),
    };
    RowFault { line, column, code: code.to_owned(), detail }
}

/// Turns a row into a product. Cells are trimmed, and an empty cell counts as absent.
pub(super) fn read(
    record: &Record,
    columns: &Columns,
    default_currency: Currency,
) -> Result<Row, Vec<RowFault>> {
    let mut faults = Faults { line: record.line, columns, found: Vec::new() };
    if record.cells.len() != columns.count() {
        let detail =
            format!("has {} cells, but the header has {}", record.cells.len(), columns.count());
        faults.add("", "wrong_length", &detail);
        return Err(faults.found);
    }
    let mut sent = NewProduct {
        sku: "",
        name: "",
        description: None,
        category: "",
        attributes: BTreeMap::new(),
        price: NewPrice { amount: 0, currency: default_currency.code() },
        stock: NewStock { on_hand: 0 },
        status: None,
    };
    let (mut decimal, mut amount) = (None, None);
    for (cell, field) in record.cells.iter().zip(columns.fields()) {
        let cell = cell.trim();
        match field {
            _ if cell.is_empty() => {}
            Field::Sku => sent.sku = cell,
            Field::Name => sent.name = cell,
            Field::Description => sent.description = Some(cell),
            Field::Category => sent.category = cell,
            Field::Price => decimal = Some(cell),
            Field::PriceAmount => amount = Some(cell),
            Field::Currency => sent.price.currency = cell,
            Field::OnHand => sent.stock.on_hand = faults.whole("/stock/on_hand", cell),
            Field::Status => sent.status = Some(cell),
            Field::Attribute(name) => {
                sent.attributes.insert(name, cell);
            }
            Field::Ignored => {}
        }
    }
    match (decimal, amount, sent.price.currency.parse()) {
        (Some(text), _, Ok(currency)) => match price::minor_units(text, currency) {
            Ok(minor) => sent.price.amount = minor,
            Err(error) => faults.add("/price/amount", "invalid", &error.to_string()),
        },
        // Without a currency the price has no amount. The check below reports the currency.
        (Some(_), _, Err(_)) => {}
        (None, Some(text), _) => sent.price.amount = faults.whole("/price/amount", text),
        (None, None, _) => faults.add("/price/amount", "missing_field", "must not be empty"),
    }
    // Serialising to memory cannot fail: all keys are strings.
    let item = serde_json::value::to_raw_value(&sent).unwrap_or_default();
    if let Err(errors) = inventory::check(item.get().as_bytes()) {
        for error in errors {
            faults.add(&error.pointer, &error.code, &error.detail);
        }
    }
    if faults.found.is_empty() {
        Ok(Row { line: record.line, sku: sent.sku.to_owned(), item })
    } else {
        Err(faults.found)
    }
}

impl Row {
    /// Whether `product` is the product of this row. Its stock may have changed since.
    pub(super) fn matches(&self, product: &ProductView) -> bool {
        #[derive(Deserialize)]
        struct Wanted {
            name: String,
            description: Option<String>,
            category: String,
            attributes: Attributes,
            price: Money,
            #[serde(default)]
            status: Status,
        }
        let wanted: Option<Wanted> = serde_json::from_str(self.item.get()).ok();
        wanted.is_some_and(|wanted| {
            self.sku == product.sku
                && wanted.name == product.name
                && wanted.description == product.description
                && wanted.category == product.category
                && wanted.attributes == product.attributes
                && wanted.price == product.price
                && wanted.status == product.status
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HEADER: [&str; 9] = [
        "sku",
        "name",
        "description",
        "category",
        "price",
        "currency",
        "on_hand",
        "status",
        "attr:colour",
    ];

    fn row(cells: [&str; 9]) -> Result<Value, Vec<RowFault>> {
        let header: Vec<String> = HEADER.iter().map(ToString::to_string).collect();
        let columns = Columns::read(&header, &[]).unwrap();
        let record =
            Record { line: 7, cells: cells.iter().map(ToString::to_string).collect(), end: 0 };
        read(&record, &columns, Currency::default())
            .map(|row| serde_json::from_str(row.item.get()).unwrap())
    }

    fn faults(cells: [&str; 9]) -> Vec<(String, String)> {
        row(cells)
            .unwrap_err()
            .into_iter()
            .map(|fault| {
                assert_eq!(fault.line, 7);
                (fault.column.unwrap_or_default(), fault.code)
            })
            .collect()
    }

    #[test]
    fn row_becomes_a_product_as_the_api_accepts_it() {
        let cells =
            [" S-1 ", "Tênis", "two\nlines", "shoes", "129,90", "EUR", "5", "draft", "blue"];
        assert_eq!(
            row(cells).unwrap(),
            json!({
                "sku": "S-1", "name": "Tênis", "description": "two\nlines", "category": "shoes",
                "price": {"amount": 12990, "currency": "EUR"}, "stock": {"on_hand": 5},
                "status": "draft", "attributes": {"colour": "blue"},
            })
        );
    }

    #[test]
    fn price_has_the_decimals_of_the_currency_of_its_row() {
        let price = |price, currency| {
            let cells = ["S-1", "Tênis", "", "shoes", price, currency, "5", "", ""];
            row(cells).map(|row| row["price"].clone())
        };
        // The default currency has hundredths.
        for (text, currency, amount) in
            [("129,90", "", 12_990), ("129", "JPY", 129), ("1.299", "KWD", 1_299)]
        {
            let found = price(text, currency).unwrap();
            let expected = if currency.is_empty() { Currency::default().code() } else { currency };
            assert_eq!(found, json!({"amount": amount, "currency": expected}));
        }
        assert!(price("1.5", "JPY").is_err());
    }

    #[test]
    fn amount_is_in_minor_units_of_every_currency() {
        let header = ["sku", "name", "category", "price_amount", "currency"].map(String::from);
        let columns = Columns::read(&header, &[]).unwrap();
        let read = |amount: &str, currency: &str| {
            let cells = ["S-1", "Shoe", "shoes", amount, currency].map(String::from).to_vec();
            let row = read(&Record { line: 7, cells, end: 0 }, &columns, Currency::default());
            row.map(|row| serde_json::from_str::<Value>(row.item.get()).unwrap()["price"].clone())
        };
        for (amount, currency) in [(12_990, "BRL"), (12_990, "KWD"), (5, "JPY"), (0, "EUR")] {
            let price = json!({"amount": amount, "currency": currency});
            assert_eq!(read(&amount.to_string(), currency).unwrap(), price);
        }
        let fault = read("12.5", "BRL").unwrap_err().remove(0);
        assert_eq!(
            (fault.column.as_deref(), fault.code.as_str()),
            (Some("price_amount"), "wrong_type")
        );
    }

    #[test]
    fn product_matches_its_row_in_every_field_but_stock() {
        let cells = ["S-1", "Tênis", "two\nlines", "shoes", "129,90", "EUR", "5", "draft", "blue"];
        let header: Vec<String> = HEADER.iter().map(ToString::to_string).collect();
        let columns = Columns::read(&header, &[]).unwrap();
        let cells = cells.iter().map(ToString::to_string).collect();
        let row = read(&Record { line: 7, cells, end: 0 }, &columns, Currency::default()).unwrap();
        let mut product: Value = serde_json::from_str(row.item.get()).unwrap();
        let zero = "00000000-0000-0000-0000-000000000000";
        let given = json!({
            "id": zero, "seller_id": zero, "version": 3, "content_hash": "0".repeat(64),
            "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",
        });
        product.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        product["stock"] = json!({
            "on_hand": 2, "held": 1, "available": 1, "version": 4,
            "updated_at": "2026-03-01T12:00:00Z",
        });
        let matches =
            |product: &Value| row.matches(&serde_json::from_value(product.clone()).unwrap());
        assert!(matches(&product), "{product:#}");
        let changes = [
            ("/sku", json!("S-2")),
            ("/name", json!("Tenis")),
            ("/description", json!("one line")),
            ("/category", json!("hats")),
            ("/attributes", json!({"colour": "red"})),
            ("/attributes", json!({})),
            ("/price/amount", json!(12_991)),
            ("/price/currency", json!("BRL")),
            ("/status", json!("active")),
        ];
        for (pointer, value) in changes {
            let mut other = product.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!matches(&other), "{pointer}");
        }
        product.as_object_mut().unwrap().remove("description");
        assert!(!matches(&product), "without a description");
    }

    #[test]
    fn empty_cell_counts_as_absent() {
        let cells = ["S-1", "Shoe", "", "shoes", "1", "", "", "", " "];
        assert_eq!(
            row(cells).unwrap(),
            json!({
                "sku": "S-1", "name": "Shoe", "category": "shoes", "attributes": {},
                "price": {"amount": 100, "currency": "BRL"}, "stock": {"on_hand": 0},
            })
        );
    }

    #[test]
    fn all_faults_of_a_row_are_reported_with_their_columns() {
        let found = faults(["", " ", "", "No Slug", "1.299", "", "many", "gone", "x"]);
        let found: Vec<(&str, &str)> =
            found.iter().map(|(column, code)| (column.as_str(), code.as_str())).collect();
        for expected in [
            ("sku", "invalid"),
            ("name", "invalid"),
            ("category", "invalid"),
            ("price", "invalid"),
            ("on_hand", "wrong_type"),
            ("status", "invalid"),
        ] {
            assert!(found.contains(&expected), "{expected:?} in {found:?}");
        }
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn price_in_an_unknown_currency_reports_only_the_currency() {
        let cells = ["S-1", "Shoe", "", "shoes", "1,5", "REAIS", "", "", ""];
        assert_eq!(faults(cells), [("currency".to_owned(), "invalid".to_owned())]);
        let cells = ["S-1", "Shoe", "", "shoes", "", "", "", "", ""];
        assert_eq!(faults(cells), [("price".to_owned(), "missing_field".to_owned())]);
    }
}
