//! Transactions as an answer: a page for people, or a part of a table for programs, as long as Lambda can carry it.

use http::StatusCode;
use http::header::LINK;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::problem::Problem;
use shared::rest::{Answer, Call, Page};
use shared::store::transactions::Stored;

use crate::table::{harmless, record};
use crate::view::TransactionView;

/// An answer of Lambda has 6 MB at most, and our body stands in it as a JSON string:
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>.
const MOST_BYTES: usize = 5_500_000;

/// The first line of a table. Names are those of the JSON; amounts are integers of the smallest unit, as there.
const COLUMNS: [&str; 25] = [
    "id",
    "configuration_id",
    "provider",
    "kind",
    "status",
    "external_order_id",
    "original_order_id",
    "location_id",
    "channel",
    "created_at",
    "occurred_at",
    "business_date",
    "currency",
    "gross_minor",
    "discount_minor",
    "tax_minor",
    "tax_included_minor",
    "service_charge_minor",
    "tip_minor",
    "rounding_minor",
    "total_minor",
    "line_items",
    "discrepancies",
    "revision",
    "sales_state",
];

/// How transactions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON document.
    Page,
    /// A JSON document in each line.
    Lines,
    /// A line of a table for each.
    Table,
}

impl Form {
    /// The first form of ours that a caller names in `Accept`.
    pub fn of(accept: Option<&str>) -> Self {
        let named = accept.unwrap_or_default().split(',').filter_map(|it| it.split(';').next());
        let form = |media_type: &str| match media_type.trim().to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Page),
            "application/x-ndjson" => Some(Self::Lines),
            "text/csv" => Some(Self::Table),
            _ => None,
        };
        named.filter_map(form).next().unwrap_or(Self::Page)
    }
}

/// An answer while it is being written.
pub(crate) struct Sheet {
    form: Form,
    rows: Vec<String>,
    head: String,
    bytes: usize,
}

impl Sheet {
    /// Nothing in it yet. Only the first part of a table has a line with names: a client appends the others.
    pub fn new(form: Form, is_first: bool) -> Result<Self, Problem> {
        let head = if form == Form::Table && is_first { record(COLUMNS)? } else { String::new() };
        Ok(Self { form, rows: Vec::new(), head, bytes: 0 })
    }

    /// How many transactions are in it.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Adds one. `false`: it has no room for it.
    pub fn add(&mut self, stored: &Stored) -> Result<bool, Problem> {
        let row = match self.form {
            Form::Page | Form::Lines => {
                serde_json::to_string(&TransactionView::new(stored)).map_err(|_| Problem::internal())?
            }
            Form::Table => record(cells(stored))?,
        };
        let bytes = self.bytes + carried(&row);
        if bytes > MOST_BYTES && !self.rows.is_empty() {
            return Ok(false);
        }
        self.bytes = bytes;
        self.rows.push(row);
        Ok(true)
    }

    /// The answer, and where the next part is.
    pub fn answer(self, call: &Call, next_cursor: Option<String>) -> Result<Answer, Problem> {
        let link = next_cursor.as_deref().map(|cursor| call.link_to_next(cursor));
        let answer = match self.form {
            Form::Page => {
                let items = self.rows.into_iter().map(RawValue::from_string).collect::<Result<Vec<_>, _>>();
                let items = items.map_err(|_| Problem::internal())?;
                return Answer::json(StatusCode::OK, &Page { items, next_cursor });
            }
            Form::Lines => {
                let lines = self.rows.into_iter().fold(String::new(), |lines, row| lines + &row + "\n");
                Answer::text("application/x-ndjson", lines)
            }
            Form::Table => Answer::csv(self.head + &self.rows.concat()),
        };
        Ok(link.into_iter().fold(answer, |answer, link| answer.header(LINK, link)))
    }
}

/// How many bytes a text has as a part of a JSON string.
fn carried(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).count();
    text.len() + escaped
}

fn cells(stored: &Stored) -> [String; COLUMNS.len()] {
    let (it, amounts) = (&stored.transaction, &stored.transaction.amounts);
    [
        it.id.to_string(),
        it.configuration_id.to_string(),
        it.provider.to_string(),
        word(&it.kind),
        word(&it.status),
        harmless(it.external_order_id.as_str()),
        it.original_order_id.as_ref().map(|id| harmless(id.as_str())).unwrap_or_default(),
        harmless(it.location_id.as_str()),
        it.channel.as_deref().map(harmless).unwrap_or_default(),
        it.created_at.to_string(),
        it.occurred_at.to_string(),
        it.business_date.to_string(),
        word(&it.currency),
        // Numbers are ours: one with a minus is no formula.
        amounts.gross.to_string(),
        amounts.discount.to_string(),
        amounts.tax.to_string(),
        amounts.tax_included.to_string(),
        amounts.service_charge.to_string(),
        amounts.tip.to_string(),
        amounts.rounding.to_string(),
        amounts.total.to_string(),
        it.line_items.len().to_string(),
        it.discrepancies.len().to_string(),
        stored.revision.to_string(),
        word(&stored.sales_state()),
    ]
}

/// A word of ours, as JSON has it.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
