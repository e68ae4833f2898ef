//! The redrives of a queue: one under way at most, and the last ones that have ended. One item for each queue.

use jiff::Timestamp;

use super::{Coordination, TABLE};
use crate::domain::{DeadLetterQueue, Redrive, RedriveState};
use crate::store::StoreError;
use crate::store::item::{Attributes, is_made, number, pack, text};

/// So many are remembered, with who has asked for them.
const KEPT: usize = 20;

/// The redrives of a queue, newest first, as they were read: what is written instead must have seen them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrives {
    queue: DeadLetterQueue,
    writes: u64,
    all: Vec<Redrive>,
}

impl Redrives {
    /// All that are remembered, newest first.
    pub fn all(&self) -> &[Redrive] {
        &self.all
    }

    /// The one under way.
    pub fn running(&self) -> Option<&Redrive> {
        self.all.iter().find(|redrive| redrive.state == RedriveState::Running)
    }
}

impl Coordination {
    /// The redrives of a queue.
    pub async fn load_redrives(&self, queue: DeadLetterQueue) -> Result<Redrives, StoreError> {
        let Some(item) = self.get(&key(queue)).await? else {
            return Ok(Redrives { queue, writes: 0, all: Vec::new() });
        };
        let item = Attributes { table: TABLE, item: &item };
        Ok(Redrives { queue, writes: item.number("writes")?, all: item.unpacked("redrives")? })
    }

    /// Writes a new redrive, or how far one is. `None`: somebody has written since `seen` was read.
    pub async fn save_redrive(&self, seen: &Redrives, redrive: &Redrive) -> Result<Option<Redrives>, StoreError> {
        let mut all = seen.all.clone();
        match all.iter_mut().find(|known| known.id == redrive.id) {
            Some(known) => *known = redrive.clone(),
            None => all.insert(0, redrive.clone()),
        }
        all.truncate(KEPT);
        let next = Redrives { queue: seen.queue, writes: seen.writes + 1, all };
        let result = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("key", text(key(seen.queue)))
            .item("writes", number(next.writes))
            .item("redrives", pack(&next.all)?)
            .item("changed_at", text(Timestamp::now()))
            .condition_expression("attribute_not_exists(#key) OR writes = :seen")
            .expression_attribute_names("#key", "key")
            .expression_attribute_values(":seen", number(seen.writes))
            .send()
            .await;
        Ok(is_made(result, "write a redrive")?.then_some(next))
    }
}

fn key(queue: DeadLetterQueue) -> String {
    format!("redrives#{queue}")
}
