//! Which day a sale belongs to.
//!
//! A bakery that closes at half past midnight counts that sale into the day before. The provider may not say so, so
//! the shop's zone and the hour at which its day starts decide.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{Currency, LocationId};

/// A shop of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Location {
    /// The provider's id.
    pub id: LocationId,
    /// The name that the merchant gave it.
    pub name: String,
    /// Where its clock hangs.
    pub time_zone: TimeZoneName,
    /// What its till is kept in.
    pub currency: Currency,
    /// When its accounting day starts, local time.
    pub day_start: DayStart,
}

impl Location {
    /// The accounting day of an instant: the local date, or the one before until the day has started.
    ///
    /// Compares clocks on the wall, so the nights with 23 and 25 hours need no rule of their own.
    pub fn business_date(&self, at: Timestamp) -> Date {
        let local = at.to_zoned(self.time_zone.zone()).datetime();
        if local.time() < self.day_start.0 {
            local.date().saturating_sub(jiff::Span::new().days(1))
        } else {
            local.date()
        }
    }

    /// When an accounting day starts. In the night in which that time of day does not exist, when the clock has moved on.
    pub fn day_starts_at(&self, date: Date) -> Timestamp {
        let start = date.to_datetime(self.day_start.0);
        // Fails at the ends of time only.
        self.time_zone.zone().to_timestamp(start).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// An IANA time zone that we know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeZoneName {
    name: String,
    zone: TimeZone,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for TimeZoneName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeZoneName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "IANA time zone", "type": "string", "examples": ["Europe/Berlin"] })
    }
}

/// A name that the IANA database does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IANA time zone")]
pub struct UnknownTimeZone;

impl TimeZoneName {
    fn zone(&self) -> TimeZone {
        self.zone.clone()
    }

    /// Such as `Europe/Berlin`.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl FromStr for TimeZoneName {
    type Err = UnknownTimeZone;
    fn from_str(name: &str) -> Result<Self, UnknownTimeZone> {
        let zone = TimeZone::get(name).map_err(|_| UnknownTimeZone)?;
        Ok(Self { name: name.to_owned(), zone })
    }
}

impl TryFrom<String> for TimeZoneName {
    type Error = UnknownTimeZone;
    fn try_from(name: String) -> Result<Self, UnknownTimeZone> {
        name.parse()
    }
}

impl From<TimeZoneName> for String {
    fn from(zone: TimeZoneName) -> Self {
        zone.name
    }
}

/// The local time at which an accounting day starts, `HH:MM`, noon at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DayStart(Time);

#[cfg(feature = "schema")]
impl schemars::JsonSchema for DayStart {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DayStart".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The local time at which an accounting day starts, noon at the latest",
            "type": "string",
            "pattern": "^(0[0-9]:[0-5][0-9]|1[01]:[0-5][0-9]|12:00)$",
            "default": "04:00",
        })
    }
}

/// A text that is no start of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day starts between 00:00 and 12:00, written HH:MM")]
pub struct InvalidDayStart;

impl Default for DayStart {
    /// Four in the morning: after the last guest, before the first oven.
    fn default() -> Self {
        Self(Time::constant(4, 0, 0, 0))
    }
}

impl FromStr for DayStart {
    type Err = InvalidDayStart;
    fn from_str(text: &str) -> Result<Self, InvalidDayStart> {
        let time = Time::strptime("%H:%M", text).map_err(|_| InvalidDayStart)?;
        if text.len() == 5 && time <= Time::constant(12, 0, 0, 0) { Ok(Self(time)) } else { Err(InvalidDayStart) }
    }
}

impl fmt::Display for DayStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl TryFrom<String> for DayStart {
    type Error = InvalidDayStart;
    fn try_from(text: String) -> Result<Self, InvalidDayStart> {
        text.parse()
    }
}

impl From<DayStart> for String {
    fn from(start: DayStart) -> Self {
        start.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(zone: &str, day_start: &str) -> Location {
        Location {
            id: LocationId::new("L1").unwrap(),
            name: "Main street".into(),
            time_zone: zone.parse().unwrap(),
            currency: "USD".parse().unwrap(),
            day_start: day_start.parse().unwrap(),
        }
    }

    #[test]
    fn a_sale_belongs_to_the_day_that_its_shop_is_having() {
        for (zone, day_start, at, date) in [
            ("America/New_York", "04:00", "2026-02-14T13:00:00Z", "2026-02-14"),
            ("America/New_York", "04:00", "2026-02-15T06:30:00Z", "2026-02-14"), // half past one at night
            ("America/New_York", "00:00", "2026-02-15T06:30:00Z", "2026-02-15"),
            ("America/New_York", "04:00", "2026-02-15T09:00:00Z", "2026-02-15"), // four o'clock sharp
            ("Europe/Berlin", "04:00", "2026-03-29T01:30:00Z", "2026-03-28"),    // 02:30 does not exist; it is 03:30
            ("Europe/Berlin", "04:00", "2026-03-29T02:00:00Z", "2026-03-29"),
            ("Europe/Berlin", "02:30", "2026-10-25T00:15:00Z", "2026-10-24"), // 02:15, the first time
            ("Europe/Berlin", "02:30", "2026-10-25T00:45:00Z", "2026-10-25"), // 02:45, the first time
            ("Asia/Tokyo", "04:00", "2026-03-01T20:00:00Z", "2026-03-02"),
        ] {
            let shown = shop(zone, day_start).business_date(at.parse().unwrap()).to_string();
            assert_eq!(shown, date, "{zone} {day_start} {at}");
        }
    }

    #[test]
    fn a_day_starts_where_its_sales_begin() {
        for (zone, day_start, date, at) in [
            ("America/New_York", "04:00", "2026-02-14", "2026-02-14T09:00:00Z"),
            ("Europe/Berlin", "02:30", "2026-03-29", "2026-03-29T01:30:00Z"), // 02:30 does not exist; it is 03:30
            ("Europe/Berlin", "04:00", "2026-03-29", "2026-03-29T02:00:00Z"),
            ("Europe/Berlin", "02:30", "2026-10-25", "2026-10-25T00:30:00Z"), // 02:30, the first time
            ("Asia/Tokyo", "04:00", "2026-03-02", "2026-03-01T19:00:00Z"),
        ] {
            let shop = shop(zone, day_start);
            let date: Date = date.parse().unwrap();
            assert_eq!(shop.day_starts_at(date), at.parse::<Timestamp>().unwrap(), "{zone} {day_start} {date}");
            assert_eq!(shop.business_date(shop.day_starts_at(date)), date, "{zone} {day_start} {date}");
        }
    }

    #[test]
    fn nonsense_is_no_day_start_and_no_zone() {
        for text in ["4:00", "24:00", "13:00", "04:60", "", "04:00:00"] {
            assert_eq!(text.parse::<DayStart>(), Err(InvalidDayStart), "{text}");
        }
        assert_eq!("04:30".parse::<DayStart>().unwrap().to_string(), "04:30");
        assert_eq!("Mars/Olympus".parse::<TimeZoneName>(), Err(UnknownTimeZone));
    }
}
