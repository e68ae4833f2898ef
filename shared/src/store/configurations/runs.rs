//! Runs that a caller asks for, or does not want any more: what is asked, its audit row and the answer to whoever repeats
//! the request, in one transaction. It comes to nothing if the removal of the configuration has begun meanwhile.

use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};

use super::change::Part;
use super::{Changes, CommitError, StoreError, key};
use crate::aws::AwsError;
use crate::domain::{Configuration, Run, TenantScope};
use crate::store::audit::Actor;
use crate::store::coordination::Remembered;
use crate::store::item::number;

type Writes = Vec<(Part, TransactWriteItem)>;

impl Changes {
    /// Begins a run. [`CommitError::Busy`]: another is under way in its lane.
    ///
    /// ```compile_fail,E0061
    /// # use shared::{domain::*, store::{audit::*, configurations::*}};
    /// # async fn of(all: &Changes, actor: Actor, configuration: Configuration, run: Run) {
    /// let _ = all.begin_run(&actor, &configuration, &run, None).await; // whose?
    /// # }
    /// ```
    ///
    /// ```
    /// # use shared::{domain::*, store::{audit::*, configurations::*}};
    /// # async fn of(all: &Changes, actor: Actor, configuration: Configuration, run: Run, scope: TenantScope) {
    /// let _ = all.begin_run(&scope, &actor, &configuration, &run, None).await;
    /// # }
    /// ```
    pub async fn begin_run(
        &self,
        scope: &TenantScope,
        actor: &Actor,
        configuration: &Configuration,
        run: &Run,
        remember: Option<Remembered>,
    ) -> Result<(), CommitError> {
        let mut writes = self.remember(scope, configuration, remember.as_ref())?;
        writes.push((Part::Configuration, self.check_epoch(scope, configuration)?));
        writes.push((Part::Lane, self.sync_logs.write_begin(scope, configuration.id, run, None)?));
        let audited = ("sync.requested", configuration.id, named([run]));
        self.transact(scope, actor, audited, writes).await
    }

    /// Asks for runs to be ended. [`CommitError::Busy`]: not all of them are under way any more.
    pub async fn cancel_runs(
        &self,
        scope: &TenantScope,
        actor: &Actor,
        configuration: &Configuration,
        runs: &[&Run],
        remember: Option<Remembered>,
    ) -> Result<(), CommitError> {
        let mut writes = self.remember(scope, configuration, remember.as_ref())?;
        writes.push((Part::Configuration, self.check_epoch(scope, configuration)?));
        for run in runs {
            writes.push((Part::Lane, self.sync_logs.write_cancel(scope, configuration.id, run)?));
        }
        let audited = ("sync.cancelled", configuration.id, named(runs.iter().copied()));
        self.transact(scope, actor, audited, writes).await
    }

    /// Keeps an answer that tells of runs and has changed nothing.
    pub async fn remember_answer(
        &self,
        scope: &TenantScope,
        configuration: &Configuration,
        remember: Option<Remembered>,
    ) -> Result<(), CommitError> {
        let mut writes = self.remember(scope, configuration, remember.as_ref())?;
        if writes.is_empty() {
            return Ok(());
        }
        writes.push((Part::Configuration, self.check_epoch(scope, configuration)?));
        self.transact_unaudited(writes).await
    }

    fn remember(
        &self,
        scope: &TenantScope,
        configuration: &Configuration,
        remembered: Option<&Remembered>,
    ) -> Result<Writes, StoreError> {
        let Some(remembered) = remembered else { return Ok(Vec::new()) };
        Ok(vec![
            (Part::Memory, self.coordination.write_memory(remembered)?),
            (Part::Memory, self.sync_logs.write_answer(scope, configuration.id, remembered)?),
        ])
    }

    pub(super) fn check_epoch(
        &self,
        scope: &TenantScope,
        seen: &Configuration,
    ) -> Result<TransactWriteItem, StoreError> {
        let check = ConditionCheck::builder()
            .table_name(&self.configurations.table)
            .set_key(Some(key(scope, seen.id)))
            .condition_expression("epoch = :epoch")
            .expression_attribute_values(":epoch", number(seen.epoch))
            .build()
            .map_err(|error| AwsError::new("look at a configuration's epoch", error))?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}

/// Runs as the audit log names them.
fn named<'a>(runs: impl IntoIterator<Item = &'a Run>) -> Vec<String> {
    runs.into_iter().map(|run| format!("{}/{}", run.request.kind(), run.id)).collect()
}
