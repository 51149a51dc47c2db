//! The meaning of the columns of a file, from their names and from `--map`.

use std::fmt;
use std::str::FromStr;

use shared::http::escape_pointer;

/// The field of a product that a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Sku,
    Name,
    Description,
    Category,
    /// With decimals.
    Price,
    /// In minor units.
    PriceAmount,
    Currency,
    OnHand,
    Status,
    Attribute(String),
    Ignored,
}

const NAMES: [(&str, Field); 10] = [
    ("sku", Field::Sku),
    ("name", Field::Name),
    ("description", Field::Description),
    ("category", Field::Category),
    ("price", Field::Price),
    ("price_amount", Field::PriceAmount),
    ("currency", Field::Currency),
    ("on_hand", Field::OnHand),
    ("status", Field::Status),
    ("ignore", Field::Ignored),
];

/// A name that is not a field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a field; the fields are sku, name, description, category, price, price_amount, \
     currency, on_hand, status, attr:NAME and ignore"
)]
pub(super) struct UnknownField(String);

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(text: &str) -> Result<Self, UnknownField> {
        let text = text.trim();
        if let Some(name) = text.strip_prefix("attr:").map(str::trim)
            && !name.is_empty()
        {
            return Ok(Self::Attribute(name.to_owned()));
        }
        NAMES
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, field)| field)
            .ok_or_else(|| UnknownField(text.to_owned()))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Attribute(name) = self {
            return write!(f, "attr:{name}");
        }
        let named = NAMES.iter().find(|(_, field)| field == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl Field {
    /// Its JSON Pointer in a product.
    fn pointer(&self) -> Option<String> {
        Some(match self {
            Self::Price | Self::PriceAmount => "/price/amount".to_owned(),
            Self::Currency => "/price/currency".to_owned(),
            Self::OnHand => "/stock/on_hand".to_owned(),
            Self::Attribute(name) => format!("/attributes/{}", escape_pointer(name)),
            Self::Ignored => return None,
            other => format!("/{other}"),
        })
    }
}

/// `--map column=field`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    column: String,
    field: Field,
}

impl FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, field) =
            text.split_once('=').ok_or("must be COLUMN=FIELD, such as colour=attr:colour")?;
        Ok(Self {
            column: column.trim().to_owned(),
            field: field.parse().map_err(|error: UnknownField| error.to_string())?,
        })
    }
}

/// The columns of a file, in order.
#[derive(Debug)]
pub(super) struct Columns(Vec<(String, Field)>);

/// All faults of a header.
#[derive(Debug, thiserror::Error)]
#[error("invalid header: {}", .0.join("; "))]
pub(super) struct HeaderFault(Vec<String>);

impl Columns {
    pub(super) fn read(header: &[String], maps: &[Mapping]) -> Result<Self, HeaderFault> {
        let mut faults = Vec::new();
        let mut columns: Vec<(String, Field)> = Vec::new();
        let mut unknown = Vec::new();
        for name in header.iter().map(|name| name.trim()) {
            let mapped = maps.iter().find(|map| map.column == name);
            let field = match mapped {
                Some(map) => Ok(map.field.clone()),
                None => name.parse(),
            };
            match field {
                Ok(field) => columns.push((name.to_owned(), field)),
                Err(UnknownField(name)) => unknown.push(name),
            }
        }
        if let Some(first) = unknown.first() {
            let list: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
            faults.push(format!(
                "unknown column {} (use --map '{first}=attr:{first}' to import it as an attribute, \
                 or --map '{first}=ignore')",
                list.join(", "),
            ));
        }
        for map in maps {
            if !header.iter().any(|name| name.trim() == map.column) {
                faults.push(format!("there is no column {:?} to map", map.column));
            }
        }
        let count = |wanted: &Field| columns.iter().filter(|(_, field)| field == wanted).count();
        for needed in [Field::Sku, Field::Name, Field::Category] {
            if count(&needed) == 0 {
                faults.push(format!("there is no column {needed}"));
            }
        }
        if count(&Field::Price) + count(&Field::PriceAmount) != 1 {
            faults.push("there must be one column price or price_amount".to_owned());
        }
        let mut doubled: Vec<String> = columns
            .iter()
            .filter(|(_, field)| {
                let price = matches!(field, Field::Price | Field::PriceAmount | Field::Ignored);
                !price && count(field) > 1
            })
            .map(|(_, field)| format!("more than one column is {field}"))
            .collect();
        doubled.dedup();
        faults.append(&mut doubled);
        if faults.is_empty() { Ok(Self(columns)) } else { Err(HeaderFault(faults)) }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().map(|(_, field)| field)
    }

    /// The column of the field at `pointer`, if it has one.
    pub(super) fn at(&self, pointer: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, field)| field.pointer().as_deref() == Some(pointer))
            .map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[&str], maps: &[&str]) -> Result<Columns, String> {
        let header: Vec<String> = header.iter().map(ToString::to_string).collect();
        let maps: Vec<Mapping> = maps.iter().map(|map| map.parse().unwrap()).collect();
        Columns::read(&header, &maps).map_err(|fault| fault.to_string())
    }

    #[test]
    fn columns_are_known_by_name_in_any_order_and_case() {
        let header = ["Price", " SKU ", "category", "name", "attr:Colour/Shade", "On_Hand"];
        let columns = read(&header, &[]).unwrap();
        let fields: Vec<String> = columns.fields().map(ToString::to_string).collect();
        assert_eq!(fields, ["price", "sku", "category", "name", "attr:Colour/Shade", "on_hand"]);
        assert_eq!(columns.at("/price/amount"), Some("Price"));
        assert_eq!(columns.at("/attributes/Colour~1Shade"), Some("attr:Colour/Shade"));
        assert_eq!(columns.at("/price/currency"), None);
    }

    #[test]
    fn other_columns_are_mapped_by_argument() {
        let header = ["Artikel", "Titel", "category", "price_amount", "Farbe", "Notiz"];
        let maps = ["Artikel=sku", "Titel=name", "Farbe=attr:colour", "Notiz=ignore"];
        let columns = read(&header, &maps).unwrap();
        assert_eq!(columns.at("/sku"), Some("Artikel"));
        assert_eq!(columns.at("/attributes/colour"), Some("Farbe"));
    }

    #[test]
    fn argument_wins_over_the_name_of_a_column() {
        let header = ["sku", "name", "Titel", "category", "price", "Preis"];
        let maps = ["name=description", "Titel=name", "price=ignore", "Preis=price"];
        let columns = read(&header, &maps).unwrap();
        assert_eq!(columns.at("/name"), Some("Titel"));
        assert_eq!(columns.at("/description"), Some("name"));
        assert_eq!(columns.at("/price/amount"), Some("Preis"));
    }

    #[test]
    fn all_faults_of_a_header_are_reported_at_once() {
        let fault =
            read(&["sku", "sku", "price", "price_amount", "size"], &["x=name"]).unwrap_err();
        for part in [
            "unknown column \"size\" (use --map 'size=attr:size'",
            "no column \"x\" to map",
            "no column name",
            "no column category",
            "one column price or price_amount",
            "more than one column is sku",
        ] {
            assert!(fault.contains(part), "{part} in {fault}");
        }
    }

    #[test]
    fn mapping_to_an_unknown_field_is_refused() {
        for map in ["colour", "colour=", "colour=attr:", "colour=prize"] {
            assert!(map.parse::<Mapping>().is_err(), "{map}");
        }
    }
}
