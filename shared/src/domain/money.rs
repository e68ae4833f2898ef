//! Money is an integer of the currency's smallest unit. There is no float in this service.

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
        let exact = shifted(amount, currency)?;
        if exact.fract().is_zero() { minor(exact) } else { None }
    }

    /// For taxes and the amounts of lines, which tills calculate finer than coins are: half to even, as their vendors do.
    pub fn from_decimal_rounded_half_even(amount: Decimal, currency: Currency) -> Option<Self> {
        minor(shifted(amount, currency)?.round_dp(0))
    }

    /// The sum of many amounts.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }
}

fn shifted(amount: Decimal, currency: Currency) -> Option<Decimal> {
    amount.checked_mul(Decimal::from(10_u64.checked_pow(currency.exponent())?))
}

fn minor(whole: Decimal) -> Option<Minor> {
    i64::try_from(whole.trunc().normalize()).ok().map(Minor)
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

    #[test]
    fn only_real_currencies_are_read() {
        assert_eq!("USD".parse::<Currency>().map(Currency::code), Ok("USD"));
        for code in ["usd", "US", "XQZ", ""] {
            assert_eq!(code.parse::<Currency>(), Err(UnknownCurrency), "{code}");
        }
    }
}
