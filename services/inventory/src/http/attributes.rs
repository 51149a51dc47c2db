//! Attributes in request bodies: flat, with only those values that every store keeps unchanged.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shared::contract::product::{Attribute, describe_attribute};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

/// The digits that an IEEE 754 double and a DynamoDB number both keep exactly.
const MAX_DIGITS: usize = 15;

/// Attributes of a request body; `None` stands for `null`. Duplicate keys are refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SentAttributes(pub BTreeMap<String, Option<Attribute>>);

impl<'de> Deserialize<'de> for SentAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = SentAttributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings, numbers and booleans")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SentAttributes, A::Error> {
                let mut sent = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    // Read the text: a double would lose the further digits of a number.
                    let raw: Box<RawValue> = map.next_value()?;
                    let value = read(raw.get()).map_err(de::Error::custom)?;
                    if sent.insert(key.clone(), value).is_some() {
                        return Err(de::Error::custom(format!("duplicate field `{key}`")));
                    }
                }
                Ok(SentAttributes(sent))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// Attributes in a patch: a `null` value removes that attribute, `null` itself removes all.
pub(crate) fn describe_attribute_changes() -> Schema {
    let nothing = || ObjectBuilder::new().schema_type(Type::Null);
    let value = OneOfBuilder::new().item(nothing()).item(describe_attribute());
    let some = ObjectBuilder::new().additional_properties(Some(Schema::from(value)));
    OneOfBuilder::new().item(nothing()).item(some).into()
}

/// Reads one value from its JSON text.
fn read(json: &str) -> Result<Option<Attribute>, String> {
    match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b't') => Ok(Some(Attribute::Flag(true))),
        Some(b'f') => Ok(Some(Attribute::Flag(false))),
        Some(b'"') => serde_json::from_str(json)
            .map(|text| Some(Attribute::Text(text)))
            .map_err(|_| "is not valid text".to_owned()),
        Some(b'-' | b'0'..=b'9') => number(json).map(Some),
        _ => Err("attributes must be strings, numbers or booleans".to_owned()),
    }
}

/// Reads a JSON number that has at most 15 significant digits and is below 10^15.
fn number(json: &str) -> Result<Attribute, String> {
    let unsigned = json.trim_start_matches('-');
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Ok(Attribute::Integer(0));
    }
    if significant.len() > MAX_DIGITS {
        return Err(format!("numbers must have at most {MAX_DIGITS} significant digits"));
    }
    // The number is below 10 to this power.
    let point = mantissa.find('.').unwrap_or(mantissa.len());
    let leading_zeros = digits.len() - digits.trim_start_matches('0').len();
    let magnitude = exponent
        .parse::<i64>()
        .ok()
        .and_then(|e| e.checked_add(i64::try_from(point).ok()?))
        .and_then(|e| e.checked_sub(i64::try_from(leading_zeros).ok()?));
    match magnitude {
        Some(m) if m > 15 => Err("numbers must be below 10^15".to_owned()),
        Some(m) if m > -100 => {
            let fraction_digits = i64::try_from(significant.len()).unwrap_or(i64::MAX) - m;
            if fraction_digits <= 0 {
                let zeros = usize::try_from(-fraction_digits).unwrap_or(0);
                let whole = format!("{significant}{}", "0".repeat(zeros));
                let value: i64 = whole.parse().map_err(|_| "numbers must be below 10^15")?;
                Ok(Attribute::Integer(if json.starts_with('-') { -value } else { value }))
            } else {
                let value = json.parse().map_err(|_| "is not a number")?;
                Ok(Attribute::Decimal(value))
            }
        }
        _ => Err("numbers must be 0 or at least 10^-100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_numbers_are_read_as_one_value() {
        for (json, value) in [
            ("0", 0),
            ("-0.0", 0),
            ("0e99", 0),
            ("5", 5),
            ("5.0", 5),
            ("50e-1", 5),
            ("-5E0", -5),
            ("1.5e1", 15),
            ("999999999999999", 999_999_999_999_999),
            ("1e14", 100_000_000_000_000),
            ("0.0005e4", 5),
            ("100", 100),
        ] {
            assert_eq!(number(json), Ok(Attribute::Integer(value)), "{json}");
        }
        for (json, value) in [("1.5", 1.5), ("-0.25", -0.25), ("1e-7", 1e-7), ("12.50", 12.5)] {
            assert_eq!(number(json), Ok(Attribute::Decimal(value)), "{json}");
        }
    }

    #[test]
    fn numbers_that_a_store_would_change_are_refused() {
        for json in [
            "1e15",
            "1000000000000000",
            "1e200",
            "1e400",
            "-1e15",
            "1234567890123456",
            "0.1234567890123456",
            "1e-101",
            "1e99999999999999999999",
            "1e-99999999999999999999",
        ] {
            assert!(number(json).is_err(), "{json}");
        }
    }

    #[test]
    fn duplicate_keys_and_nested_values_are_refused() {
        for json in [r#"{"a":1,"a":2}"#, r#"{"a":{}}"#, r#"{"a":[[[]]]}"#] {
            assert!(serde_json::from_str::<SentAttributes>(json).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn accepted_number_is_unchanged_by_json(digits in 1_i64..1_000_000_000_000_000, e in 0_usize..15) {
            let text = format!("{digits:016}");
            let json = format!("{}.{}", &text[..16 - e].trim_start_matches('0'), &text[16 - e..]);
            let json = if json.starts_with('.') { format!("0{json}") } else { json };
            let json = json.trim_end_matches('.').to_owned();
            let read = number(&json).unwrap();
            let stored = serde_json::to_string(&read).unwrap();
            let again: Attribute = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(&read, &again, "{} as {}", json, stored);
        }
    }
}
