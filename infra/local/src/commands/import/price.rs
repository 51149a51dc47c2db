//! Prices as people write them in a spreadsheet, in minor units.
//!
//! Parsing uses no floats and guesses nothing: one `,` or `.` precedes the decimals, and there are at
//! most as many decimals as the currency has. A thousands separator is therefore refused rather than
//! misread: `1.299` in a currency with hundredths is ambiguous.

use shared::money::Currency;

/// Why a text is not a price in the currency.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PriceFault {
    #[error(
        "must be a number such as 129,90 or 129.90, without a currency or a thousands separator"
    )]
    NotANumber,
    #[error("has {found} decimals, but {currency} has {most}; do not use a thousands separator")]
    TooPrecise { found: usize, most: usize, currency: Currency },
    #[error("is too large")]
    TooLarge,
}

/// Reads a price: `129,9` in a currency with hundredths is 12990.
pub(super) fn minor_units(text: &str, currency: Currency) -> Result<i64, PriceFault> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, decimals) = match digits.split_once([',', '.']) {
        // `12.` is incomplete.
        Some((_, "")) => return Err(PriceFault::NotANumber),
        Some(parts) => parts,
        None => (digits, ""),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(decimals) {
        return Err(PriceFault::NotANumber);
    }
    let most = usize::from(currency.exponent());
    if decimals.len() > most {
        return Err(PriceFault::TooPrecise { found: decimals.len(), most, currency });
    }
    format!("{sign}{whole}{decimals:0<most$}").parse().map_err(|_| PriceFault::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str, currency: &str) -> Result<i64, PriceFault> {
        minor_units(text, currency.parse().unwrap())
    }

    #[test]
    fn price_becomes_minor_units_exactly() {
        for (text, currency, amount) in [
            ("129,90", "BRL", 12_990),
            ("129.90", "BRL", 12_990),
            ("129,9", "BRL", 12_990),
            ("129", "BRL", 12_900),
            ("0,01", "BRL", 1),
            ("007.5", "EUR", 750),
            ("4980", "JPY", 4_980),
            ("1.299", "KWD", 1_299),
            ("1,2", "KWD", 1_200),
            // A float would yield one less.
            ("1.15", "USD", 115),
            ("9007199254740.93", "USD", 900_719_925_474_093),
            ("-1", "BRL", -100),
        ] {
            assert_eq!(price(text, currency), Ok(amount), "{text} {currency}");
        }
    }

    #[test]
    fn price_has_at_most_the_decimals_of_its_currency() {
        let codes = testkit::three_letter_codes();
        let mut known = 0;
        for currency in codes.filter_map(|code| code.parse::<Currency>().ok()) {
            let most = usize::from(currency.exponent());
            let unit = 10_i64.pow(u32::from(currency.exponent()));
            assert_eq!(minor_units("12", currency), Ok(12 * unit), "{currency}");
            for decimals in 1..=most {
                let text = format!("12.{}", "1".repeat(decimals));
                // 12.11 in thousandths is 12110.
                let written = text.replace('.', "") + &"0".repeat(most - decimals);
                let amount = written.parse().unwrap();
                assert_eq!(minor_units(&text, currency), Ok(amount), "{text} {currency}");
            }
            let found = most + 1;
            let fault = PriceFault::TooPrecise { found, most, currency };
            let text = format!("12.{}", "0".repeat(found));
            assert_eq!(minor_units(&text, currency), Err(fault), "{text} {currency}");
            known += 1;
        }
        assert!(known > 150, "{known}");
    }

    #[test]
    fn ambiguous_or_malformed_price_is_refused() {
        for (text, currency) in [("1.299", "BRL"), ("1,299", "USD"), ("12.5", "JPY")] {
            let fault = price(text, currency);
            assert!(matches!(fault, Err(PriceFault::TooPrecise { .. })), "{text}");
        }
        for text in [
            "", "-", ",5", ".", "12.", "1.299,00", "1,299.00", "1 299", "R$ 5", "5e3", "+5", "--5",
            "٣", "NaN",
        ] {
            assert_eq!(price(text, "BRL"), Err(PriceFault::NotANumber), "{text:?}");
        }
        assert_eq!(price("99999999999999999999", "BRL"), Err(PriceFault::TooLarge));
    }
}
