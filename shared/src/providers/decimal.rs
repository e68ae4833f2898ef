//! Decimal numbers of a JSON text, digit by digit.
//!
//! Toast and Lightspeed send decimals, and `0.1 + 0.2` is not `0.3` in a float.

use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::PayloadError;
use crate::domain::{Currency, Minor};

/// A thousand billions. Sums of what is smaller cannot overflow, so they need no care.
const LARGEST: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// An exact decimal, written as a number or as a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Exact(pub Decimal);

impl<'de> Deserialize<'de> for Exact {
    /// From a slice or a text only: the digits are borrowed from there.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let text = raw.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(raw);
        let exact = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
        match exact {
            Ok(exact) if exact.abs() <= LARGEST => Ok(Self(exact)),
            Ok(_) | Err(_) => Err(D::Error::custom("no decimal number of a till")),
        }
    }
}

/// Totals and payments: to the cent, or refused.
pub(super) fn exact_minor(amount: Exact, currency: Currency, path: &str) -> Result<Minor, PayloadError> {
    Minor::from_decimal(amount.0, currency).ok_or_else(|| PayloadError::invalid(path))
}

/// Taxes and what lines come to.
pub(super) fn rounded_minor(amount: Decimal, currency: Currency, path: &str) -> Result<Minor, PayloadError> {
    Minor::from_decimal_rounded_half_even(amount, currency).ok_or_else(|| PayloadError::out_of_range(path))
}

/// The exact sum.
pub(super) fn sum_exact(amounts: impl IntoIterator<Item = Decimal>, path: &str) -> Result<Decimal, PayloadError> {
    let mut amounts = amounts.into_iter();
    amounts
        .try_fold(Decimal::ZERO, |sum, amount| sum.checked_add(amount))
        .ok_or_else(|| PayloadError::out_of_range(path))
}

/// The sum of whole cents.
pub(super) fn sum_minor(amounts: impl IntoIterator<Item = Minor>, path: &str) -> Result<Minor, PayloadError> {
    Minor::sum(amounts).map_err(|_| PayloadError::out_of_range(path))
}

/// The sum of whole cents, each of which may be unreadable.
pub(super) fn try_sum_minor(
    amounts: impl IntoIterator<Item = Result<Minor, PayloadError>>,
    path: &str,
) -> Result<Minor, PayloadError> {
    let mut amounts = amounts.into_iter();
    amounts.try_fold(Minor::ZERO, |sum, amount| sum_minor([sum, amount?], path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_kept() {
        for (json, text) in [
            ("8", "8"),
            ("8.0", "8.0"),
            ("5.49612811", "5.49612811"),
            ("-0.1", "-0.1"),
            ("\"1.666700\"", "1.666700"),
            ("1e2", "100"),
            ("907199254740993.01", "907199254740993.01"),
            ("1000000000000000", "1000000000000000"),
        ] {
            assert_eq!(serde_json::from_str::<Exact>(json).unwrap().0.to_string(), text, "{json}");
        }
        for json in ["\"\"", "\"a\"", "true", "[]", "{}", "\"NaN\"", "1e999", "1000000000000001"] {
            assert!(serde_json::from_str::<Exact>(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::from_str::<Option<Exact>>("null").unwrap(), None);
    }
}
