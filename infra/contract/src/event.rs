//! What a consumer must read of an event, and no more.
//!
//! Fields are added, never taken away, so whatever is not named here is skipped. Types are added too: one that is not
//! known here is [`Event::Other`], and harms nobody.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A message that does not say what the contract says it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable event: {0}")]
pub struct Unreadable(pub String);

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `pos.transaction.recorded.v1`, `pos.transaction.voided.v1`. Both carry the whole state, so they are read alike.
    Transaction(Envelope<TransactionData>),
    /// `pos.day.closed.v1`, `pos.day.restated.v1`.
    Day(Envelope<DayData>),
    /// `pos.configuration.erased.v1`
    Erased(Envelope<ErasedData>),
    /// Any other type.
    Other(String),
}

/// Whose it is, and what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Envelope<D> {
    /// A customer of the platform.
    #[serde(rename = "tenantid")]
    pub tenant: String,
    /// What is told.
    pub data: D,
}

/// One revision of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TransactionData {
    /// The highest is the truth.
    pub revision: u64,
    /// The whole state.
    pub transaction: Transaction,
}

/// A sale or a refund.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Transaction {
    /// Names it for ever.
    pub id: String,
    /// Through which connection it came.
    pub configuration_id: String,
    /// The shop.
    pub location_id: String,
    /// Whose till.
    pub provider: String,
    /// Which way the money went.
    pub kind: Kind,
    /// Only `completed` is turnover; whatever else there is or will be is not.
    pub status: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The shop's accounting day, as text: it is compared and never computed with.
    pub business_date: String,
    /// In the smallest unit of `currency`, positive for both kinds.
    pub amounts: Amounts,
}

impl Transaction {
    /// Whether it is turnover.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status == "completed"
    }
}

/// Which way the money went. A transaction of a third kind could not be booked, so it is unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// To the shop.
    Sale,
    /// Back to the guest.
    Refund,
}

impl Kind {
    /// The word in the events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Refund => "refund",
        }
    }
}

/// Of the amounts, the one that a total needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Amounts {
    /// What was paid, all included.
    pub total_minor: i64,
}

/// What a shop's business day came to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DayData {
    /// The highest is the truth.
    pub revision: u64,
    /// Through which connection.
    pub configuration_id: String,
    /// The shop.
    pub location_id: String,
    /// Its accounting day.
    pub business_date: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Completed sales.
    pub sale_count: u64,
    /// What they came to.
    pub sales: Amounts,
    /// Completed refunds.
    pub refund_count: u64,
    /// What they gave back.
    pub refunds: Amounts,
}

/// A connection is gone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ErasedData {
    /// Everything that named it goes.
    pub configuration_id: String,
}

impl Event {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// When it is no JSON, or a field is missing or of another kind.
    pub fn read(body: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "type")]
            event_type: String,
        }
        let Kind { event_type } = part(body)?;
        match event_type.as_str() {
            "pos.transaction.recorded.v1" | "pos.transaction.voided.v1" => part(body).map(Self::Transaction),
            "pos.day.closed.v1" | "pos.day.restated.v1" => part(body).map(Self::Day),
            "pos.configuration.erased.v1" => part(body).map(Self::Erased),
            _ => Ok(Self::Other(event_type)),
        }
    }
}

fn part<T: DeserializeOwned>(body: &str) -> Result<T, Unreadable> {
    serde_json::from_str(body).map_err(|error| Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_sample_is_read() {
        let samples = [
            include_str!("../../../schemas/samples/pos.transaction.v1/full.json"),
            include_str!("../../../schemas/samples/pos.transaction.v1/minimal.json"),
            include_str!("../../../schemas/samples/pos.day.v1/closed.json"),
            include_str!("../../../schemas/samples/pos.day.v1/restated.json"),
            include_str!("../../../schemas/samples/pos.configuration.erased.v1/full.json"),
        ];
        for sample in samples {
            assert!(!matches!(Event::read(sample), Ok(Event::Other(_)) | Err(_)), "{:?}", Event::read(sample));
        }
        let answered = include_str!("../../../schemas/samples/pos.availability.answered.v1/full.json");
        assert_eq!(Event::read(answered), Ok(Event::Other("pos.availability.answered.v1".to_owned())));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let good = include_str!("../../../schemas/samples/pos.transaction.v1/minimal.json");
        for (from, to) in [
            ("\"tenantid\"", "\"tenant\""),
            ("\"revision\": 1", "\"revision\": -1"),
            (
                "\"total_minor\": 700\n      },\n      \"line_items\"",
                "\"total_minor\": \"7\"\n      },\n      \"line_items\"",
            ),
            ("\"kind\": \"sale\"", "\"kind\": \"gift\""),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            assert!(Event::read(&bad).is_err(), "{to}");
        }
        assert!(Event::read("no JSON").is_err());
    }
}
