//! What is sold: names, numbers and categories, for lines that lack them.

use jiff::Timestamp;
use shared::app::Answer;
use shared::domain::Code;
use shared::store::sync_logs::PageRow;

use crate::plan::{self, Follows};
use crate::work::{Step, Work, WorkError};

impl Work<'_> {
    /// Reads the next page of a catalogue and keeps what is new in it.
    pub async fn read_catalog(&mut self, index: usize) -> Result<Step, WorkError> {
        let (range, listing) = (self.run.request.range, self.listing());
        let Some(progress) = self.run.locations.get_mut(index) else { return Ok(Step::On) };
        let Some(shop) = self.found.configuration.location(&progress.location_id).cloned() else {
            self.fail(index, Code::UnknownLocation);
            return Ok(Step::On);
        };
        let cursor = plan::open(progress, &range, &shop, &listing).cursor.clone();
        let asked =
            self.ask(async |work, access| work.provider().list_catalog(&access, &shop.id, cursor.as_deref()).await);
        let page = match asked.await? {
            Answer::Given(page) => page,
            Answer::Later(wait) => return Ok(Step::Later(wait)),
            Answer::Failed(kind) => return self.not_read(index, &kind),
        };
        let (scope, id) = (&self.held.scope, self.held.configuration_id);
        let counts = self.app.product_mappings.record_catalog(scope, id, &page.items, Timestamp::now()).await?;
        let number = self.run.pages + 1;
        let row = PageRow { counts, ..PageRow::default() };
        self.app.connections.sync_logs.record_page(scope, id, self.run.id, number, &row).await?;
        self.run.pages = number;
        let Some(progress) = self.run.locations.get_mut(index) else { return Ok(Step::On) };
        progress.last_page = number;
        let Some(window) = progress.window.as_mut() else { return Ok(Step::On) };
        match plan::page_read(window, page.items.len(), page.next) {
            Follows::More => {}
            Follows::Failed(code) => self.fail(index, code),
            Follows::End => {
                progress.window = None;
                progress.windows += 1;
            }
        }
        self.keep(true).await?;
        Ok(Step::On)
    }
}
