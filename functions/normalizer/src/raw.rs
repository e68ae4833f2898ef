//! Orders are kept as they came before anything is written that is made of them.

use std::collections::BTreeMap;

use shared::archive::{ArchiveError, RawRecord};
use shared::domain::{EventId, ShopDay, Transaction, TransactionId};
use shared::providers::RawOrder;
use shared::store::configurations::SealedConfiguration;
use shared::store::transactions::Stored;

use crate::App;

/// A transaction that is news, and the order that it is of.
pub(crate) struct News<'n> {
    /// Its place in the message.
    pub place: usize,
    /// What the provider had.
    pub order: &'n RawOrder,
    /// Whether the provider has pushed it.
    pub is_pushed: bool,
    /// What is made of it.
    pub transaction: &'n Transaction,
    /// What the table has of it.
    pub known: Option<&'n Stored>,
}

/// For which transactions an order is kept on a day: those that are of it, and those that have left it.
type Kept<'n> = (&'n News<'n>, Vec<TransactionId>, Vec<TransactionId>);

impl App {
    /// Keeps the orders of what is news, in one write for each shop's day. What changes its day stands under both.
    pub(crate) async fn keep_raw(
        &self,
        found: &SealedConfiguration,
        cause: &EventId,
        news: &[News<'_>],
    ) -> Result<(), ArchiveError> {
        let mut days: BTreeMap<ShopDay, BTreeMap<usize, Kept<'_>>> = BTreeMap::new();
        for it in news {
            let day = ShopDay::of(it.transaction);
            let before = it.known.map(|known| ShopDay::of(&known.transaction)).filter(|before| *before != day);
            if let Some(before) = before {
                let kept = days.entry(before).or_default().entry(it.place);
                kept.or_insert_with(|| (it, Vec::new(), Vec::new())).2.push(it.transaction.id);
            }
            let kept = days.entry(day).or_default().entry(it.place);
            kept.or_insert_with(|| (it, Vec::new(), Vec::new())).1.push(it.transaction.id);
        }
        for (day, kept) in days {
            let record = |(news, of, left): Kept<'_>| RawRecord {
                order: news.order.clone(),
                is_pushed: news.is_pushed,
                of,
                left,
            };
            let records: Vec<RawRecord> = kept.into_values().map(record).collect();
            self.archive.keep((&found.scope, &found.configuration), &day, cause, &records).await?;
        }
        Ok(())
    }
}
