//! One row of a file as a product to create, or everything that is wrong with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::contract::product::{Attributes, Product, Status};
use shared::money::{Currency, Money};

use super::columns::{Columns, Field};
use super::price;
use super::records::Record;

/// Something that is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RowFault {
    pub(super) line: u64,
    /// The column as the header names it; none where it is about the whole row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) column: Option<String>,
    pub(super) code: String,
    pub(super) detail: String,
}

/// A row that can be sent.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) sku: String,
    /// The product as the API takes it.
    pub(super) item: Box<RawValue>,
}

#[derive(Serialize)]
struct Sent<'a> {
    sku: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    category: &'a str,
    attributes: BTreeMap<&'a str, &'a str>,
    price: SentPrice<'a>,
    stock: SentStock,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

#[derive(Serialize)]
struct SentPrice<'a> {
    amount: i64,
    currency: &'a str,
}

#[derive(Serialize)]
struct SentStock {
    on_hand: i64,
}

/// Collects what is wrong with one row.
struct Faults<'a> {
    line: u64,
    columns: &'a Columns,
    found: Vec<RowFault>,
}

impl Faults<'_> {
    fn add(&mut self, pointer: &str, code: &str, detail: &str) {
        self.found.push(fault(self.line, self.columns, pointer, code, detail));
    }

    /// A whole number, or a fault and 0.
    fn whole(&mut self, pointer: &str, text: &str) -> i64 {
        text.parse().unwrap_or_else(|_| {
            self.add(pointer, "wrong_type", "must be a whole number");
            0
        })
    }
}

/// A fault at `pointer` of the product that a row makes.
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

/// Makes a product of a row. Cells are taken without the blanks around them, and an empty cell is
/// as good as none.
pub(super) fn read(
    record: &Record,
    columns: &Columns,
    default_currency: Currency,
) -> Result<Row, Vec<RowFault>> {
    let mut faults = Faults { line: record.line, columns, found: Vec::new() };
    if record.cells.len() != columns.count() {
        let detail =
            format!("has {} cells, and the header has {}", record.cells.len(), columns.count());
        faults.add("", "wrong_length", &detail);
        return Err(faults.found);
    }
    let mut sent = Sent {
        sku: "",
        name: "",
        description: None,
        category: "",
        attributes: BTreeMap::new(),
        price: SentPrice { amount: 0, currency: default_currency.code() },
        stock: SentStock { on_hand: 0 },
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
        // Without its currency nobody knows how much it is; the currency is refused below.
        (Some(_), _, Err(_)) => {}
        (None, Some(text), _) => sent.price.amount = faults.whole("/price/amount", text),
        (None, None, _) => faults.add("/price/amount", "missing_field", "must not be empty"),
    }
    // Serialising this to memory has no way to fail: its keys are strings.
    let item = serde_json::value::to_raw_value(&sent).unwrap_or_default();
    if let Err(errors) = inventory::check(item.get().as_bytes()) {
        for error in errors {
            faults.add(&error.pointer, error.code, &error.detail);
        }
    }
    if faults.found.is_empty() {
        Ok(Row { line: record.line, sku: sent.sku.to_owned(), item })
    } else {
        Err(faults.found)
    }
}

impl Row {
    /// Whether `product` is what this row would have made. Its stock may have been sold since.
    pub(super) fn is(&self, product: &Product) -> bool {
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
    fn a_row_becomes_the_product_that_the_api_takes() {
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
    fn an_empty_cell_is_as_good_as_none() {
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
    fn everything_that_is_wrong_with_a_row_is_said_with_its_column() {
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
    fn a_price_in_no_currency_is_only_told_about_the_currency() {
        let cells = ["S-1", "Shoe", "", "shoes", "1,5", "REAIS", "", "", ""];
        assert_eq!(faults(cells), [("currency".to_owned(), "invalid".to_owned())]);
        let cells = ["S-1", "Shoe", "", "shoes", "", "", "", "", ""];
        assert_eq!(faults(cells), [("price".to_owned(), "missing_field".to_owned())]);
    }
}
