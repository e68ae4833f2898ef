//! What is kept of orders, and that nothing is stored of which nothing is kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use local::Bakery;
use serde_json::json;
use shared::archive::{Archive, RawRecord};
use shared::domain::{ConfigurationId, ShopDay, TenantScope, Transaction};
use shared::providers::{ProviderHosts, Providers, RawOrder};
use shared::store::configurations::{Configurations, SealedConfiguration};
use shared::store::raw_log::RawLog;
use shared::store::transactions::{Stored, content_id};
use shared::vault::{Bodies, Vault};

use crate::bench::Bench;
use crate::sync_page::Page;

/// Whoever may look at everything.
pub struct Witness {
    pub found: SealedConfiguration,
    archive: Archive,
    providers: Providers,
}

impl Witness {
    pub async fn of(bakery: &Bakery, scope: &TenantScope, id: ConfigurationId) -> Self {
        let config = bakery.stack.config();
        let (client, kms) = (aws_sdk_dynamodb::Client::new(&config), aws_sdk_kms::Client::new(&config));
        let output = |name: &str| bakery.stack.output(name).unwrap().to_owned();
        let bodies = Arc::new(Bodies::new(Arc::new(Vault::new(kms, output("KeyArn")))));
        let configurations = Configurations::new(client.clone(), output("ConfigurationsTable"));
        Self {
            found: configurations.load(scope, id).await.unwrap().unwrap(),
            archive: Archive::new(RawLog::new(client, output("RawLogTable"), 1), bodies),
            providers: Providers::new(ProviderHosts::default()),
        }
    }

    pub async fn records(&self, day: &ShopDay) -> Vec<RawRecord> {
        let found = self.archive.find((&self.found.scope, &self.found.configuration), day).await.unwrap();
        assert_eq!(found.unreadable, 0);
        found.records
    }

    pub fn normalize(&self, order: &RawOrder) -> Option<Vec<Transaction>> {
        let configuration = &self.found.configuration;
        self.providers.get(configuration.provider).normalize_order(order, configuration).ok()
    }

    /// Every revision that was made of an order has its order, under the day that it was of.
    pub async fn assert_is_covered(&self, stored: &[Stored]) {
        for stored in stored {
            let id = stored.transaction.id;
            let records = self.records(&ShopDay::of(&stored.transaction)).await;
            let ours = records.iter().filter(|record| record.of.contains(&id));
            let made = ours.flat_map(|record| self.normalize(&record.order).unwrap()).filter(|made| made.id == id);
            let made: BTreeSet<String> = made.map(|transaction| content_id(&transaction)).collect();
            for revision in &stored.history {
                assert!(made.contains(&revision.hash), "{id} revision {} has no raw order", revision.revision);
            }
        }
    }
}

/// What is stored of an order has its raw order, whatever became of the rest.
pub async fn assert_order_is_covered(bench: &Bench, order: &str) {
    assert_is_covered(bench, &Page::of(bench, vec![json!({ "id": order })])).await;
}

pub async fn assert_is_covered(bench: &Bench, page: &Page) {
    let message = page.message();
    let witness = Witness::of(&bench.bakery, &message.scope, message.configuration_id).await;
    witness.assert_is_covered(&page.stored(bench).await).await;
}
