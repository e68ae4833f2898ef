//! What one live sale asks of AWS, from the vendor's delivery to the sales domain's acceptance: `make measure-sale`.
//!
//! Counted is what our functions call. What Lambda and the gateway do by themselves (poll a queue, invoke) is not seen
//! here, and a tick of a schedule may fall into the time.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use local::{Answers, Proxy, SalesDomain, Stack};

use super::{Screen, Town, costs};

/// For the last notification of the morning.
const LONGEST: Duration = Duration::from_secs(120);
/// The operations that cost write units; those of one call with many items are not on this way.
const WRITES: [&str; 4] = ["dynamodb:AddToCounters", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"];

/// Sales that were played on a stack with a proxy before it, and what that came to.
pub struct Morning {
    pub(super) town: Town,
    pub proxy: Proxy,
    /// Transactions that the sales domain has accepted.
    pub accepted: u32,
    /// Webhooks.
    pub delivered: u32,
    /// Sent to the sales domain.
    pub events: u32,
    /// How often what was called, and about which table or queue.
    pub calls: BTreeMap<(String, String), u32>,
}

impl Morning {
    /// Plays so many sales.
    pub async fn play(sales: usize, screen: &mut Screen) -> anyhow::Result<Self> {
        let (proxy, stack) = costs::proxy("measure-sale")?;
        let town = Town::open(stack, &[], screen).await?;
        let (bakery, stack) = (&town.bakery, &town.bakery.stack);
        let domain = SalesDomain::start(stack, Answers::AtOnce);
        costs::ended_catalogue(&bakery.api()?, &bakery.configuration_id, screen).await?;
        costs::quiet(&domain, screen).await?;
        proxy.reset();
        screen.status(&format!("{sales} sales are rung up"));
        bakery.sandbox.play(sales);
        bakery.sandbox.wait_until_quiet(LONGEST).await?;
        costs::quiet(&domain, screen).await?;

        let accepted = u32::try_from(domain.transactions().len())?;
        let delivered = u32::try_from(bakery.sandbox.progress().delivered)?;
        let events = u32::try_from(domain.counts().received)?;
        if accepted == 0 {
            bail!("nothing was accepted");
        }
        let calls = counted(&proxy, stack);
        drop(domain);
        Ok(Self { town, proxy, accepted, delivered, events, calls })
    }

    /// Write units of a call: of the items themselves, without indexes.
    pub async fn units(&self, (name, place): &(String, String)) -> anyhow::Result<f64> {
        let stack = &self.town.bakery.stack;
        if WRITES.contains(&name.as_str()) {
            units_of_a_write(&Client::new(&stack.config()), stack, place).await
        } else {
            Ok(0.0)
        }
    }
}

/// What our functions have called, each with its table or queue.
pub fn counted(proxy: &Proxy, stack: &Stack) -> BTreeMap<(String, String), u32> {
    let mut calls = BTreeMap::new();
    for call in proxy.calls() {
        *calls.entry((call.name(), costs::place(&call, stack).to_owned())).or_default() += 1;
    }
    calls
}

/// Prints the figures of so many sales.
pub async fn run(sales: usize, screen: &mut Screen) -> anyhow::Result<()> {
    let morning = Morning::play(sales, screen).await?;
    let each = |count: u32| f64::from(count) / f64::from(morning.accepted);
    screen.line(&format!(
        "\n{} transactions accepted; for each {:.1} deliveries and {:.1} events",
        morning.accepted,
        each(morning.delivered),
        each(morning.events)
    ));
    screen.line(&format!("{:<56}{:>8}{:>10}", "AWS calls of our functions, for each transaction", "calls", "units"));
    let mut units = 0.0;
    for (call, count) in &morning.calls {
        let written = morning.units(call).await?;
        units += written * each(*count);
        let shown = if written > 0.0 { format!("{:.2}", written * each(*count)) } else { String::new() };
        let (name, place) = call;
        screen.line(&format!("{:<56}{:>8.2}{shown:>10}", format!("{name:<28}{place}"), each(*count)));
    }
    screen.line(&format!("{:<56}{:>8.2}{units:>10.2}", "together", each(morning.calls.values().sum())));
    screen.line(
        "\nunits: DynamoDB's write units of the items themselves, by the median size of what is stored in the table. Each entry of\n\
         an index that changes costs one more: three for a new transaction, one for its answer, one for a delivery's row.",
    );
    Ok(())
}

/// What one write of an item of this table costs, without indexes: one unit for each kilobyte that is begun. The median,
/// because a table may hold a few items of another kind, which are not written for a sale.
async fn units_of_a_write(client: &Client, stack: &Stack, output: &str) -> anyhow::Result<f64> {
    let table = stack.output(output).with_context(|| format!("{output} is no table"))?;
    let mut pages = client.scan().table_name(table).into_paginator().items().send();
    let mut units = Vec::new();
    while let Some(item) = pages.next().await {
        units.push(u32::try_from(size_of_item(&item?).div_ceil(1024))?);
    }
    units.sort_unstable();
    Ok(units.get(units.len() / 2).copied().map_or(0.0, f64::from))
}

/// In bytes, about as DynamoDB counts:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>.
fn size_of_item(item: &HashMap<String, AttributeValue>) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of(value)).sum()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of the SDK's kinds we store these; the rest is a byte")]
fn size_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::M(map) => 3 + map.len() + size_of_item(map),
        AttributeValue::L(list) => 3 + list.len() + list.iter().map(size_of).sum::<usize>(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_as_the_documentation_says() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let list = AttributeValue::L(vec![text("abc"), AttributeValue::Bool(true)]);
        let map = HashMap::from([("k".to_owned(), list)]);
        let item = HashMap::from([("name".to_owned(), text("ä")), ("m".to_owned(), AttributeValue::M(map))]);
        // name 4 + 2; m 1 + (3 + 1 + k 1 + (3 + 2 + 3 + 1))
        assert_eq!(size_of_item(&item), 6 + 1 + 5 + 9);
        assert_eq!(size_of(&AttributeValue::N("12345".to_owned())), 4);
    }
}
