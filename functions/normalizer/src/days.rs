//! Days that were closed, and have changed since.

use jiff::{SignedDuration, Timestamp};
use shared::domain::{Configuration, EventId};
use shared::store::StoreError;
use shared::store::days::DayKey;
use shared::store::transactions::Stored;

use crate::App;

/// What changes a day often does so more than once.
const SETTLE: SignedDuration = SignedDuration::from_secs(10);

impl App {
    /// Says of the days in which something is otherwise because of this cause that somebody must look at them, each once.
    /// After the writing: work that was cut off between the two comes again, and finds what it has written itself. A day
    /// that is under way is nobody's business yet, and costs nothing.
    pub(crate) async fn note_days(
        &self,
        configuration: &Configuration,
        written: impl IntoIterator<Item = &Stored>,
        cause: &EventId,
        noted: &mut Vec<DayKey>,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now();
        for day in written.into_iter().flat_map(|stored| stored.days_changed_by(cause)) {
            let shop = configuration.location(&day.location_id);
            if shop.is_none_or(|shop| shop.business_date(now) <= day.date) || noted.contains(&day) {
                continue;
            }
            self.days.note_change(&day, now, now + SETTLE).await?;
            noted.push(day);
        }
        Ok(())
    }
}
