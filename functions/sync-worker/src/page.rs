//! One page: read with the credential's budget, sent to the normalizer, noted on the run.

use std::time::Duration;

use jiff::civil::Date;
use shared::app::Answer;
use shared::domain::{
    Code, DayCount, FailedOrder, LocationId, RunState, SyncCounts, SyncKind, TransactionKind, TransactionStatus,
};
use shared::providers::{Access, OrderPage, OrderQuery, ProviderError, ProviderErrorKind, RawOrder};
use shared::queue::SendError;
use shared::queue::intake::PageRef;
use shared::store::sync_logs::PageRow;

use crate::plan::{self, Finding, Follows};
use crate::work::{PATIENCE, Step, Work, WorkError};

/// A provider that fails so often in a row for the same page is left alone until the next run.
const MOST_ATTEMPTS: u32 = 5;

impl Work<'_> {
    /// Reads the next page of a shop.
    pub async fn read_page(&mut self, index: usize) -> Result<Step, WorkError> {
        let (range, listing) = (self.run.request.range, self.listing());
        let Some(progress) = self.run.locations.get_mut(index) else { return Ok(Step::On) };
        let Some(shop) = self.found.configuration.location(&progress.location_id).cloned() else {
            self.fail(index, Code::UnknownLocation);
            return Ok(Step::On);
        };
        let window = plan::open(progress, &range, &shop, &listing);
        let query = OrderQuery {
            location: shop.id.clone(),
            from: window.span.from,
            to: window.span.to,
            cursor: window.cursor.clone(),
        };
        let day = listing.counts_days.then(|| plan::whole_day(window, &shop)).flatten();
        let page = match self.ask(async |work, access| work.provider().list_orders(&access, &query).await).await? {
            Answer::Given(page) => page,
            Answer::Later(wait) => return Ok(Step::Later(wait)),
            Answer::Failed(kind) => return self.not_read(index, &kind),
        };
        self.charge(&page).await?;
        let counted = day.map(|day| self.count(&page.orders, day));
        let sent = self.send(&page.orders).await?;
        let orders = page.orders.len();
        let Some(progress) = self.run.locations.get_mut(index) else { return Ok(Step::On) };
        progress.last_page = if sent { self.run.pages } else { progress.last_page };
        let Some(window) = progress.window.as_mut() else { return Ok(Step::On) };
        window.day = plan::sum(window.day, counted.unwrap_or_default());
        match plan::page_read(window, orders, page.next) {
            Follows::More => {}
            Follows::Failed(code) => self.fail(index, code),
            Follows::End => {
                let is_compared = plan::is_last_of_its_day(progress);
                let theirs = match day.filter(|_| is_compared) {
                    Some(day) => self.their_count(&shop.id, day).await?,
                    None => None,
                };
                self.close(index, orders, theirs);
            }
        }
        self.keep(sent).await?;
        Ok(Step::On)
    }

    fn close(&mut self, index: usize, last_page: usize, theirs: plan::Counted) {
        let listing = self.listing();
        let Some(progress) = self.run.locations.get_mut(index) else { return };
        let (location, findings) = (progress.location_id.clone(), plan::close(progress, last_page, &listing, theirs));
        for Finding { code, detail } in findings {
            tracing::warn!(run.id = %self.run.id, location.id = %location, %code, detail, "a window looks wrong");
            self.run.note(Some(&location), code, detail);
        }
    }

    /// Makes one call. Credentials that are refused for good end the run.
    pub async fn ask<T>(
        &mut self,
        call: impl AsyncFn(&Self, Access<'_>) -> Result<T, ProviderError>,
    ) -> Result<Answer<T>, WorkError> {
        let (connections, turn) = (&self.app.connections, (self.priority(), PATIENCE));
        let asked = connections.ask(&self.app.tokens, &self.found, turn, async |access| call(self, access).await);
        let asked = asked.await?;
        self.run.requests += asked.requests;
        self.run.waits += asked.waits;
        self.run.waited_ms += u64::try_from(asked.waited.as_millis()).unwrap_or(0);
        if asked.is_renewed {
            self.look_again();
        }
        asked.answer.map_err(|code| WorkError::End(RunState::Failed, code))
    }

    /// Takes note of a page that the provider did not give.
    pub fn not_read(&mut self, index: usize, kind: &ProviderErrorKind) -> Result<Step, WorkError> {
        let Some(progress) = self.run.locations.get_mut(index) else { return Ok(Step::On) };
        let location = progress.location_id.clone();
        let Some(window) = progress.window.as_mut() else { return Ok(Step::On) };
        let passes = matches!(kind, ProviderErrorKind::Unavailable | ProviderErrorKind::Malformed);
        if *kind == ProviderErrorKind::CursorExpired {
            if let Follows::Failed(code) = plan::restart(window) {
                self.fail(index, code);
            }
        } else if passes && window.attempts < MOST_ATTEMPTS {
            window.attempts += 1;
            let wait = Duration::from_secs(1 << window.attempts.min(5));
            self.rest(&location, wait);
        } else {
            // What was refused is refused again: this shop waits for the next run, and the others go on.
            self.fail(index, kind.code());
        }
        Ok(Step::On)
    }

    /// Reads a shop no further: its watermark stays where it is, and the other shops go on.
    pub fn fail(&mut self, index: usize, code: Code) {
        let Some(progress) = self.run.locations.get_mut(index) else { return };
        progress.failed = Some(code.into());
        (progress.window, progress.halves) = (None, Vec::new());
        let location = progress.location_id.clone();
        tracing::warn!(run.id = %self.run.id, location.id = %location, %code, "a shop cannot be read on");
        self.run.note(Some(&location), code, "not read to the end");
    }

    /// Rare orders take more than one request: the budget pays for those afterwards.
    async fn charge(&mut self, page: &OrderPage) -> Result<(), WorkError> {
        for _ in 1..page.requests {
            self.run.requests += 1;
            if self.permit().await?.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a page, in parts where it is larger than a message. `false`: it is empty.
    async fn send(&mut self, orders: &[RawOrder]) -> Result<bool, WorkError> {
        if orders.is_empty() {
            return Ok(false);
        }
        let queue = match self.held.lane.kind {
            SyncKind::Incremental => &self.app.intake,
            SyncKind::Backfill | SyncKind::Repair | SyncKind::Catalog => &self.app.intake_backfill,
        };
        let mut parts = vec![orders];
        while let Some(part) = parts.pop() {
            let (scope, id, number) = (&self.held.scope, self.held.configuration_id, self.run.pages + 1);
            let page = PageRef { run_id: self.run.id, kind: self.held.lane.kind, number, epoch: self.run.epoch };
            match queue.send_orders(scope, id, &page, part, &self.trace).await {
                Ok(()) => {}
                Err(SendError::TooLarge) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                    continue;
                }
                Err(SendError::TooLarge) => {
                    let detail = "one order is larger than a message".to_owned();
                    let failed = FailedOrder { order_id: None, code: Code::OrderTooLarge.into(), detail };
                    let counts = SyncCounts { seen: 1, failed: 1, ..SyncCounts::default() };
                    let row = PageRow { counts, failed_orders: vec![failed], ..PageRow::default() };
                    self.app.connections.sync_logs.record_page(scope, id, self.run.id, number, &row).await?;
                }
                Err(error) => return Err(error.into()),
            }
            self.run.pages = number;
        }
        Ok(true)
    }

    /// What the orders of a page count to a day, by the provider's own rule: sales less refunds, without tips.
    fn count(&self, orders: &[RawOrder], day: Date) -> DayCount {
        let mut count = DayCount::default();
        for order in orders {
            let read = self.provider().normalize_order(order, &self.found.configuration).unwrap_or_default();
            for transaction in read {
                if transaction.status != TransactionStatus::Completed || transaction.business_date != day {
                    continue;
                }
                let amount = transaction.amounts.total.checked_sub(transaction.amounts.tip).unwrap_or_default();
                let turnover = match transaction.kind {
                    TransactionKind::Sale => {
                        count.sales += 1;
                        count.turnover.checked_add(amount)
                    }
                    TransactionKind::Refund => {
                        count.refunds += 1;
                        count.turnover.checked_sub(amount)
                    }
                };
                count.turnover = turnover.unwrap_or(count.turnover);
            }
        }
        count
    }

    /// What the provider counts to a day, if it has all of it and answers.
    async fn their_count(&mut self, location: &LocationId, day: Date) -> Result<plan::Counted, WorkError> {
        let Some(shop) = self.found.configuration.location(location).cloned() else { return Ok(None) };
        let totals = self.ask(async |work: &Self, access| {
            work.provider().fetch_daily_totals(&access, &work.found.configuration, &shop, day).await
        });
        Ok(match totals.await? {
            Answer::Given(totals) if totals.is_final => {
                Some(DayCount { sales: totals.sales, refunds: totals.refunds, turnover: totals.turnover })
            }
            Answer::Given(_) => None,
            Answer::Later(_) | Answer::Failed(_) => {
                self.run.note(
                    Some(location),
                    Code::TotalsNotRead,
                    format!("the provider did not tell its count of {day}"),
                );
                None
            }
        })
    }
}
