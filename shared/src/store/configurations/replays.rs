//! Deliveries that a caller wants to be worked on once more, or looks at as they came: with its audit row, and nothing of
//! it if the removal of the configuration has begun meanwhile.

use super::change::Part;
use super::{Changes, CommitError};
use crate::domain::{Configuration, EventId, Replay, ReplayRequest, TenantScope};
use crate::store::audit::Actor;

impl Changes {
    /// Begins a replay. [`CommitError::Busy`]: there is one of its id already.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::{audit::*, configurations::*}};
    /// # async fn of(all: &Changes, actor: Actor, configuration: Configuration, replay: Replay) {
    /// let _ = all.begin_replay(&actor, &configuration, &replay).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::{audit::*, configurations::*}};
    /// # async fn of(all: &Changes, actor: Actor, configuration: Configuration, replay: Replay, scope: TenantScope) {
    /// let _ = all.begin_replay(&scope, &actor, &configuration, &replay).await;
    /// # }
    /// ```
    pub async fn begin_replay(
        &self,
        scope: &TenantScope,
        actor: &Actor,
        configuration: &Configuration,
        replay: &Replay,
    ) -> Result<(), CommitError> {
        let writes = vec![
            (Part::Configuration, self.check_epoch(scope, configuration)?),
            (Part::Lane, self.sync_logs.write_replay(scope, configuration.id, replay)?),
        ];
        let mut named = vec![format!("replay/{}", replay.id)];
        match &replay.request {
            ReplayRequest::Delivery { event_id } => named.push(format!("delivery/{event_id}")),
            ReplayRequest::Window { outcome, .. } => named.push(format!("{}/{outcome}", replay.deliveries)),
        }
        self.transact(scope, actor, ("webhooks.replayed", configuration.id, named), writes).await
    }

    /// Notes that somebody is about to see a delivery as it came: it may name people.
    pub async fn note_body_read(
        &self,
        scope: &TenantScope,
        actor: &Actor,
        configuration: &Configuration,
        event: &EventId,
    ) -> Result<(), CommitError> {
        let writes = vec![(Part::Configuration, self.check_epoch(scope, configuration)?)];
        let named = vec![format!("delivery/{event}")];
        self.transact(scope, actor, ("webhooks.body_read", configuration.id, named), writes).await
    }
}
