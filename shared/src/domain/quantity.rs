//! How much was sold, exactly: a loaf by weight is 1.25, not something near it.

use std::fmt;
use std::ops::{Add, Neg};
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An exact decimal quantity. Written as text in JSON, without needless zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity(Decimal);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "exact decimal", "type": "string", "pattern": r"^-?\d+(\.\d+)?$" })
    }
}

/// A text that is no decimal number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quantity is a decimal number such as `2` or `1.25`")]
pub struct InvalidQuantity;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// One piece.
    pub const ONE: Self = Self(Decimal::ONE);

    /// An exact number.
    pub fn new(value: Decimal) -> Self {
        Self(value.normalize())
    }

    /// The number.
    pub fn value(self) -> Decimal {
        self.0
    }
}

impl Add for Quantity {
    type Output = Self;
    /// Sums of a shop's day are far from the largest number, at which it stops.
    fn add(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.0)
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        // `from_str_exact` refuses what it would have to round.
        Decimal::from_str_exact(text).map(Self::new).map_err(|_| InvalidQuantity)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Quantity {
    type Error = InvalidQuantity;
    fn try_from(text: String) -> Result<Self, InvalidQuantity> {
        text.parse()
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_stay_exact() {
        for (text, shown) in [("1.25", "1.25"), ("2", "2"), ("0.10000", "0.1"), ("-1", "-1"), ("100", "100")] {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), shown);
        }
        for text in ["", "one", "1,5", "1e3", "NaN", "0.00000000000000000000000000001234"] {
            assert_eq!(text.parse::<Quantity>(), Err(InvalidQuantity), "{text}");
        }
    }
}
