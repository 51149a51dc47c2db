//! Money is a whole number of minor units and a currency, never a float.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An ISO 4217 currency with a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The three letters, such as `BRL`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Number of decimals: 2 for BRL, 0 for JPY.
    pub fn exponent(self) -> u16 {
        self.0.exponent().unwrap_or_default()
    }
}

impl Default for Currency {
    /// BRL, unless `VITRINA_CURRENCY` is set.
    fn default() -> Self {
        Self(iso_currency::Currency::BRL)
    }
}

/// Not the code of a supported currency.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an ISO 4217 currency code, such as BRL")]
pub struct UnknownCurrency;

impl FromStr for Currency {
    type Err = UnknownCurrency;

    /// Upper case only, as in ISO 4217. Codes for testing, metals and units of account (`XTS`,
    /// `XXX`, `XAU`, ..) are refused, because they have no minor unit.
    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        let currency = iso_currency::Currency::from_code(code).ok_or(UnknownCurrency)?;
        let priceable = currency.code() == code && currency.exponent().is_some();
        if priceable { Ok(Self(currency)) } else { Err(UnknownCurrency) }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = std::borrow::Cow::<str>::deserialize(deserializer)?;
        code.parse().map_err(de::Error::custom)
    }
}

impl utoipa::PartialSchema for Currency {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("ISO 4217 currency code"))
            .pattern(Some("^[A-Z]{3}$"))
            .examples(["BRL"])
            .into()
    }
}

impl utoipa::ToSchema for Currency {}

impl schemars::JsonSchema for Currency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 currency code"
        })
    }
}

/// An amount of money.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
    schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// In minor units of the currency: 12990 is R$ 129,90.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 12990)]
    pub amount: i64,
    pub currency: Currency,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The currencies of ISO 4217 whose minor unit is not a hundredth.
    const OTHER_EXPONENTS: [(u16, &str); 3] = [
        (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    ];

    #[test]
    fn every_currency_has_the_minor_unit_of_iso_4217() {
        let codes = testkit::three_letter_codes();
        let mut known = 0;
        for (code, currency) in codes.filter_map(|code| Some((code.clone(), code.parse().ok()?))) {
            let currency: Currency = currency;
            let other = OTHER_EXPONENTS.iter().find(|(_, codes)| codes.contains(&code));
            assert_eq!(currency.exponent(), other.map_or(2, |(exponent, _)| *exponent), "{code}");
            assert_eq!((currency.code(), currency.to_string()), (code.as_str(), code.clone()));
            let json = serde_json::to_string(&currency).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Currency>(&json).unwrap(), currency);
            known += 1;
        }
        assert!(known > 150, "{known}");
        let others = OTHER_EXPONENTS.iter().flat_map(|(_, codes)| codes.split(' '));
        for code in others {
            assert!(code.parse::<Currency>().is_ok(), "{code}");
        }
    }

    #[test]
    fn currency_without_minor_unit_is_refused() {
        assert_eq!("BRL".parse::<Currency>().unwrap().code(), "BRL");
        assert_eq!("JPY".parse::<Currency>().unwrap().code(), "JPY");
        assert_eq!("JPY".parse::<Currency>().unwrap().exponent(), 0);
        for code in ["brl", "BR", "XXX", "XTS", "XAU", "ZZZ", ""] {
            assert_eq!(code.parse::<Currency>(), Err(UnknownCurrency), "{code}");
        }
    }
}
