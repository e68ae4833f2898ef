//! A consumer's totals as text: what replies cannot show.
//!
//! One JSON object for each figure, one after the other:
//!
//! ```json
//! {"tenant": "t_1", "business_date": "2026-11-22", "currency": "EUR", "kind": "sale", "count": 2, "total_minor": 700}
//! ```
//!
//! `kind` is `sale` or `refund` for what was added up from transactions, `day_sale` or `day_refund` for what the newest
//! statements of days say. Amounts are positive and in the smallest unit. Objects of the same tenant, day, currency and
//! kind are added, so a consumer may print one for each shop; fields that are not named here are skipped.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::ledger::{Ledger, Total};

/// One figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Whose.
    pub tenant: String,
    /// The shop's accounting day.
    pub business_date: String,
    /// ISO 4217 code.
    pub currency: String,
    /// `sale`, `refund`, `day_sale` or `day_refund`.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// How much, in the smallest unit.
    pub total_minor: i64,
}

/// What a consumer believes of one tenant, by day, currency and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books(BTreeMap<[String; 3], Total>);

impl Books {
    /// Reads what a consumer has printed.
    ///
    /// # Errors
    /// When it is not what this module says.
    pub fn read(text: &str, tenant: &str) -> anyhow::Result<Self> {
        let mut books = Self::default();
        for row in serde_json::Deserializer::from_str(text).into_iter::<Row>() {
            let row = row.context("these are no books")?;
            if row.tenant == tenant {
                let total = books.0.entry([row.business_date, row.currency, row.kind]).or_default();
                total.count += row.count;
                total.total_minor += row.total_minor;
            }
        }
        Ok(books)
    }

    /// One figure; zero if the books have none.
    #[must_use]
    pub fn total(&self, business_date: &str, currency: &str, kind: &str) -> Total {
        self.0.get(&[business_date, currency, kind].map(str::to_owned)).copied().unwrap_or_default()
    }

    /// Whether there is a statement of any day: a consumer need not keep them.
    #[must_use]
    pub fn have_days(&self) -> bool {
        self.0.keys().any(|[_, _, kind]| kind.starts_with("day_"))
    }
}

/// The rows of the reference consumer.
fn rows(ledger: &Ledger) -> Vec<Row> {
    let mut rows: Vec<Row> = ledger
        .totals()
        .into_iter()
        .map(|(key, Total { count, total_minor })| Row {
            tenant: key.tenant,
            business_date: key.business_date,
            currency: key.currency,
            kind: key.kind,
            count,
            total_minor,
        })
        .collect();
    for (tenant, day) in ledger.days() {
        let of_day = [
            ("day_sale", day.sale_count, day.sales.total_minor),
            ("day_refund", day.refund_count, day.refunds.total_minor),
        ];
        rows.extend(of_day.map(|(kind, count, total_minor)| Row {
            tenant: tenant.to_owned(),
            business_date: day.business_date.clone(),
            currency: day.currency.clone(),
            kind: kind.to_owned(),
            count,
            total_minor,
        }));
    }
    rows
}

/// The totals of the reference consumer, one line each.
///
/// # Errors
/// None that could happen: a row is plain data.
pub fn text(ledger: &Ledger) -> anyhow::Result<String> {
    let lines: anyhow::Result<Vec<String>> =
        rows(ledger).iter().map(|row| Ok(serde_json::to_string(row)? + "\n")).collect();
    lines.map(|lines| lines.concat())
}

/// Replaces a file with the [text] of the books. Who reads it meanwhile sees the old one or the new one.
///
/// # Errors
/// When the file cannot be written.
pub fn write(ledger: &Ledger, path: &Path) -> anyhow::Result<()> {
    let (unfinished, text) = (path.with_extension("unfinished"), text(ledger)?);
    let saved = std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, path));
    saved.with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::letters::{Figures, Scene, Spec};

    #[test]
    fn what_is_written_is_read_and_rows_of_the_same_figure_are_added() {
        let mut ledger = Ledger::default();
        let scene = Scene::new("t", "SHOP1", "2026-11-22");
        let figures = Figures { revision: 1, sale_count: 2, sales: 300, refund_count: 1, refunds: 50 };
        let letters = [scene.event(&Spec::sale(100)), scene.event(&Spec::sale(200)), scene.day(&figures)];
        for letter in letters {
            ledger.take(Event::read(&letter.body).unwrap());
        }
        let path = std::env::temp_dir().join(format!("books-{}", scene.configuration_id));
        write(&ledger, &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let books = Books::read(&text.repeat(2), "t").unwrap();
        let total = |kind: &str| books.total("2026-11-22", "EUR", kind);
        assert_eq!(total("sale"), Total { count: 4, total_minor: 600 });
        assert_eq!(total("day_refund"), Total { count: 2, total_minor: 100 });
        assert_eq!(total("refund"), Total::default());
        assert_eq!(Books::read(&text, "somebody").unwrap(), Books::default());
        assert!(Books::read("nothing", "t").is_err());
    }
}
