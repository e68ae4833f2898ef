//! Money is an integer of the currency's smallest unit. There is no float in this service.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An amount in the smallest unit of the currency that stands beside it (cents, yen).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Minor(pub i64);

/// A sum that no till rings up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("amounts add up to more than 64 bits hold")]
pub struct MoneyError;

impl Minor {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Adds, or says that the result is no amount of money.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyError)
    }

    /// Subtracts, or says that the result is no amount of money.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyError)
    }

    /// An exact amount such as `12.5` of a currency. One that is finer than the currency is refused, not rounded: we
    /// would be inventing money.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Option<Self> {
        let (whole, rest, _) = parts(amount, currency)?;
        if rest == 0 { minor(whole) } else { None }
    }

    /// For taxes and the amounts of lines, which tills calculate finer than coins are: half to even, as their vendors do.
    pub fn from_decimal_rounded_half_even(amount: Decimal, currency: Currency) -> Option<Self> {
        let (whole, rest, unit) = parts(amount, currency)?;
        let up = match (rest.abs() * 2).cmp(&unit) {
            Ordering::Less => 0,
            Ordering::Equal => whole % 2,
            Ordering::Greater => rest.signum(),
        };
        minor(whole + up)
    }

    /// The sum of many amounts.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

/// An amount as whole units of the currency, what is left over, and in how many parts of a unit that counts.
fn parts(amount: Decimal, currency: Currency) -> Option<(i128, i128, i128)> {
    let (digits, scale, exponent) = (amount.mantissa(), amount.scale(), currency.exponent());
    match scale.checked_sub(exponent) {
        Some(finer) => {
            let unit = 10_i128.checked_pow(finer)?;
            Some((digits / unit, digits % unit, unit))
        }
        None => Some((digits.checked_mul(10_i128.checked_pow(exponent - scale)?)?, 0, 1)),
    }
}

fn minor(whole: i128) -> Option<Minor> {
    i64::try_from(whole).ok().map(Minor)
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 4217 currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Currency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "ISO 4217 code", "type": "string", "pattern": "^[A-Z]{3}$" })
    }
}

/// Three letters that ISO 4217 does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 4217 currency code")]
pub struct UnknownCurrency;

impl Currency {
    /// The three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many digits its smallest unit stands behind the point; none for those that have no coins (gold, tests).
    pub fn exponent(self) -> u32 {
        self.0.exponent().unwrap_or(0).into()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;
    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        iso_currency::Currency::from_code(code).map(Self).ok_or(UnknownCurrency)
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;
    fn try_from(code: String) -> Result<Self, UnknownCurrency> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_or_refused() {
        assert_eq!(Minor::sum([Minor(1), Minor(-3), Minor(2)]), Ok(Minor::ZERO));
        assert_eq!(Minor(i64::MAX).checked_add(Minor(1)), Err(MoneyError));
        assert_eq!(Minor(i64::MIN).checked_sub(Minor(1)), Err(MoneyError));
    }

    #[test]
    fn a_decimal_amount_is_read_digit_by_digit() {
        let (usd, jpy, kwd) = ("USD".parse().unwrap(), "JPY".parse().unwrap(), "KWD".parse().unwrap());
        for (text, currency, exact, rounded) in [
            ("12.5", usd, Some(1250), 1250),
            ("0.1", usd, Some(10), 10),
            ("-3.820000", usd, Some(-382), -382),
            ("5.49612811", usd, None, 550),
            ("0.005", usd, None, 0),
            ("0.015", usd, None, 2),
            ("-0.015", usd, None, -2),
            ("-0.005", usd, None, 0),
            ("-0.025001", usd, None, -3),
            ("12345678901.2350000000000000000", usd, None, 1_234_567_890_124),
            ("720", jpy, Some(720), 720),
            ("720.0", jpy, Some(720), 720),
            ("720.5", jpy, None, 720),
            ("1.234", kwd, Some(1234), 1234),
        ] {
            let amount: Decimal = text.parse().unwrap();
            assert_eq!(Minor::from_decimal(amount, currency), exact.map(Minor), "{text} {currency}");
            assert_eq!(Minor::from_decimal_rounded_half_even(amount, currency), Some(Minor(rounded)), "{text}");
        }
        assert_eq!(Minor::from_decimal("99999999999999999999".parse().unwrap(), usd), None);
    }

    proptest::proptest! {
        #[test]
        fn rounding_is_that_of_the_decimal_library(digits in -2_000_000_i64..2_000_000, scale in 0_u32..9, code in 0_usize..3) {
            let currency: Currency = ["JPY", "USD", "KWD"][code].parse().unwrap();
            let amount = Decimal::new(digits, scale);
            let units = (amount * Decimal::from(10_u64.pow(currency.exponent()))).round_dp(0);
            let rounded = Minor::from_decimal_rounded_half_even(amount, currency).unwrap();
            assert_eq!(Decimal::from(rounded.0), units, "{amount} {currency}");
            let exact = Minor::from_decimal(amount, currency);
            assert_eq!(exact.is_some(), Decimal::from(rounded.0) == amount * Decimal::from(10_u64.pow(currency.exponent())));
        }
    }

    #[test]
    fn only_real_currencies_are_read() {
        assert_eq!("USD".parse::<Currency>().map(Currency::code), Ok("USD"));
        for code in ["usd", "US", "XQZ", ""] {
            assert_eq!(code.parse::<Currency>(), Err(UnknownCurrency), "{code}");
        }
    }
}
