//! Orders of any size, made of the fixtures of the scenario suite.
//!
//! The lines of a fixture are repeated, and the amounts beside them multiplied; so the order adds up as its fixture
//! does, and has no more payments, taxes and discounts than a real one.

use std::path::Path;

use anyhow::Context;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use shared::domain::ProviderKind;

/// Which scenarios: one thing sold, things changed, amounts of every kind.
pub const SCENARIOS: [&str; 3] = ["simple_sale", "modifiers", "discount_and_service_charge"];

/// Where a provider's order has its lines, what tells them apart, and which fields beside them hold money.
struct Shape {
    lines: &'static str,
    ids: &'static [&'static str],
    amounts: &'static [&'static str],
}

fn shape(kind: ProviderKind) -> Shape {
    match kind {
        ProviderKind::Square => Shape { lines: "line_items", ids: &["uid"], amounts: &["amount"] },
        ProviderKind::Toast => Shape {
            lines: "selections",
            ids: &["guid"],
            amounts: &[
                "amount",
                "taxAmount",
                "totalAmount",
                "amountTendered",
                "tipAmount",
                "chargeAmount",
                "discountAmount",
                "nonTaxDiscountAmount",
            ],
        },
        ProviderKind::Lightspeed => Shape {
            lines: "salesLines",
            ids: &["id", "parentLineId"],
            amounts: &["netAmountWithTax", "tip", "surcharge"],
        },
    }
}

/// An order of about this size, without needless blanks, as the vendors send them.
pub fn order(kind: ProviderKind, scenario: &str, bytes: usize) -> anyhow::Result<Vec<u8>> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/tests/it/fixtures");
    let fixture = fixtures.join(kind.as_str()).join(format!("{scenario}.json"));
    let fixture = std::fs::read(&fixture).with_context(|| format!("failed to read {}", fixture.display()))?;
    let fixture: Value = serde_json::from_slice(&fixture)?;
    let size = |times| anyhow::Ok(serde_json::to_vec(&repeated(&fixture, &shape(kind), times)?)?.len());
    let (one, two) = (size(1)?, size(2)?);
    let times = 1 + bytes.saturating_sub(one).div_ceil(two - one);
    Ok(serde_json::to_vec(&repeated(&fixture, &shape(kind), times)?)?)
}

fn repeated(value: &Value, shape: &Shape, times: usize) -> anyhow::Result<Value> {
    Ok(match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.clone(), field(name, value, shape, times)?)));
            Value::Object(fields.collect::<anyhow::Result<Map<_, _>>>()?)
        }
        Value::Array(elements) => {
            Value::Array(elements.iter().map(|element| repeated(element, shape, times)).collect::<Result<_, _>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

fn field(name: &str, value: &Value, shape: &Shape, times: usize) -> anyhow::Result<Value> {
    if let (true, Some(lines)) = (name == shape.lines, value.as_array()) {
        let copies = (0..times).flat_map(|copy| lines.iter().map(move |line| renamed(line, shape.ids, copy)));
        return Ok(Value::Array(copies.collect()));
    }
    if shape.amounts.contains(&name) && (value.is_number() || value.is_string()) {
        return multiplied(value, times);
    }
    repeated(value, shape, times)
}

fn renamed(line: &Value, ids: &[&str], copy: usize) -> Value {
    let mut line = line.clone();
    for id in ids {
        if let Some(Value::String(id)) = line.get_mut(*id) {
            id.push_str(&format!("-{copy}"));
        }
    }
    line
}

/// Digit by digit, and written as it was: as a number or as a text.
fn multiplied(amount: &Value, times: usize) -> anyhow::Result<Value> {
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    let product = (Decimal::from_str_exact(&text)? * Decimal::from(times)).to_string();
    Ok(if amount.is_string() { Value::String(product) } else { serde_json::from_str(&product)? })
}
