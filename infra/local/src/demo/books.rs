//! Four ways to ask what was sold, in one shape that can be compared.

use std::collections::BTreeMap;

use local::{Total, TotalKey};
use sandbox::{EntryKind, EntryState, Sandbox, Vendor};
use serde::{Deserialize, de::IgnoredAny};

/// Count and sum of completed transactions, by provider, currency and kind (`sale`, `refund`).
pub type Summary = BTreeMap<[String; 3], Total>;

/// What three parties believe at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    pub ledger: Summary,
    pub stored: Summary,
    pub received: Summary,
}

impl Books {
    pub fn agree(&self) -> bool {
        self.ledger == self.stored && self.stored == self.received
    }

    /// Whether this provider's tills have sold anything.
    pub fn has_sold(&self, provider: &str) -> bool {
        self.ledger.keys().any(|[of, ..]| of == provider)
    }
}

fn add(summary: &mut Summary, row: [&str; 3], total: Total) {
    let known = summary.entry(row.map(str::to_owned)).or_default();
    known.count += total.count;
    known.total_minor += total.total_minor;
}

fn one(total_minor: i64) -> Total {
    Total { count: 1, total_minor }
}

/// The word of a provider in our API and events.
pub fn word(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Square => "square",
        Vendor::Toast => "toast",
        Vendor::Lightspeed => "lightspeed",
    }
}

/// The simulator's own ledgers, which no parser of ours has touched.
pub fn of_ledgers(sandbox: &Sandbox) -> Summary {
    let mut summary = Summary::new();
    for vendor in Vendor::ALL {
        for entry in sandbox.at(vendor).ledger().iter().filter(|entry| entry.state == EntryState::Completed) {
            let kind = match entry.kind {
                EntryKind::Sale => "sale",
                EntryKind::Refund => "refund",
                EntryKind::Canceled => continue,
            };
            add(&mut summary, [word(vendor), &entry.currency, kind], one(entry.total_minor));
        }
    }
    summary
}

/// As much of Square's order as a total needs. A return is an order of its own, with `returns` and no lines.
#[derive(Deserialize)]
pub struct Order {
    total_money: Money,
    #[serde(default)]
    returns: Vec<IgnoredAny>,
    return_amounts: Option<ReturnAmounts>,
}

#[derive(Deserialize)]
struct ReturnAmounts {
    total_money: Money,
}

#[derive(Deserialize)]
struct Money {
    amount: i64,
    currency: String,
}

/// Completed orders as Square's search answers them.
pub fn of_orders(orders: &[Order]) -> Summary {
    let mut summary = Summary::new();
    for order in orders {
        let (kind, money) = match &order.return_amounts {
            Some(amounts) if !order.returns.is_empty() => ("refund", &amounts.total_money),
            Some(_) | None => ("sale", &order.total_money),
        };
        add(&mut summary, ["square", &money.currency, kind], one(money.amount));
    }
    summary
}

/// As much of our own transaction as a total needs.
#[derive(Deserialize)]
pub struct Transaction {
    provider: String,
    kind: String,
    status: String,
    currency: String,
    amounts: Amounts,
}

#[derive(Deserialize)]
struct Amounts {
    total_minor: i64,
}

/// Transactions as our API answers them.
pub fn of_transactions(transactions: &[Transaction]) -> Summary {
    let mut summary = Summary::new();
    for transaction in transactions.iter().filter(|it| it.status == "completed") {
        let row = [transaction.provider.as_str(), &transaction.currency, &transaction.kind];
        add(&mut summary, row, one(transaction.amounts.total_minor));
    }
    summary
}

/// What the sales domain added up from the events alone.
pub fn of_sales_domain(totals: &BTreeMap<TotalKey, Total>) -> Summary {
    let mut summary = Summary::new();
    for (key, total) in totals {
        add(&mut summary, [&key.provider, &key.currency, &key.kind], *total);
    }
    summary
}

/// `38 = 412.35 USD`: how many transactions, and sales less refunds.
pub fn sum(summary: &Summary) -> String {
    let count: u64 = summary.values().map(|total| total.count).sum();
    let mut net = BTreeMap::<&str, i64>::new();
    for ([_, currency, kind], total) in summary {
        let sign = if kind == "refund" { -1 } else { 1 };
        *net.entry(currency).or_default() += sign * total.total_minor;
    }
    let net: Vec<String> = net.iter().map(|(currency, minor)| money(*minor, currency)).collect();
    format!("{count} = {}", if net.is_empty() { "0".to_owned() } else { net.join(" + ") })
}

/// One line per provider, currency and kind, one column per party. Who was not asked about a row has `-` there.
pub fn table(columns: &[(&str, &Summary)]) -> Vec<String> {
    let mut rows: Vec<&[String; 3]> = columns.iter().flat_map(|(_, summary)| summary.keys()).collect();
    rows.sort_unstable();
    rows.dedup();
    let head: String = columns.iter().map(|(name, _)| format!("{name:>22}")).collect();
    let mut lines = vec![format!("{:<24}{head}", "")];
    for row in rows {
        let [provider, currency, kind] = row;
        let cells: String = columns
            .iter()
            .map(|(_, summary)| {
                let cell = summary.get(row).map_or_else(
                    || "-".to_owned(),
                    |total| format!("{} = {}", total.count, money(total.total_minor, currency)),
                );
                format!("{cell:>22}")
            })
            .collect();
        lines.push(format!("{:<24}{cells}", format!("{provider} {currency} {kind}s")));
    }
    lines
}

/// `-1234` cents -> `-12.34 USD`
fn money(minor: i64, currency: &str) -> String {
    let exponent = iso_currency::Currency::from_code(currency).and_then(|it| it.exponent()).unwrap_or(2);
    let sign = if minor < 0 { "-" } else { "" };
    let unit = 10_u64.pow(u32::from(exponent));
    let (whole, rest) = (minor.unsigned_abs() / unit, minor.unsigned_abs() % unit);
    if exponent == 0 {
        return format!("{sign}{whole} {currency}");
    }
    format!("{sign}{whole}.{rest:0width$} {currency}", width = usize::from(exponent))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn money_is_written_in_the_currency_s_own_units() {
        let cases =
            [(5, "USD", "0.05 USD"), (-1234, "USD", "-12.34 USD"), (700, "JPY", "700 JPY"), (1, "KWD", "0.001 KWD")];
        for (minor, currency, text) in cases {
            assert_eq!(money(minor, currency), text);
        }
    }

    #[test]
    fn a_return_is_a_refund_by_its_own_amounts() {
        let usd = |amount: i64| json!({ "amount": amount, "currency": "USD" });
        let orders = json!([
            { "total_money": usd(500) },
            { "total_money": usd(0), "returns": [{}], "return_amounts": { "total_money": usd(200) } },
        ]);
        let summary = of_orders(&Vec::deserialize(orders).unwrap());
        let row = |kind: &str| ["square", "USD", kind].map(str::to_owned);
        assert_eq!((summary[&row("sale")], summary[&row("refund")]), (one(500), one(200)));
        assert_eq!(sum(&summary), "2 = 3.00 USD");
    }
}
